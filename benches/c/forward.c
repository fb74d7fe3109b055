/* The least that an interposer can do: forward. What librdnafix.so is measured against. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

int hipHostMalloc(void **ptr, size_t size, unsigned flags)
{
	static int (*real)(void **, size_t, unsigned);
	if (!real)
		real = (int (*)(void **, size_t, unsigned))dlsym(RTLD_NEXT, "hipHostMalloc");
	return real(ptr, size, flags);
}
