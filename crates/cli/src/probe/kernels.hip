// Compiled at run time by hiprtc. What is measured is one atomic per element, once without and once
// with its old value used: compilers make different instructions of the two. An exchange whose old
// value nobody uses may become a store (LLVM has that rule): only the other one is sure to be an atomic.

typedef unsigned int u32;

#define INDEX (blockIdx.x * blockDim.x + threadIdx.x)

// p: the memory under test. operand, initial: what the CPU has put there, in VRAM. old: VRAM.
#define ATOMIC(name, call)                                                                        \
    extern "C" __global__ void name(u32 *p, const u32 *operand, const u32 *initial, u32 *old,      \
                                    u32 n) {                                                       \
        u32 i = INDEX;                                                                             \
        if (i < n) { call; }                                                                       \
    }                                                                                              \
    extern "C" __global__ void name##_returning(u32 *p, const u32 *operand, const u32 *initial,    \
                                                u32 *old, u32 n) {                                 \
        u32 i = INDEX;                                                                             \
        if (i < n) { old[i] = bits(call); }                                                        \
    }

__device__ inline u32 bits(u32 value) { return value; }
__device__ inline u32 bits(float value) { return __float_as_uint(value); }

ATOMIC(atomic_add, atomicAdd(p + i, operand[i]))
ATOMIC(atomic_min, atomicMin(p + i, operand[i]))
ATOMIC(atomic_max, atomicMax(p + i, operand[i]))
ATOMIC(atomic_and, atomicAnd(p + i, operand[i]))
ATOMIC(atomic_or, atomicOr(p + i, operand[i]))
ATOMIC(atomic_xor, atomicXor(p + i, operand[i]))
ATOMIC(atomic_inc, atomicInc(p + i, operand[i]))
ATOMIC(atomic_dec, atomicDec(p + i, operand[i]))
ATOMIC(atomic_cas, atomicCAS(p + i, initial[i], operand[i]))
ATOMIC(atomic_exchange, atomicExch(p + i, operand[i]))
ATOMIC(atomic_float_add, atomicAdd((float *)p + i, __uint_as_float(operand[i])))

// Bandwidth: reads whose sums the CPU knows. n is a power of two, in elements of what is read.

__device__ inline u32 sum4(uint4 v) { return v.x + v.y + v.z + v.w; }

extern "C" __global__ void bandwidth_streaming(const u32 *p, u32 *sums, u32 n, u32 passes) {
    const uint4 *data = (const uint4 *)p;
    u32 threads = gridDim.x * blockDim.x, sum = 0;
    for (u32 i = INDEX; i < n / 4; i += threads) sum += sum4(data[i]);
    sums[INDEX] = sum;
}

// Another element in each pass, so that neither registers nor the first-level cache have it.
extern "C" __global__ void bandwidth_reread(const u32 *p, u32 *sums, u32 n, u32 passes) {
    const uint4 *data = (const uint4 *)p;
    u32 sum = 0;
    for (u32 pass = 0; pass < passes; pass++) sum += sum4(data[(INDEX + pass * 4099u) & (n / 4 - 1)]);
    sums[INDEX] = sum;
}

__device__ inline u32 scatter(u32 x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

extern "C" __global__ void bandwidth_random(const u32 *p, u32 *sums, u32 n, u32 passes) {
    u32 threads = gridDim.x * blockDim.x, sum = 0;
    for (u32 pass = 0; pass < passes; pass++) sum += p[scatter(INDEX + pass * threads) & (n - 1)];
    sums[INDEX] = sum;
}
