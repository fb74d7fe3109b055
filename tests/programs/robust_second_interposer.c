/* Another preloaded library that takes over the same functions, and says what it sees. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int hipHostMalloc(void **p, size_t size, unsigned flags)
{
	printf("second: hipHostMalloc(%zu, %#x)\n", size, flags);
	return NEXT(hipHostMalloc)(p, size, flags);
}

int hipMallocManaged(void **p, size_t size, unsigned flags)
{
	printf("second: hipMallocManaged(%zu, %#x)\n", size, flags);
	return NEXT(hipMallocManaged)(p, size, flags);
}

int hipHostFree(void *p)
{
	int status = NEXT(hipHostFree)(p);
	printf("second: hipHostFree -> %d\n", status);
	return status;
}

int hsa_amd_svm_attributes_set(void *p, size_t size, void *list, size_t count)
{
	int status = NEXT(hsa_amd_svm_attributes_set)(p, size, list, count);
	printf("second: hsa_amd_svm_attributes_set(%zu, %zu attributes) -> %d\n", size, count,
	       status);
	return status;
}
