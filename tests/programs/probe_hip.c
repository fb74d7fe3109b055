/* A libamdhip64 that computes the kernels of rdnafix probe and bench on the CPU, for tests of how
 * results, failures, crashes and hangs are told. STAND_IN="KERNEL EFFECT FLAGS" makes one kernel
 * (or "all") lose its atomics, crash, hang, or be refused where memory with such hipHostMalloc flags
 * was allocated ("any": whatever memory). STAND_IN_DEVICES is how many there are. With
 * -DNO_HIPRTC it has no compiler. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint32_t u32;

static unsigned last_flags = ~0u;

int hipRuntimeGetVersion(int *version) { return *version = 79900000, 0; }
const char *hipGetErrorString(int error) { return error == 98 ? "made to fail" : "error"; }

int hipGetDeviceCount(int *count)
{
	const char *set = getenv("STAND_IN_DEVICES");
	return *count = set ? atoi(set) : 1, 0;
}

int hipSetDevice(int device) { return device ? 101 : 0; }

int hipDeviceGetPCIBusId(char *to, int size, int device)
{
	(void)device;
	return snprintf(to, (size_t)size, "00ff:1f:00.0"), 0;
}

int hipDeviceGetName(char *to, int size, int device)
{
	(void)device;
	return snprintf(to, (size_t)size, "stand-in"), 0;
}

static int give(void **memory, size_t size)
{
	*memory = malloc(size);
	return *memory ? 0 : 2;
}

int hipMalloc(void **memory, size_t size) { return give(memory, size); }

int hipMallocManaged(void **memory, size_t size, unsigned flags)
{
	(void)flags;
	return give(memory, size);
}

int hipHostMalloc(void **memory, size_t size, unsigned flags)
{
	last_flags = flags;
	return give(memory, size);
}

int hipHostGetDevicePointer(void **device, void *host, unsigned flags)
{
	(void)flags;
	return *device = host, 0;
}

int hipMemcpy(void *to, const void *from, size_t size, int kind)
{
	(void)kind;
	return memcpy(to, from, size), 0;
}

int hipDeviceSynchronize(void) { return 0; }
int hipModuleLoadData(void **module, const void *code) { return *module = (void *)code, 0; }

int hipModuleGetFunction(void **function, void *module, const char *name)
{
	(void)module;
	return (*function = strdup(name)) ? 0 : 2;
}

/* The effect on a kernel, if there is one. */
static const char *effect_on(const char *kernel)
{
	static char effect[16];
	char wanted[32], flags[16];
	const char *set = getenv("STAND_IN");
	if (!set || sscanf(set, "%31s %15s %15s", wanted, effect, flags) != 3)
		return "";
	size_t length = strlen(wanted);
	if (strcmp(wanted, "all") && (strncmp(kernel, wanted, length) ||
				      (kernel[length] && strcmp(kernel + length, "_returning"))))
		return "";
	if (strcmp(flags, "any") && strtoul(flags, NULL, 0) != last_flags)
		return "";
	return effect;
}

static float as_float(u32 bits)
{
	float value;
	return memcpy(&value, &bits, sizeof value), value;
}

static u32 as_bits(float value)
{
	u32 bits;
	return memcpy(&bits, &value, sizeof bits), bits;
}

static u32 atomic(const char *name, u32 p, u32 v, u32 initial)
{
	if (!strcmp(name, "add")) return p + v;
	if (!strcmp(name, "min")) return p < v ? p : v;
	if (!strcmp(name, "max")) return p > v ? p : v;
	if (!strcmp(name, "and")) return p & v;
	if (!strcmp(name, "or")) return p | v;
	if (!strcmp(name, "xor")) return p ^ v;
	if (!strcmp(name, "inc")) return p >= v ? 0 : p + 1;
	if (!strcmp(name, "dec")) return p == 0 || p > v ? v : p - 1;
	if (!strcmp(name, "cas")) return p == initial ? v : p;
	if (!strcmp(name, "exchange")) return v;
	if (!strcmp(name, "float_add")) return as_bits(as_float(p) + as_float(v));
	abort();
}

static u32 scatter(u32 x)
{
	x = (x ^ (x >> 16)) * 0x7feb352du;
	x = (x ^ (x >> 15)) * 0x846ca68bu;
	return x ^ (x >> 16);
}

static void read_all(const char *name, const u32 *p, u32 *sums, u32 n, u32 passes, u32 threads)
{
	for (u32 thread = 0; thread < threads; thread++) {
		u32 sum = 0;
		if (!strcmp(name, "streaming"))
			for (u32 i = thread; i < n / 4; i += threads)
				for (u32 j = 0; j < 4; j++) sum += p[4 * i + j];
		else if (!strcmp(name, "reread"))
			for (u32 pass = 0; pass < passes; pass++)
				for (u32 j = 0; j < 4; j++)
					sum += p[4 * ((thread + pass * 4099u) & (n / 4 - 1)) + j];
		else
			for (u32 pass = 0; pass < passes; pass++)
				sum += p[scatter(thread + pass * threads) & (n - 1)];
		sums[thread] = sum;
	}
}

int hipModuleLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
			  unsigned by, unsigned bz, unsigned shared, void *stream, void **arguments,
			  void **extra)
{
	(void)gy, (void)gz, (void)by, (void)bz, (void)shared, (void)stream, (void)extra;
	char *name = strchr(function, '_') + 1;
	const char *effect = effect_on(name);
	if (!strcmp(effect, "crash")) abort();
	if (!strcmp(effect, "hang")) for (;;) pause();
	if (!strcmp(effect, "refuse")) return 98;
	u32 *p = *(u32 **)arguments[0];
	if (!strncmp(function, "bandwidth_", 10)) {
		if (strcmp(effect, "lose"))
			read_all(name, p, *(u32 **)arguments[1], *(u32 *)arguments[2],
				 *(u32 *)arguments[3], gx * bx);
		return 0;
	}
	u32 *operand = *(u32 **)arguments[1], *initial = *(u32 **)arguments[2];
	u32 *old = *(u32 **)arguments[3], n = *(u32 *)arguments[4];
	char *returning = strstr(name, "_returning");
	if (returning) *returning = 0;
	for (u32 i = 0; i < n; i++) {
		u32 before = p[i];
		/* What is lost is lost where the old value is not used, as posted requests are. */
		if (strcmp(effect, "lose") || returning)
			p[i] = atomic(name, before, operand[i], initial[i]);
		if (returning) old[i] = before;
	}
	if (returning) *returning = '_';
	return 0;
}

int hipEventCreate(void **event) { return give(event, 1); }
int hipEventRecord(void *event, void *stream) { return (void)event, (void)stream, 0; }
int hipEventSynchronize(void *event) { return (void)event, 0; }
int hipEventDestroy(void *event) { return free(event), 0; }

int hipEventElapsedTime(float *milliseconds, void *start, void *end)
{
	return (void)start, (void)end, *milliseconds = 2.0f, 0;
}

#ifndef NO_HIPRTC
int hiprtcCreateProgram(void **program, const char *source, const char *name, int headers,
			const char **texts, const char **names)
{
	(void)source, (void)name, (void)headers, (void)texts, (void)names;
	return give(program, 1);
}

int hiprtcCompileProgram(void *program, int count, const char **options)
{
	return (void)program, count && !strstr(options[0], "gfx1") ? 6 : 0;
}

int hiprtcGetProgramLogSize(void *program, size_t *size) { return (void)program, *size = 21, 0; }
int hiprtcGetProgramLog(void *program, char *log)
{
	return (void)program, memcpy(log, "error: no such target", 21), 0;
}
int hiprtcGetCodeSize(void *program, size_t *size) { return (void)program, *size = 8, 0; }
int hiprtcGetCode(void *program, char *code) { return (void)program, memset(code, 0, 8), 0; }
#endif
