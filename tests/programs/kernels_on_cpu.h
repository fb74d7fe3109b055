/* What kernels.hip needs of HIP, on the CPU: compiled as C++ and called once for each thread of a
 * launch. This shows the arithmetic of the source, not what a compiler for GPUs makes of it and
 * nothing of hardware. */
#ifndef KERNELS_ON_CPU_H
#define KERNELS_ON_CPU_H

#include <cstring>

#define __global__
#define __device__

struct dimensions {
	unsigned x;
};

static thread_local dimensions blockIdx, blockDim, threadIdx, gridDim;

struct uint4 {
	unsigned x, y, z, w;
};

static inline unsigned __float_as_uint(float value)
{
	unsigned bits;
	return memcpy(&bits, &value, sizeof bits), bits;
}

static inline float __uint_as_float(unsigned bits)
{
	float value;
	return memcpy(&value, &bits, sizeof value), value;
}

/* Replaces *p by a function of it; the old value. */
template <class Function> static unsigned update(unsigned *p, Function function)
{
	unsigned old = __atomic_load_n(p, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(p, &old, function(old), true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED)) {
	}
	return old;
}

static inline unsigned atomicAdd(unsigned *p, unsigned v)
{
	return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

static inline unsigned atomicAnd(unsigned *p, unsigned v)
{
	return __atomic_fetch_and(p, v, __ATOMIC_RELAXED);
}

static inline unsigned atomicOr(unsigned *p, unsigned v)
{
	return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}

static inline unsigned atomicXor(unsigned *p, unsigned v)
{
	return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED);
}

static inline unsigned atomicExch(unsigned *p, unsigned v)
{
	return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
}

static inline unsigned atomicCAS(unsigned *p, unsigned compare, unsigned v)
{
	__atomic_compare_exchange_n(p, &compare, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return compare;
}

static inline unsigned atomicMin(unsigned *p, unsigned v)
{
	return update(p, [v](unsigned old) { return old < v ? old : v; });
}

static inline unsigned atomicMax(unsigned *p, unsigned v)
{
	return update(p, [v](unsigned old) { return old > v ? old : v; });
}

/* Both wrap around as the HIP programming guide has it. */
static inline unsigned atomicInc(unsigned *p, unsigned v)
{
	return update(p, [v](unsigned old) { return old >= v ? 0 : old + 1; });
}

static inline unsigned atomicDec(unsigned *p, unsigned v)
{
	return update(p, [v](unsigned old) { return old == 0 || old > v ? v : old - 1; });
}

static inline float atomicAdd(float *p, float v)
{
	unsigned old = update((unsigned *)p, [v](unsigned bits) {
		return __float_as_uint(__uint_as_float(bits) + v);
	});
	return __uint_as_float(old);
}

#endif
