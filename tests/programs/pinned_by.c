/* A library that allocates pinned memory for its caller: who asks is decided by its name. */
#include <stddef.h>

int hipHostMalloc(void **, size_t, unsigned);

int pinned(void **ptr, size_t size)
{
	/* Not a tail call: the return address has to lie in this library. */
	volatile int status = hipHostMalloc(ptr, size, 0);
	return status;
}
