/* Opening tests/programs/robust_extension.c or another library with that interface. */
#pragma once

#include <dlfcn.h>
#include <stdio.h>

typedef int (*extension_t)(const char *who);

/* NULL, with the loader's message on standard output, if there is no such library. */
static inline extension_t extension_of(void *handle)
{
	extension_t found = handle ? (extension_t)dlsym(handle, "extension") : NULL;
	if (!found)
		puts(dlerror());
	return found;
}
