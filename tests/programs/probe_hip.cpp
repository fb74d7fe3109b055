/* A libamdhip64 that calls the kernels of rdnafix probe and bench on the CPU, for tests of the
 * kernels' source and of how results, failures, crashes and hangs are told. KERNELS is their file.
 *
 * STAND_IN="KERNEL EFFECT FLAGS" makes one kernel (or "all") lose its atomics, crash, hang, or be
 * refused where memory with such hipHostMalloc flags was allocated ("any": whatever memory).
 * STAND_IN_DEVICES is how many there are. Its clock says that each launch takes STAND_IN_MS (25);
 * what is timed goes to the file STAND_IN_TIMES. With -DNO_HIPRTC it has no compiler. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>
#include <dlfcn.h>
#include <unistd.h>

#include "kernels_on_cpu.h"
#include KERNELS

#define EXPORTED extern "C" __attribute__((visibility("default")))

static const int REFUSED = 98;

static unsigned last_flags = ~0u;

EXPORTED int hipRuntimeGetVersion(int *version) { return *version = 79900000, 0; }

EXPORTED const char *hipGetErrorString(int error)
{
	return error == REFUSED ? "made to fail" : "error";
}

EXPORTED int hipGetDeviceCount(int *count)
{
	const char *set = getenv("STAND_IN_DEVICES");
	return *count = set ? atoi(set) : 1, 0;
}

EXPORTED int hipSetDevice(int device) { return device ? 101 : 0; }

EXPORTED int hipDeviceGetPCIBusId(char *to, int size, int)
{
	return snprintf(to, (size_t)size, "00ff:1f:00.0"), 0;
}

EXPORTED int hipDeviceGetName(char *to, int size, int)
{
	return snprintf(to, (size_t)size, "stand-in"), 0;
}

static int give(void **memory, size_t size)
{
	*memory = malloc(size);
	return *memory ? 0 : 2;
}

EXPORTED int hipMalloc(void **memory, size_t size) { return give(memory, size); }
EXPORTED int hipMallocManaged(void **memory, size_t size, unsigned) { return give(memory, size); }

EXPORTED int hipHostMalloc(void **memory, size_t size, unsigned flags)
{
	last_flags = flags;
	return give(memory, size);
}

EXPORTED int hipHostGetDevicePointer(void **device, void *host, unsigned)
{
	return *device = host, 0;
}

EXPORTED int hipMemcpy(void *to, const void *from, size_t size, int)
{
	return memcpy(to, from, size), 0;
}

EXPORTED int hipDeviceSynchronize(void) { return 0; }

EXPORTED int hipModuleLoadData(void **module, const void *code)
{
	return *module = const_cast<void *>(code), 0;
}

/* The clock, and what is between two events. */
static double clock_ms;
static bool timing;
static std::string launched;

struct function {
	std::string name;
	void *address;
};

EXPORTED int hipModuleGetFunction(void **found, void *, const char *name)
{
	Dl_info self;
	if (timing || !dladdr((void *)hipModuleGetFunction, &self))
		return REFUSED;
	void *address = dlsym(dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD), name);
	*found = address ? new function{name, address} : nullptr;
	return address ? 0 : 500;
}

/* The effect on a kernel, if there is one. */
static std::string effect_on(const std::string &kernel)
{
	char wanted[32], effect[16], flags[16];
	const char *set = getenv("STAND_IN");
	if (!set || sscanf(set, "%31s %15s %15s", wanted, effect, flags) != 3)
		return "";
	if (strcmp(wanted, "all") && kernel != wanted && kernel != std::string(wanted) + "_returning")
		return "";
	if (strcmp(flags, "any") && strtoul(flags, nullptr, 0) != last_flags)
		return "";
	return effect;
}

template <class Function> static void for_each_thread(unsigned blocks, unsigned threads, Function call)
{
	gridDim.x = blocks;
	blockDim.x = threads;
	for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
		for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
			call();
}

/* A kernel that only reads what nobody changes comes to the same sums again: they are kept, as
 * it is launched many times. */
static void read_all(const function *kernel, unsigned blocks, unsigned threads, void **arguments)
{
	static std::map<std::pair<void *, u32 *>, std::vector<u32>> kept;
	u32 *p = *(u32 **)arguments[0], *sums = *(u32 **)arguments[1];
	u32 n = *(u32 *)arguments[2], passes = *(u32 *)arguments[3];
	auto &known = kept[{kernel->address, p}];
	if (known.empty()) {
		auto call = (void (*)(const u32 *, u32 *, u32, u32))kernel->address;
		for_each_thread(blocks, threads, [=] { call(p, sums, n, passes); });
		known.assign(sums, sums + blocks * threads);
	}
	memcpy(sums, known.data(), known.size() * sizeof(u32));
}

EXPORTED int hipModuleLaunchKernel(void *launch, unsigned gx, unsigned, unsigned, unsigned bx,
				   unsigned, unsigned, unsigned, void *, void **arguments, void **)
{
	auto kernel = static_cast<const function *>(launch);
	std::string name = kernel->name.substr(kernel->name.find('_') + 1);
	std::string effect = effect_on(name);
	const char *takes = getenv("STAND_IN_MS");
	clock_ms += takes ? atof(takes) : 25;
	launched = name;
	if (effect == "crash")
		abort();
	if (effect == "hang")
		for (;;)
			pause();
	if (effect == "refuse")
		return timing = false, REFUSED;
	/* What is lost is lost where the old value is not used, as posted requests are. */
	if (effect == "lose" && name.find("_returning") == std::string::npos)
		return 0;
	if (kernel->name.compare(0, 10, "bandwidth_") == 0)
		return read_all(kernel, gx, bx, arguments), 0;
	auto call = (void (*)(u32 *, const u32 *, const u32 *, u32 *, u32))kernel->address;
	u32 **p = (u32 **)arguments[0], **operand = (u32 **)arguments[1];
	u32 **initial = (u32 **)arguments[2], **old = (u32 **)arguments[3];
	for_each_thread(gx, bx, [=] { call(*p, *operand, *initial, *old, *(u32 *)arguments[4]); });
	return 0;
}

/* By the clock, and in truth; milliseconds. */
struct event {
	double at, real;
};

static double now(void)
{
	timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

EXPORTED int hipEventCreate(void **made) { return *made = new event{}, 0; }

EXPORTED int hipEventRecord(void *recorded, void *)
{
	timing = !timing;
	return *static_cast<event *>(recorded) = {clock_ms, now()}, 0;
}

EXPORTED int hipEventSynchronize(void *) { return 0; }
EXPORTED int hipEventDestroy(void *made) { return delete static_cast<event *>(made), 0; }

EXPORTED int hipEventElapsedTime(float *milliseconds, void *start, void *end)
{
	auto from = static_cast<event *>(start), to = static_cast<event *>(end);
	*milliseconds = (float)(to->at - from->at);
	const char *file = getenv("STAND_IN_TIMES");
	FILE *times = file ? fopen(file, "a") : nullptr;
	if (times) {
		fprintf(times, "%d %s %g %f\n", getpid(), launched.c_str(), *milliseconds,
			from->real);
		fclose(times);
	}
	return 0;
}

#ifndef NO_HIPRTC
EXPORTED int hiprtcCreateProgram(void **program, const char *, const char *, int, const char **,
				 const char **)
{
	return give(program, 1);
}

EXPORTED int hiprtcCompileProgram(void *, int count, const char **options)
{
	return count && !strstr(options[0], "gfx1") ? 6 : 0;
}

EXPORTED int hiprtcGetProgramLogSize(void *, size_t *size) { return *size = 21, 0; }

EXPORTED int hiprtcGetProgramLog(void *, char *log)
{
	return memcpy(log, "error: no such target", 21), 0;
}

EXPORTED int hiprtcGetCodeSize(void *, size_t *size) { return *size = 8, 0; }
EXPORTED int hiprtcGetCode(void *, char *code) { return memset(code, 0, 8), 0; }
#endif
