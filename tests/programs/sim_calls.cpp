// HIP allocations of 4 MiB, each between two marks, so that the test can find in the log what
// the kernel was asked for. The size is above ROCr's sub-allocator.
#include <hip/hip_runtime_api.h>
#include <dlfcn.h>
#include <cstdio>
#include <cstdlib>

int main()
{
	const size_t size = 4 << 20;
	auto mark = (void (*)(const char *))dlsym(RTLD_DEFAULT, "kfdsim_mark");
	if (!mark || hipInit(0) != hipSuccess)
		return 1;
	void *p = nullptr, *managed = nullptr, *plain = aligned_alloc(4096, size);
#define CALL(name, call)                                                   \
	do {                                                               \
		mark(name);                                                \
		hipError_t error = (call);                                 \
		mark("end");                                               \
		printf("%s %s\n", name, hipGetErrorName(error));           \
	} while (0)
	CALL("hipMalloc", hipMalloc(&p, size));
	CALL("hipHostMalloc", hipHostMalloc(&p, size, hipHostMallocDefault));
	CALL("hipHostMalloc NonCoherent", hipHostMalloc(&p, size, hipHostMallocNonCoherent));
	CALL("hipHostRegister", hipHostRegister(plain, size, hipHostRegisterDefault));
	CALL("hipMallocManaged", hipMallocManaged(&managed, size, hipMemAttachGlobal));
	CALL("SetCoarseGrain", hipMemAdvise(managed, size, hipMemAdviseSetCoarseGrain, 0));
	CALL("UnsetCoarseGrain", hipMemAdvise(managed, size, hipMemAdviseUnsetCoarseGrain, 0));
	return 0;
}
