// What a HIP program may leave behind at its exit.
//   sim_strict clean|leak|fails|exits|crashes|ioctl
#include <hip/hip_runtime_api.h>
#include <hsa/hsa_ext_amd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

static int failures;
#define CHECK(call)                                                             \
	do {                                                                    \
		int result_ = (int)(call);                                      \
		if (result_ != 0) {                                             \
			printf("line %d: %s: %d\n", __LINE__, #call, result_);  \
			failures++;                                             \
		}                                                               \
	} while (0)

static const size_t MiB = 1 << 20;

// Every kind of memory that HIP has, given back.
static void clean()
{
	void *p = nullptr;
	CHECK(hipMalloc(&p, 4 * MiB));
	CHECK(hipMemset(p, 0x5a, 4 * MiB));
	CHECK(hipDeviceSynchronize());
	CHECK(hipFree(p));
	CHECK(hipHostMalloc(&p, 2 * MiB, 0));
	CHECK(hipHostFree(p));
	CHECK(hipMallocManaged(&p, 2 * MiB, hipMemAttachGlobal));
	CHECK(hipFree(p));
	void *user = aligned_alloc(4096, 2 * MiB);
	CHECK(hipHostRegister(user, 2 * MiB, 0));
	CHECK(hipHostUnregister(user));
	free(user);
}

static void leak()
{
	void *p = nullptr;
	CHECK(hipMalloc(&p, 4 * MiB));
	CHECK(hipHostMalloc(&p, 2 * MiB, 0));
	CHECK(hipHostMalloc(&p, 2 * MiB, 0));
	CHECK(hipHostFree(p));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	printf("%s ", mode);
	clean();
	if (strcmp(mode, "clean"))
		leak();
	puts(failures ? "FAILED" : "OK"); // not flushed before the end
	if (!strcmp(mode, "fails"))
		return 3;
	if (!strcmp(mode, "crashes"))
		abort();
	if (!strcmp(mode, "exits")) {
		fflush(stdout);
		_exit(0);
	}
	return failures != 0;
}
