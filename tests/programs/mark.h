/* Marks in the log of the simulated GPU, for C and C++. */
#ifndef MARK_H
#define MARK_H

#include <dlfcn.h>
#include <stddef.h>

typedef void (*marker)(const char *text);

/* What puts a mark into the log; null where the program does not run on the simulated GPU. */
static inline marker simulators_marker(void)
{
	return (marker)dlsym(RTLD_DEFAULT, "kfdsim_mark");
}

static inline void mark(const char *text)
{
	marker put = simulators_marker();
	if (put != NULL)
		put(text);
}

#endif
