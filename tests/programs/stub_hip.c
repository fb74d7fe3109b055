/* A libamdhip64 that never calls the HSA functions, as a statically linked one would: what
 * was called is written to standard output, or not with STUB_SILENT=1: then it shares nothing
 * between threads, as the child of a fork among them needs it. STUB_REFUSES=1 makes it refuse
 * non-coherent memory and advice. The last error is kept until it is read, as HIP 7 does. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static _Alignas(4096) char memory[1 << 20];
static int last_error;

static int is_set(const char *name)
{
	const char *set = getenv(name);
	return set && *set == '1';
}

static int refuses(void) { return is_set("STUB_REFUSES"); }

#define say(...) (is_set("STUB_SILENT") ? 0 : printf(__VA_ARGS__))

static int done(int error)
{
	if (error)
		last_error = error;
	return error;
}

int hipMallocManaged(void **ptr, size_t size, unsigned flags)
{
	say("hipMallocManaged(%zu, %#x)\n", size, flags);
	if (!ptr || !size || (flags != 1 && flags != 2))
		return done(1);
	*ptr = memory;
	return done(0);
}

int hipMemAdvise(const void *ptr, size_t size, int advice, int device)
{
	say("hipMemAdvise(%s, %zu, %d, %d)\n", ptr == memory ? "the allocation" : "?", size, advice, device);
	return done(refuses() ? 801 : 0);
}

int hipHostMalloc(void **ptr, size_t size, unsigned flags)
{
	say("hipHostMalloc(%zu, %#x)\n", size, flags);
	if (!ptr || (flags & 0x80000000u && refuses()))
		return done(2);
	*ptr = memory;
	return done(0);
}

int hipHostAlloc(void **ptr, size_t size, unsigned flags)
{
	say("hipHostAlloc(%zu, %#x)\n", size, flags);
	*ptr = memory;
	return done(0);
}

int hipMemAllocHost(void **ptr, size_t size)
{
	say("hipMemAllocHost(%zu)\n", size);
	*ptr = memory;
	return done(0);
}

int hipHostGetFlags(unsigned *flags, void *ptr)
{
	say("hipHostGetFlags\n");
	*flags = (char *)ptr >= memory && (char *)ptr < memory + sizeof memory ? 0x80000000u : 0;
	return done(0);
}

int hipHostFree(void *ptr) { return done(ptr == memory ? 0 : 1); }
int hipGetDevice(int *device) { *device = 0; return 0; }
int hipDeviceGetPCIBusId(char *id, int length, int device)
{
	snprintf(id, length, "0000:%02x:00.0", 3 + device);
	return 0;
}
int hipDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute + device; return 0; }
int hipRuntimeGetVersion(int *version)
{
	const char *set = getenv("STUB_VERSION");
	*version = set ? atoi(set) : 60443484;
	return 0;
}
int hipPeekAtLastError(void) { return last_error; }
int hipGetLastError(void)
{
	int error = last_error;
	last_error = 0;
	return error;
}
