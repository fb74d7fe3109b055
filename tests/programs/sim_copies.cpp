// Copies and fills through HIP, byte by byte: both directions, pageable and pinned, small to
// large, odd sizes and offsets, on two streams, with events.
#include <hip/hip_runtime_api.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define HIP(call)                                                                     \
	do {                                                                          \
		hipError_t error_ = (call);                                           \
		if (error_ != hipSuccess) {                                           \
			printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call,          \
			       hipGetErrorName(error_));                              \
			exit(1);                                                      \
		}                                                                     \
	} while (0)

static void same(const unsigned char *got, const unsigned char *wanted, size_t size,
		 const char *what)
{
	for (size_t i = 0; i < size; i++)
		if (got[i] != wanted[i]) {
			printf("%s of %zu bytes: byte %zu is %02x, not %02x\n", what, size, i, got[i],
			       wanted[i]);
			exit(1);
		}
}

int main(int argc, char **argv)
{
	const size_t largest = argc > 1 ? strtoull(argv[1], nullptr, 0) : 64u << 20;
	std::vector<unsigned char> pattern(largest), back(largest);
	unsigned seed = 12345;
	for (auto &byte : pattern)
		byte = (seed = seed * 1103515245 + 12345) >> 16;
	unsigned char *device, *pinned, *managed;
	HIP(hipMalloc((void **)&device, largest));
	HIP(hipHostMalloc((void **)&pinned, largest, hipHostMallocDefault));
	hipStream_t streams[2];
	HIP(hipStreamCreate(&streams[0]));
	HIP(hipStreamCreate(&streams[1]));

	for (size_t size : { size_t(1), size_t(63), size_t(64), size_t(1000), size_t(4096),
			     size_t(16384), size_t(65537), size_t(1) << 20, (size_t(4) << 20) + 3,
			     size_t(16) << 20, size_t(64) << 20 }) {
		if (size > largest)
			break;
		HIP(hipMemcpy(device, pattern.data(), size, hipMemcpyHostToDevice));
		memset(back.data(), 0, size);
		HIP(hipMemcpy(back.data(), device, size, hipMemcpyDeviceToHost));
		same(back.data(), pattern.data(), size, "pageable copy");

		memset(pinned, 0, size);
		HIP(hipMemcpyAsync(pinned, device, size, hipMemcpyDeviceToHost, streams[0]));
		HIP(hipStreamSynchronize(streams[0]));
		same(pinned, pattern.data(), size, "pinned copy from the device");

		for (size_t i = 0; i < size; i++)
			pinned[i] = ~pattern[i];
		hipEvent_t copied;
		HIP(hipEventCreate(&copied));
		HIP(hipMemcpyAsync(device, pinned, size, hipMemcpyHostToDevice, streams[0]));
		HIP(hipEventRecord(copied, streams[0]));
		HIP(hipStreamWaitEvent(streams[1], copied, 0));
		HIP(hipMemcpyAsync(back.data(), device, size, hipMemcpyDeviceToHost, streams[1]));
		HIP(hipStreamSynchronize(streams[1]));
		HIP(hipEventSynchronize(copied));
		HIP(hipEventQuery(copied));
		same(back.data(), pinned, size, "pinned copy to the device");
		HIP(hipEventDestroy(copied));

		HIP(hipMemset(device, 0x5a, size));
		HIP(hipMemcpy(back.data(), device, size, hipMemcpyDeviceToHost));
		memset(pinned, 0x5a, size);
		same(back.data(), pinned, size, "hipMemset");
	}

	// A fill touches nothing beyond its ends, a copy to the middle neither.
	HIP(hipMemset(device, 0x11, 8192));
	HIP(hipMemset(device + 1001, 0x22, 3003));
	HIP(hipMemcpy(device + 5000, pattern.data(), 777, hipMemcpyHostToDevice));
	HIP(hipMemcpy(back.data(), device, 8192, hipMemcpyDeviceToHost));
	memset(pinned, 0x11, 8192);
	memset(pinned + 1001, 0x22, 3003);
	memcpy(pinned + 5000, pattern.data(), 777);
	same(back.data(), pinned, 8192, "fill and copy in the middle");
	HIP(hipMemsetD32((hipDeviceptr_t)device, 0xdeadbeef, 1024));
	HIP(hipMemcpy(back.data(), device, 4096, hipMemcpyDeviceToHost));
	for (int i = 0; i < 1024; i++)
		((unsigned *)pinned)[i] = 0xdeadbeef;
	same(back.data(), pinned, 4096, "hipMemsetD32");

	// Within the device: all alignments of either end and of the size.
	for (size_t skew = 0; skew < 5; skew++) {
		const size_t size = 100000 + skew;
		HIP(hipMemcpy(device, pattern.data(), 200000, hipMemcpyHostToDevice));
		HIP(hipMemcpy(device + 300000 + skew, device + 2 * skew, size, hipMemcpyDeviceToDevice));
		HIP(hipMemcpy(back.data(), device + 300000 + skew, size, hipMemcpyDeviceToHost));
		same(back.data(), pattern.data() + 2 * skew, size, "copy within the device");
	}

	HIP(hipMallocManaged((void **)&managed, 1 << 20, hipMemAttachGlobal));
	memcpy(managed, pattern.data(), 1 << 20);
	HIP(hipMemcpy(device, managed, 1 << 20, hipMemcpyDefault));
	HIP(hipMemcpy(back.data(), device, 1 << 20, hipMemcpyDeviceToHost));
	same(back.data(), pattern.data(), 1 << 20, "copy from managed memory");
	HIP(hipFree(managed));
	HIP(hipDeviceSynchronize());
	HIP(hipHostFree(pinned));
	HIP(hipFree(device));
	puts("OK");
	return 0;
}
