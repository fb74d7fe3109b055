/* Many calls that name no GPU and no pool that is known: the heap must not grow with them. */
#include <cstdio>
#include <cstring>
#include <hip/hip_runtime_api.h>
#include <hsa/hsa_ext_amd.h>
#include <malloc.h>

static char no_pool[4096]; /* what ROCr looks at to see that it is no pool */

static int advise(void *memory)
{
	return hipMemAdvise(memory, 1 << 20, hipMemAdviseSetAccessedBy, hipCpuDeviceId);
}

static int allocate(void *handle)
{
	void *p = nullptr;
	hsa_amd_memory_pool_t pool = {reinterpret_cast<uint64_t>(handle)};
	return static_cast<int>(hsa_amd_memory_pool_allocate(pool, 4096, 0, &p));
}

static void repeat(const char *name, int (*call)(void *), void *about)
{
	int first = call(about);
	size_t before = mallinfo2().uordblks;
	int others = 0;
	for (int i = 0; i < 20000; i++)
		others += call(about) != first;
	size_t after = mallinfo2().uordblks;
	bool ok = after < before + (64 << 10);
	printf("%s %d, different %d, %s\n", name, first, others, ok ? "ok" : "not ok");
	if (!ok)
		fprintf(stderr, "%s: %zu bytes before, %zu after\n", name, before, after);
}

int main()
{
	setvbuf(stdout, nullptr, _IOLBF, 0);
	void *memory = nullptr;
	printf("managed %d\n", hipMallocManaged(&memory, 1 << 20, hipMemAttachGlobal));
	repeat("advice", advise, memory);
	repeat("pool 0", allocate, nullptr);
	repeat("not a pool", allocate, no_pool);
	return 0;
}
