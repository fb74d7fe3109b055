/* A library that does nothing: what the loader itself takes for one more preloaded object. */
