/* A second preloaded library that wraps malloc and finds the real one by dlsym(RTLD_NEXT),
 * which looks at who calls: the answer must be what comes after this library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

static size_t calls;

void *malloc(size_t size)
{
	static void *(*real)(size_t);
	if (!real)
		real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	calls++;
	return real(size);
}

__attribute__((destructor)) static void report(void)
{
	Dl_info info;
	void *next = dlsym(RTLD_NEXT, "malloc");
	int known = dladdr(next, &info);
	printf("malloc of %s, %s\n", known ? info.dli_fname : "?", calls ? "called" : "not called");
}
