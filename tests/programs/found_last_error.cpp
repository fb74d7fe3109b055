/* What hipPeekAtLastError and hipGetLastError say after allocations that fail. */
#include <cstdio>
#include <hip/hip_runtime_api.h>

static void say(const char *call, int status)
{
	int peeked = hipPeekAtLastError();
	int first = hipGetLastError();
	int second = hipGetLastError();
	printf("%s %d, last error %d %d %d\n", call, status, peeked, first, second);
}

int main()
{
	constexpr size_t too_large = size_t{1} << 60;
	void *p = nullptr;
	say("hipInit", hipInit(0));
	say("hipExtMallocWithFlags, unknown flags", hipExtMallocWithFlags(&p, 4096, 0x77));
	say("hipExtMallocWithFlags, too large", hipExtMallocWithFlags(&p, too_large, 0));
	say("hipExtMallocWithFlags, fine, too large",
	    hipExtMallocWithFlags(&p, too_large, hipDeviceMallocFinegrained));
	say("hipExtMallocWithFlags, no pointer", hipExtMallocWithFlags(nullptr, 4096, 0));
	say("hipHostMalloc, too large", hipHostMalloc(&p, too_large, 0));
	say("hipHostMalloc, both grains", hipHostMalloc(&p, 4096, 0xc0000000));
	say("hipMallocManaged, too large", hipMallocManaged(&p, too_large, hipMemAttachGlobal));
	/* One that is pending while a call succeeds. */
	int pending = hipSetDevice(99);
	say("hipExtMallocWithFlags after an error", hipExtMallocWithFlags(&p, 4096, 0));
	printf("pending was %d\n", pending);
	return 0;
}
