/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The decision of rdnafix in C: which ROCm memory requests become non-coherent on RDNA1 and
 * RDNA2 GPUs (gfx101x, gfx103x), and why. The same as the crate rdnafix-policy, name for name;
 * a test compares the two over the whole domain. C99 and C++11. Allocates nothing; reads
 * nothing but the environment variable RDNAFIX_POLICY, once. Any doubt ends in
 * RDNAFIX_ACTION_FORWARD: the call is made as it came.
 */
#ifndef RDNAFIX_POLICY_H
#define RDNAFIX_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#define RDNAFIX_INLINE inline
extern "C" {
#else
#define RDNAFIX_INLINE static inline
#endif

/* How much is rewritten: the values of RDNAFIX_POLICY. Each level contains the one before it. */
enum rdnafix_level {
  RDNAFIX_LEVEL_OFF,      /* nothing */
  RDNAFIX_LEVEL_STANDARD, /* memory that nobody asked to be coherent */
  RDNAFIX_LEVEL_MAPPED,   /* also hipHostMalloc with hipHostMallocMapped (ROCm/clr#285) */
  RDNAFIX_LEVEL_FULL      /* also explicit requests for coherent memory */
};

/* A gfx target, for example gfx1030: major 10, minor 3, stepping 0. */
struct rdnafix_gfx_target {
  uint8_t major, minor, stepping;
};

/* The GPU of a request. */
struct rdnafix_gpu {
  bool known;
  struct rdnafix_gfx_target target;
};

/* Who asks. */
enum rdnafix_caller {
  RDNAFIX_CALLER_PROGRAM,     /* the program or a library of its own */
  RDNAFIX_CALLER_HIP_RUNTIME, /* libamdhip64 itself, through the public HSA functions */
  RDNAFIX_CALLER_DENIED       /* a library that polls memory from running kernels: RCCL, rocSHMEM */
};

/* Whose memory a pool is. */
enum rdnafix_owner { RDNAFIX_OWNER_CPU, RDNAFIX_OWNER_GPU };

/* What the layer below was seen to do while the real hipMallocManaged ran. */
enum rdnafix_below {
  RDNAFIX_BELOW_SVM_DECIDED,
  RDNAFIX_BELOW_POOL_ALLOCATED,
  RDNAFIX_BELOW_NOTHING_SEEN
};

/* hipHostMalloc flags (hip_runtime_api.h, 5.2 to 7.2). */
enum {
  RDNAFIX_HOST_MALLOC_DEFAULT = 0,
  RDNAFIX_HOST_MALLOC_PORTABLE = 0x1,
  RDNAFIX_HOST_MALLOC_MAPPED = 0x2,
  RDNAFIX_HOST_MALLOC_WRITE_COMBINED = 0x4
};
#define RDNAFIX_HOST_MALLOC_UNCACHED 0x10000000u /* named in 7.x, ignored before */
#define RDNAFIX_HOST_MALLOC_NUMA_USER 0x20000000u
#define RDNAFIX_HOST_MALLOC_COHERENT 0x40000000u
#define RDNAFIX_HOST_MALLOC_NON_COHERENT 0x80000000u
#define RDNAFIX_HOST_MALLOC_KNOWN 0xf0000007u

/* hipExtMallocWithFlags flags (hip_runtime_api.h). */
enum {
  RDNAFIX_EXT_MALLOC_DEFAULT = 0,
  RDNAFIX_EXT_MALLOC_FINEGRAINED = 1,
  RDNAFIX_EXT_MALLOC_SIGNAL = 2,
  RDNAFIX_EXT_MALLOC_UNCACHED = 3,  /* 5.5 and later */
  RDNAFIX_EXT_MALLOC_CONTIGUOUS = 4 /* 6.2 and later */
};

/* HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS (hsa_ext_amd.h). */
enum {
  RDNAFIX_POOL_KERNARG = 1,
  RDNAFIX_POOL_FINE = 2,
  RDNAFIX_POOL_COARSE = 4,
  RDNAFIX_POOL_EXTENDED = 8, /* 5.7 and later */
  RDNAFIX_POOL_KNOWN = 15
};

/* hsa_amd_memory_pool_flag_t, the flags of an allocation (hsa_ext_amd.h). */
enum {
  RDNAFIX_POOL_ALLOC_PCIE = 1,       /* 5.3 and later: pseudo fine grain */
  RDNAFIX_POOL_ALLOC_CONTIGUOUS = 2, /* 6.2 and later */
  RDNAFIX_POOL_ALLOC_EXECUTABLE = 4, /* 6.4 and later */
  RDNAFIX_POOL_ALLOC_UNCACHED = 8,   /* 7.x */
  RDNAFIX_POOL_ALLOC_KNOWN = 15
};

/* Which call a request is. */
enum rdnafix_request_kind {
  RDNAFIX_REQUEST_HOST_MALLOC,    /* hipHostMalloc: flags */
  RDNAFIX_REQUEST_HOST_ALLOC,     /* hipHostAlloc: flags, hip_* */
  RDNAFIX_REQUEST_MEM_ALLOC_HOST, /* hipMemAllocHost */
  RDNAFIX_REQUEST_MALLOC_MANAGED, /* hipMallocManaged, after it succeeded: below */
  RDNAFIX_REQUEST_EXT_MALLOC,     /* hipExtMallocWithFlags: flags */
  RDNAFIX_REQUEST_POOL_ALLOCATE,  /* hsa_amd_memory_pool_allocate, hsa_amd_vmem_handle_create:
                                     owner, pool, flags, coarse_sibling */
  RDNAFIX_REQUEST_LOCK_TO_POOL,   /* hsa_amd_memory_lock_to_pool: pool, coarse_sibling */
  RDNAFIX_REQUEST_SVM_ATTRIBUTES  /* hsa_amd_svm_attributes_set: the last three */
};

/* One request for memory. Members that its kind does not use are 0. */
struct rdnafix_request {
  enum rdnafix_request_kind kind;
  uint32_t flags;
  bool hip_known; /* the version of HIP, 6 and 4 in 6.4.3 */
  uint16_t hip_major, hip_minor;
  enum rdnafix_below below;
  enum rdnafix_owner owner;
  uint32_t pool;       /* RDNAFIX_POOL_* of the pool */
  bool coarse_sibling; /* the same agent has a coarse-grained pool */
  bool gives_access;   /* the list gives a GPU access to the range */
  bool names_grain;    /* the list names the grain (GLOBAL_FLAG) */
  bool chosen_before;  /* the program chose the grain of an overlapping range earlier */
};

/* What to do. */
enum rdnafix_action {
  RDNAFIX_ACTION_FORWARD,          /* make the call as it came */
  RDNAFIX_ACTION_WITH_FLAGS,       /* make it with the flags of the decision */
  RDNAFIX_ACTION_CALL_HOST_MALLOC, /* call hipHostMalloc with the flags of the decision */
  RDNAFIX_ACTION_COARSE_POOL,      /* the coarse-grained pool of the same agent, with its flags */
  RDNAFIX_ACTION_APPEND_COARSE,    /* append GLOBAL_FLAG = COARSE_GRAINED to the list */
  RDNAFIX_ACTION_ADVISE_COARSE     /* now hipMemAdvise(SetCoarseGrain) on the range */
};

/* Why; in the order of the crate's Reason::ALL. */
enum rdnafix_reason {
  RDNAFIX_REASON_NOBODY_ASKED,
  RDNAFIX_REASON_MAPPED_DEFAULT,
  RDNAFIX_REASON_EXPLICIT_OVERRIDDEN,
  RDNAFIX_REASON_LEVEL_OFF,
  RDNAFIX_REASON_NOT_RDNA12,
  RDNAFIX_REASON_UNKNOWN_GPU,
  RDNAFIX_REASON_ALREADY_NON_COHERENT,
  RDNAFIX_REASON_EXPLICIT_COHERENT,
  RDNAFIX_REASON_MAPPED,
  RDNAFIX_REASON_GRAIN_CHOSEN,
  RDNAFIX_REASON_NO_ACCESS,
  RDNAFIX_REASON_DECIDED_BELOW,
  RDNAFIX_REASON_NEVER_TOUCHED,
  RDNAFIX_REASON_RUNTIME_INTERNAL,
  RDNAFIX_REASON_DENIED_CALLER,
  RDNAFIX_REASON_UNKNOWN_FLAGS,
  RDNAFIX_REASON_OLD_HOST_ALLOC,
  RDNAFIX_REASON_BELOW_MINIMUM, /* the interposer's only */
  RDNAFIX_REASON_NO_COARSE_POOL
};

struct rdnafix_decision {
  enum rdnafix_action action;
  uint32_t flags; /* 0 where the action has none */
  enum rdnafix_reason reason;
};

/* The level of that name; false if there is none. */
RDNAFIX_INLINE bool rdnafix_level_from_name(const char* name, enum rdnafix_level* level) {
  static const char* const names[] = {"off", "standard", "mapped", "full"};
  static const enum rdnafix_level levels[] = {RDNAFIX_LEVEL_OFF, RDNAFIX_LEVEL_STANDARD,
                                              RDNAFIX_LEVEL_MAPPED, RDNAFIX_LEVEL_FULL};
  for (int i = 0; i < 4; i++) {
    if (strcmp(name, names[i]) == 0) {
      *level = levels[i];
      return true;
    }
  }
  return false;
}

/* What a value of RDNAFIX_POLICY means: NULL, empty and unknown values mean standard. */
RDNAFIX_INLINE enum rdnafix_level rdnafix_level_from_value(const char* value) {
  enum rdnafix_level level = RDNAFIX_LEVEL_STANDARD;
  return value != NULL && rdnafix_level_from_name(value, &level) ? level : RDNAFIX_LEVEL_STANDARD;
}

/* The level of this process. Thread-safe; the first call reads RDNAFIX_POLICY. */
RDNAFIX_INLINE enum rdnafix_level rdnafix_level_of_process(void) {
#ifdef __cplusplus
  static const enum rdnafix_level level = rdnafix_level_from_value(getenv("RDNAFIX_POLICY"));
  return level;
#else
  static int known = -1;
  int level = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (level < 0) {
    level = (int)rdnafix_level_from_value(getenv("RDNAFIX_POLICY"));
    __atomic_store_n(&known, level, __ATOMIC_RELAXED);
  }
  return (enum rdnafix_level)level;
#endif
}

/* From KFD's gfx_target_version: major * 10000 + minor * 100 + stepping, decimal. Not known for
 * 0 and for what does not fit. */
RDNAFIX_INLINE struct rdnafix_gpu rdnafix_gpu_from_kfd(uint32_t version) {
  struct rdnafix_gpu gpu = {false, {0, 0, 0}};
  if (version != 0 && version / 10000 <= UINT8_MAX) {
    gpu.known = true;
    gpu.target.major = (uint8_t)(version / 10000);
    gpu.target.minor = (uint8_t)(version / 100 % 100);
    gpu.target.stepping = (uint8_t)(version % 100);
  }
  return gpu;
}

/* Whether this is gfx101x (RDNA1) or gfx103x (RDNA2). gfx102x does not exist. */
RDNAFIX_INLINE bool rdnafix_is_rdna12(struct rdnafix_gfx_target target) {
  return target.major == 10 && (target.minor == 1 || target.minor == 3);
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_forward(enum rdnafix_reason reason) {
  struct rdnafix_decision decision = {RDNAFIX_ACTION_FORWARD, 0, reason};
  return decision;
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_rewrite(enum rdnafix_action action, uint32_t flags,
                                                       enum rdnafix_reason reason) {
  struct rdnafix_decision decision = {action, flags, reason};
  return decision;
}

/* hipHostMalloc takes the fine-grained pool for flags 0 and for any of Coherent, Mapped,
 * NumaUser, Uncached; NonCoherent wins over Mapped and NumaUser and is refused beside Coherent
 * and Uncached (clr 6.4.3 hip_memory.cpp:377-424). */
RDNAFIX_INLINE struct rdnafix_decision rdnafix_host_malloc_flags(uint32_t flags,
                                                                 enum rdnafix_level level,
                                                                 enum rdnafix_action action) {
  const uint32_t coherent = RDNAFIX_HOST_MALLOC_COHERENT | RDNAFIX_HOST_MALLOC_UNCACHED;
  if (flags & ~RDNAFIX_HOST_MALLOC_KNOWN) return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  if (flags & RDNAFIX_HOST_MALLOC_NON_COHERENT)
    return rdnafix_forward(flags & coherent ? RDNAFIX_REASON_UNKNOWN_FLAGS
                                            : RDNAFIX_REASON_ALREADY_NON_COHERENT);
  if (flags == RDNAFIX_HOST_MALLOC_DEFAULT)
    return rdnafix_rewrite(action, RDNAFIX_HOST_MALLOC_NON_COHERENT, RDNAFIX_REASON_NOBODY_ASKED);
  /* 7.2.4 refuses the pair; what is refused stays refused. */
  if ((flags & coherent) == coherent) return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  if (flags & (coherent | RDNAFIX_HOST_MALLOC_NUMA_USER)) {
    if (level < RDNAFIX_LEVEL_FULL) return rdnafix_forward(RDNAFIX_REASON_EXPLICIT_COHERENT);
    return rdnafix_rewrite(action, (flags & ~coherent) | RDNAFIX_HOST_MALLOC_NON_COHERENT,
                           RDNAFIX_REASON_EXPLICIT_OVERRIDDEN);
  }
  if (flags & RDNAFIX_HOST_MALLOC_MAPPED) {
    if (level < RDNAFIX_LEVEL_MAPPED) return rdnafix_forward(RDNAFIX_REASON_MAPPED);
    return rdnafix_rewrite(action, flags | RDNAFIX_HOST_MALLOC_NON_COHERENT,
                           RDNAFIX_REASON_MAPPED_DEFAULT);
  }
  return rdnafix_forward(RDNAFIX_REASON_ALREADY_NON_COHERENT);
}

/* From 6.3 on hipHostAlloc is hipHostMalloc that refuses the NonCoherent bit, so the call is
 * made as hipHostMalloc; before, the flags are passed down raw and give VRAM. */
RDNAFIX_INLINE struct rdnafix_decision rdnafix_host_alloc(const struct rdnafix_request* request,
                                                          enum rdnafix_level level) {
  if (!request->hip_known) return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  if (request->hip_major < 6 || (request->hip_major == 6 && request->hip_minor < 3))
    return rdnafix_forward(RDNAFIX_REASON_OLD_HOST_ALLOC);
  /* 6.4.3 refuses hipHostAllocUncached, 7.2.4 takes it; what is refused stays refused. */
  uint32_t legal = RDNAFIX_HOST_MALLOC_PORTABLE | RDNAFIX_HOST_MALLOC_MAPPED |
                   RDNAFIX_HOST_MALLOC_WRITE_COMBINED;
  if (request->hip_major > 7 || (request->hip_major == 7 && request->hip_minor >= 2))
    legal |= RDNAFIX_HOST_MALLOC_UNCACHED;
  if (request->flags & ~legal)
    return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  return rdnafix_host_malloc_flags(request->flags, level, RDNAFIX_ACTION_CALL_HOST_MALLOC);
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_malloc_managed(enum rdnafix_below below) {
  switch (below) {
    case RDNAFIX_BELOW_SVM_DECIDED:
      return rdnafix_forward(RDNAFIX_REASON_DECIDED_BELOW);
    case RDNAFIX_BELOW_POOL_ALLOCATED:
      return rdnafix_forward(RDNAFIX_REASON_ALREADY_NON_COHERENT);
    case RDNAFIX_BELOW_NOTHING_SEEN:
      break;
  }
  return rdnafix_rewrite(RDNAFIX_ACTION_ADVISE_COARSE, 0, RDNAFIX_REASON_NOBODY_ASKED);
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_ext_malloc_flags(uint32_t flags,
                                                                enum rdnafix_level level) {
  switch (flags) {
    case RDNAFIX_EXT_MALLOC_DEFAULT:
      return rdnafix_forward(RDNAFIX_REASON_ALREADY_NON_COHERENT);
    case RDNAFIX_EXT_MALLOC_SIGNAL:
      return rdnafix_forward(RDNAFIX_REASON_NEVER_TOUCHED);
    case RDNAFIX_EXT_MALLOC_FINEGRAINED:
    case RDNAFIX_EXT_MALLOC_UNCACHED:
    case RDNAFIX_EXT_MALLOC_CONTIGUOUS:
      return rdnafix_forward(level < RDNAFIX_LEVEL_FULL ? RDNAFIX_REASON_EXPLICIT_COHERENT
                                                        : RDNAFIX_REASON_DECIDED_BELOW);
    default:
      return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  }
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_pool_allocate(const struct rdnafix_request* request,
                                                             enum rdnafix_caller caller,
                                                             enum rdnafix_level level) {
  const uint32_t pool = request->pool, flags = request->flags;
  const uint32_t coherent = RDNAFIX_POOL_ALLOC_PCIE | RDNAFIX_POOL_ALLOC_UNCACHED;
  if ((pool & RDNAFIX_POOL_KERNARG) || (flags & RDNAFIX_POOL_ALLOC_EXECUTABLE))
    return rdnafix_forward(RDNAFIX_REASON_NEVER_TOUCHED);
  if ((pool & ~(uint32_t)RDNAFIX_POOL_KNOWN) || (flags & ~(uint32_t)RDNAFIX_POOL_ALLOC_KNOWN))
    return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_FLAGS);
  if (!(pool & (RDNAFIX_POOL_FINE | RDNAFIX_POOL_EXTENDED)) && !(flags & coherent))
    return rdnafix_forward(RDNAFIX_REASON_ALREADY_NON_COHERENT);
  /* hostcall, printf and multi-grid sync buffers come from here, and what the program asked of
   * HIP was decided at the HIP call. */
  if (request->owner == RDNAFIX_OWNER_CPU && caller == RDNAFIX_CALLER_HIP_RUNTIME)
    return rdnafix_forward(RDNAFIX_REASON_RUNTIME_INTERNAL);
  const bool is_explicit = request->owner == RDNAFIX_OWNER_CPU ||
      caller == RDNAFIX_CALLER_HIP_RUNTIME || (pool & RDNAFIX_POOL_EXTENDED) ||
      (flags & RDNAFIX_POOL_ALLOC_UNCACHED);
  if (is_explicit && level < RDNAFIX_LEVEL_FULL)
    return rdnafix_forward(RDNAFIX_REASON_EXPLICIT_COHERENT);
  if (!request->coarse_sibling) return rdnafix_forward(RDNAFIX_REASON_NO_COARSE_POOL);
  return rdnafix_rewrite(
      RDNAFIX_ACTION_COARSE_POOL, flags & ~coherent,
      is_explicit ? RDNAFIX_REASON_EXPLICIT_OVERRIDDEN : RDNAFIX_REASON_NOBODY_ASKED);
}

RDNAFIX_INLINE struct rdnafix_decision rdnafix_lock_to_pool(const struct rdnafix_request* request,
                                                            enum rdnafix_level level) {
  if (request->pool & RDNAFIX_POOL_KERNARG) return rdnafix_forward(RDNAFIX_REASON_NEVER_TOUCHED);
  if (!(request->pool & (RDNAFIX_POOL_FINE | RDNAFIX_POOL_EXTENDED)))
    return rdnafix_forward(RDNAFIX_REASON_ALREADY_NON_COHERENT);
  if (level < RDNAFIX_LEVEL_FULL) return rdnafix_forward(RDNAFIX_REASON_EXPLICIT_COHERENT);
  if (!request->coarse_sibling) return rdnafix_forward(RDNAFIX_REASON_NO_COARSE_POOL);
  return rdnafix_rewrite(RDNAFIX_ACTION_COARSE_POOL, 0, RDNAFIX_REASON_EXPLICIT_OVERRIDDEN);
}

/* What the program chose stands at every level: an SVM grain is set on a range that exists, so
 * it is never a default. */
RDNAFIX_INLINE struct rdnafix_decision rdnafix_svm_attributes(
    const struct rdnafix_request* request) {
  if (request->names_grain || request->chosen_before)
    return rdnafix_forward(RDNAFIX_REASON_GRAIN_CHOSEN);
  if (!request->gives_access) return rdnafix_forward(RDNAFIX_REASON_NO_ACCESS);
  return rdnafix_rewrite(RDNAFIX_ACTION_APPEND_COARSE, 0, RDNAFIX_REASON_NOBODY_ASKED);
}

/* What the request deserves on an RDNA1/2 GPU. */
RDNAFIX_INLINE struct rdnafix_decision rdnafix_judge(const struct rdnafix_request* request,
                                                     enum rdnafix_caller caller,
                                                     enum rdnafix_level level) {
  switch (request->kind) {
    case RDNAFIX_REQUEST_HOST_MALLOC:
      return rdnafix_host_malloc_flags(request->flags, level, RDNAFIX_ACTION_WITH_FLAGS);
    case RDNAFIX_REQUEST_HOST_ALLOC:
      return rdnafix_host_alloc(request, level);
    case RDNAFIX_REQUEST_MEM_ALLOC_HOST:
      return rdnafix_host_malloc_flags(RDNAFIX_HOST_MALLOC_DEFAULT, level,
                                       RDNAFIX_ACTION_CALL_HOST_MALLOC);
    case RDNAFIX_REQUEST_MALLOC_MANAGED:
      return rdnafix_malloc_managed(request->below);
    case RDNAFIX_REQUEST_EXT_MALLOC:
      return rdnafix_ext_malloc_flags(request->flags, level);
    case RDNAFIX_REQUEST_POOL_ALLOCATE:
      return rdnafix_pool_allocate(request, caller, level);
    case RDNAFIX_REQUEST_LOCK_TO_POOL:
      return rdnafix_lock_to_pool(request, level);
    case RDNAFIX_REQUEST_SVM_ATTRIBUTES:
      break;
  }
  return rdnafix_svm_attributes(request);
}

/* Decides about one request for memory that `gpu` will use. */
RDNAFIX_INLINE struct rdnafix_decision rdnafix_decide(const struct rdnafix_request* request,
                                                      struct rdnafix_gpu gpu,
                                                      enum rdnafix_caller caller,
                                                      enum rdnafix_level level) {
  if (level == RDNAFIX_LEVEL_OFF) return rdnafix_forward(RDNAFIX_REASON_LEVEL_OFF);
  if (gpu.known && !rdnafix_is_rdna12(gpu.target))
    return rdnafix_forward(RDNAFIX_REASON_NOT_RDNA12);
  if (caller == RDNAFIX_CALLER_DENIED && level < RDNAFIX_LEVEL_FULL)
    return rdnafix_forward(RDNAFIX_REASON_DENIED_CALLER);
  const struct rdnafix_decision decision = rdnafix_judge(request, caller, level);
  if (!gpu.known && decision.action != RDNAFIX_ACTION_FORWARD)
    return rdnafix_forward(RDNAFIX_REASON_UNKNOWN_GPU);
  return decision;
}

#ifdef __cplusplus
}
#endif

#endif
