/* Makes the HIP calls that its arguments name, against the library it is linked with, and
 * writes what each gave. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int hipMallocManaged(void **, size_t, unsigned);
int hipHostMalloc(void **, size_t, unsigned);
int hipHostAlloc(void **, size_t, unsigned);
int hipMemAllocHost(void **, size_t);
int hipHostGetFlags(unsigned *, void *);
int hipHostFree(void *);
int hipGetLastError(void);

int main(int argc, char **argv)
{
	void *ptr = NULL;
	for (int i = 1; i < argc; i++) {
		unsigned flags = 0;
		int got = -1;
		if (!strcmp(argv[i], "managed"))
			got = hipMallocManaged(&ptr, 65536, 1);
		else if (!strcmp(argv[i], "managed-null"))
			got = hipMallocManaged(NULL, 65536, 1);
		else if (!strcmp(argv[i], "managed-flags"))
			got = hipMallocManaged(&ptr, 65536, 3);
		else if (!strcmp(argv[i], "host"))
			got = hipHostMalloc(&ptr, 65536, 0);
		else if (!strcmp(argv[i], "host-null"))
			got = hipHostMalloc(NULL, 65536, 0);
		else if (!strcmp(argv[i], "alloc"))
			got = hipHostAlloc(&ptr, 65536, 0);
		else if (!strcmp(argv[i], "mem-alloc"))
			got = hipMemAllocHost(&ptr, 65536);
		else if (!strcmp(argv[i], "free"))
			got = hipHostFree(ptr);
		else if (!strcmp(argv[i], "flags"))
			got = hipHostGetFlags(&flags, (char *)ptr + 100);
		else if (!strcmp(argv[i], "last-error"))
			got = hipGetLastError();
		printf("%s -> %d", argv[i], got);
		if (!strcmp(argv[i], "flags"))
			printf(" %#x", flags);
		printf("\n");
	}
	return 0;
}
