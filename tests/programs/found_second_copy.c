/* Linked with one copy of HIP, opens another and uses that by dlsym. */
#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *p = NULL, *device = NULL;
	unsigned flags = 7;
	hipInit(0);
	void *copy = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!copy) {
		puts(dlerror());
		return 20;
	}
#define OF_COPY(name) ((__typeof__(&name))dlsym(copy, #name))
	hipError_t (*allocate)(void **, size_t, unsigned) =
		(hipError_t(*)(void **, size_t, unsigned))dlsym(copy, "hipHostMalloc");
	printf("hipHostMalloc %d\n", allocate(&p, 4 << 20, 0));
	printf("hipHostGetDevicePointer %d\n", OF_COPY(hipHostGetDevicePointer)(&device, p, 0));
	printf("hipHostGetFlags %d %x\n", OF_COPY(hipHostGetFlags)(&flags, p), flags);
	printf("hipHostFree %d\n", OF_COPY(hipHostFree)(p));
	return 0;
}
