/* Allocates device memory in tenths of what the device has, in every way that HIP knows, and
 * writes how many tenths it got, what the refusal looked like, and whether there is room again
 * once one tenth is free. Then what must not change the count. The arguments
 * are how many tenths threads may have at once (0: no threads), and how many to take at most. */
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <hip/hip_runtime_api.h>

static size_t total, tenth;
static int attempts = 11;
static hipStream_t stream;
static hipMemPool_t pool;
static std::vector<void *> held;

static hipError_t by_malloc(void **p, size_t n) { return hipMalloc(p, n); }
static hipError_t by_ext(void **p, size_t n) { return hipExtMallocWithFlags(p, n, 0); }
static hipError_t by_async(void **p, size_t n) { return hipMallocAsync(p, n, stream); }
static hipError_t by_pool(void **p, size_t n) { return hipMallocFromPoolAsync(p, n, pool, stream); }

static hipError_t by_pitch(void **p, size_t n)
{
	size_t pitch;
	return hipMallocPitch(p, &pitch, 65536, n / 65536);
}

static hipError_t by_driver_pitch(void **p, size_t n)
{
	size_t pitch;
	return hipMemAllocPitch(p, &pitch, 65536, n / 65536, 4);
}

static hipError_t by_3d(void **p, size_t n)
{
	hipPitchedPtr pitched = {};
	hipError_t status = hipMalloc3D(&pitched, make_hipExtent(65536, 16, n / 65536 / 16));
	*p = pitched.ptr;
	return status;
}

static hipError_t by_create(void **p, size_t n)
{
	hipMemAllocationProp prop = {};
	prop.type = hipMemAllocationTypePinned;
	prop.location.type = hipMemLocationTypeDevice;
	return hipMemCreate((hipMemGenericAllocationHandle_t *)p, n, &prop, 0);
}

static hipError_t free_plain(void *p) { return hipFree(p); }
static hipError_t free_async(void *p)
{
	hipError_t status = hipFreeAsync(p, stream);
	(void)hipStreamSynchronize(stream);
	return status;
}
static hipError_t release(void *p) { return hipMemRelease((hipMemGenericAllocationHandle_t)p); }

typedef hipError_t (*allocate)(void **, size_t);
typedef hipError_t (*give_back)(void *);

/* What the runtime's own answer was, before any refusal of the library's. */
static void say_error(int status)
{
	int peeked = hipPeekAtLastError(), first = hipGetLastError();
	printf("status %d, last error %d %d", status, peeked, first);
}

/* Takes tenths until one is refused. */
static int fill(allocate get)
{
	for (int count = 0; count < attempts; count++) {
		void *p = nullptr;
		int status = get(&p, tenth);
		if (status != hipSuccess) {
			printf("%d tenths, then ", count);
			say_error(status);
			return count;
		}
		held.push_back(p);
	}
	printf("%d tenths", attempts);
	return attempts;
}

static void empty(give_back back)
{
	for (void *p : held)
		if (back(p) != hipSuccess)
			printf(", NOT FREED");
	held.clear();
}

static void way(const char *name, allocate get, give_back back)
{
	(void)hipGetLastError();
	printf("%s: ", name);
	fill(get);
	if (!held.empty()) {
		void *p = held.back();
		held.pop_back();
		int freed = back(p), again = get(&p, tenth);
		printf(", again %d %d", freed, again);
		if (again == hipSuccess)
			held.push_back(p);
	}
	empty(back);
	printf("\n");
}

/* How many tenths there is room for, counted with hipMalloc. */
static void room(const char *after)
{
	printf("after %s: ", after);
	fill(by_malloc);
	empty(free_plain);
	printf("\n");
}

static void from_threads(int allowed)
{
	std::atomic<int> got{0}, most{0};
	std::vector<std::thread> threads;
	for (int t = 0; t < 4; t++)
		threads.emplace_back([&] {
			for (int round = 0; round < 50; round++) {
				void *p = nullptr;
				if (hipMalloc(&p, 3 * tenth) != hipSuccess)
					continue;
				int now = ++got, seen = most;
				while (now > seen && !most.compare_exchange_weak(seen, now))
					;
				got--;
				(void)hipFree(p);
			}
		});
	for (auto &thread : threads)
		thread.join();
	printf("threads: %s\n", most * 3 > allowed ? "TOO MUCH" : "never too much");
}

/* A capture allocates nothing, and its graph may never run. */
static void capture()
{
	void *p = nullptr;
	hipGraph_t graph = nullptr;
	int begun = hipStreamBeginCapture(stream, hipStreamCaptureModeGlobal);
	int got = hipMallocAsync(&p, 3 * tenth, stream), ended = hipStreamEndCapture(stream, &graph);
	printf("captured: %d %d %d %d\n", begun, got, ended, hipGraphDestroy(graph));
	room("a capture");
}

/* HIP frees an allocation by any address inside of it. */
static void inside()
{
	void *p = nullptr;
	int got = hipMalloc(&p, 3 * tenth), freed = hipFree((char *)p + 64);
	printf("freed inside: %d %d\n", got, freed);
	room("a free by an address inside");
}

/* What is wrong with a call is said first, whatever memory there is. */
static void wrong_flags()
{
	void *p = nullptr;
	fill(by_malloc);
	printf("; wrong flags: %d\n", hipExtMallocWithFlags(&p, tenth, 0x7777));
	empty(free_plain);
}

static void in_child()
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		/* The parent's memory is not the child's; HIP itself is of no use here. */
		_exit(hipFree((void *)0x1234000) == hipSuccess);
	}
	int status = 0;
	waitpid(child, &status, 0);
	printf("child: %d\n", WIFEXITED(status));
}

int main(int argc, char **argv)
{
	if (argc > 2)
		attempts = atoi(argv[2]);
	setvbuf(stdout, nullptr, _IONBF, 0);
	if (hipDeviceTotalMem(&total, 0) != hipSuccess || hipStreamCreate(&stream) != hipSuccess)
		return 2;
	tenth = total / 10 / 2097152 * 2097152;
	bool pools = hipDeviceGetDefaultMemPool(&pool, 0) == hipSuccess;

	way("hipMalloc", by_malloc, free_plain);
	way("hipExtMallocWithFlags", by_ext, free_plain);
	way("hipMallocPitch", by_pitch, free_plain);
	way("hipMemAllocPitch", by_driver_pitch, free_plain);
	way("hipMalloc3D", by_3d, free_plain);
	if (pools) {
		way("hipMallocAsync", by_async, free_async);
		way("hipMallocAsync, hipFree", by_async, free_plain);
		way("hipMallocFromPoolAsync", by_pool, free_async);
		(void)hipMemPoolTrimTo(pool, 0);
		/* HIP 5 takes memory for it all the same. */
		if (HIP_VERSION >= 60000000)
			capture();
	}
	/* Up to 5.7, hipMemRelease frees nothing. */
	if (HIP_VERSION >= 60000000)
		way("hipMemCreate", by_create, release);

	inside();
	wrong_flags();
	if (HIP_VERSION >= 60000000) {
		void *legacy = nullptr;
		int got = hipMallocAsync(&legacy, tenth, (hipStream_t)1);
		printf("the legacy stream: %d %d\n", got, hipFree(legacy));
	}

	void *p = nullptr, *q = nullptr, *host = nullptr;
	int status = hipMalloc(&p, size_t{1} << 60);
	printf("too large: ");
	say_error(status);
	printf("\n");
	room("one that is too large");
	printf("null: %d, empty: %d, ", hipMalloc(nullptr, tenth), hipMalloc(&p, 0));
	printf("free null: %d\n", hipFree(nullptr));
	status = hipFree((void *)0x1234000);
	printf("never allocated: %d\n", status);
	room("a free of what was never allocated");
	status = hipMalloc(&p, tenth);
	int once = hipFree(p), twice = hipFree(p);
	printf("freed twice: %d %d %d\n", status, once, twice);
	room("a double free");
	(void)hipHostMalloc(&host, 2 * tenth, 0);
	(void)hipMallocManaged(&q, 2 * tenth, hipMemAttachGlobal);
	room("host and managed memory");
	(void)hipHostFree(host);
	(void)hipFree(q);
	if (argc > 1 && *argv[1] != '0')
		from_threads(atoi(argv[1]));
	room("threads");
	in_child();
	room("a child");

	int devices = 0;
	if (hipGetDeviceCount(&devices) == hipSuccess && devices > 1) {
		fill(by_malloc);
		printf(" on device 0; ");
		(void)hipSetDevice(1);
		std::vector<void *> first;
		first.swap(held);
		fill(by_malloc);
		printf(" on device 1\n");
		empty(free_plain);
		/* The current device is 1, the memory that of 0. */
		first.swap(held);
		empty(free_plain);
		(void)hipSetDevice(0);
		room("freeing on another device");
	}

	/* In 5.2, it frees nothing. */
	if (HIP_VERSION >= 50700000) {
		fill(by_malloc);
		held.clear();
		printf(", reset %d\n", hipDeviceReset());
		room("a reset");
	}
	if (HIP_VERSION >= 50700000 && HIP_VERSION < 60000000) {
		printf("hipMemCreate: ");
		fill(by_create);
		printf("\n");
	}
	printf("DONE\n");
	return 0;
}
