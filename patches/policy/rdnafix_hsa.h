// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The decision of rdnafix_policy.h for the HSA functions that allocate or lock memory of a pool.
// Each function here takes the real one and makes the call with the coarse-grained pool of the
// same agent, if that is what is decided. It returns whether that was done: if not, or if the call
// failed, the call is still to be made as it came. C++11; uses the public HSA interface only, so
// it fits every release. Include the HSA headers first.
#ifndef RDNAFIX_HSA_H
#define RDNAFIX_HSA_H

#include "rdnafix_system.h"

namespace rdnafix {

// The GPU that an agent is; not known for a CPU.
inline struct rdnafix_gpu gpu_of(hsa_agent_t agent) {
  const auto info = [agent](int which, void* value) {
    return hsa_agent_get_info(agent, static_cast<hsa_agent_info_t>(which), value) ==
        HSA_STATUS_SUCCESS;
  };
  hsa_device_type_t device = HSA_DEVICE_TYPE_CPU;
  uint32_t domain = 0, bdf = 0;
  if (!info(HSA_AGENT_INFO_DEVICE, &device) || device != HSA_DEVICE_TYPE_GPU ||
      !info(HSA_AMD_AGENT_INFO_DOMAIN, &domain) || !info(HSA_AMD_AGENT_INFO_BDFID, &bdf))
    return rdnafix_gpu_from_kfd(0);
  // "gfx1030": the last two digits are minor and stepping.
  char name[64] = {};
  unsigned number = 0;
  if (info(HSA_AGENT_INFO_NAME, name)) std::sscanf(name, "gfx10%2x", &number);
  return gpu_at(domain, bdf, rdnafix_gpu_from_kfd(
      number == 0 ? 0 : 100000 + (number >> 4) * 100 + (number & 15)));
}

inline bool is_rdna12(struct rdnafix_gpu gpu) { return gpu.known && rdnafix_is_rdna12(gpu.target); }

// A pool of the global segment.
struct Pool {
  hsa_amd_memory_pool_t handle;
  hsa_agent_t agent;
  enum rdnafix_owner owner;
  uint32_t flags;
};

// The agents and pools that a program sees.
struct Agents {
  std::vector<hsa_agent_t> gpus;
  std::vector<Pool> pools;
};

inline hsa_status_t visit_agent(hsa_agent_t agent, void* data) {
  struct Visit {
    Agents* agents;
    hsa_agent_t agent;
    enum rdnafix_owner owner;
  } visit = {static_cast<Agents*>(data), agent, RDNAFIX_OWNER_CPU};
  hsa_device_type_t device = HSA_DEVICE_TYPE_DSP;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &device);
  if (device == HSA_DEVICE_TYPE_GPU) {
    visit.owner = RDNAFIX_OWNER_GPU;
    visit.agents->gpus.push_back(agent);
  } else if (device != HSA_DEVICE_TYPE_CPU) {
    return HSA_STATUS_SUCCESS;
  }
  hsa_amd_agent_iterate_memory_pools(
      agent,
      [](hsa_amd_memory_pool_t handle, void* of) {
        const Visit* owner = static_cast<Visit*>(of);
        hsa_amd_segment_t segment = HSA_AMD_SEGMENT_PRIVATE;
        uint32_t flags = 0;
        if (hsa_amd_memory_pool_get_info(handle, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment) ==
                HSA_STATUS_SUCCESS &&
            segment == HSA_AMD_SEGMENT_GLOBAL &&
            hsa_amd_memory_pool_get_info(handle, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags) ==
                HSA_STATUS_SUCCESS) {
          const Pool pool = {handle, owner->agent, owner->owner, flags};
          owner->agents->pools.push_back(pool);
        }
        return HSA_STATUS_SUCCESS;
      },
      &visit);
  return HSA_STATUS_SUCCESS;
}

// Who calls a function of libhsa-runtime64: the code at the return address.
struct CallerAt {
  const void* address;
  Caller operator()() const { return caller_at(address); }
};

// A request that names a pool, decided.
struct PoolDecision {
  // The coarse-grained pool to use instead, and the flags for it; handle 0: the call stays as it is
  hsa_amd_memory_pool_t coarse;
  uint32_t flags;
};

// `kind` is RDNAFIX_REQUEST_POOL_ALLOCATE or RDNAFIX_REQUEST_LOCK_TO_POOL; `who` is asked only
// where the answer may be to change something.
inline PoolDecision decided(enum rdnafix_request_kind kind, hsa_amd_memory_pool_t handle,
                            uint32_t flags, CallerAt who) {
  const PoolDecision forward = {{0}, 0};
  const enum rdnafix_level level = rdnafix_level_of_process();
  struct rdnafix_request request = {};
  request.kind = kind;
  request.owner = RDNAFIX_OWNER_GPU;
  request.flags = flags;
  request.coarse_sibling = true;
  // Nearly all allocations end here: device memory, from a pool that is coarse-grained.
  if (level == RDNAFIX_LEVEL_OFF ||
      hsa_amd_memory_pool_get_info(handle, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &request.pool) !=
          HSA_STATUS_SUCCESS ||
      rdnafix_decide(&request, rdnafix_gpu_from_kfd(100300), RDNAFIX_CALLER_PROGRAM, level)
              .action == RDNAFIX_ACTION_FORWARD)
    return forward;
  const Caller caller = who();
  if (caller.decided) return forward;
  Agents agents;
  if (hsa_iterate_agents(visit_agent, &agents) != HSA_STATUS_SUCCESS) return forward;
  const Pool* pool = nullptr;
  for (const Pool& one : agents.pools) {
    if (one.handle.handle == handle.handle) pool = &one;
  }
  if (pool == nullptr) return forward;
  // Memory of a GPU is decided by that GPU; system memory, which every GPU may be given access to
  // later, is RDNA1/2's only if every GPU is one.
  struct rdnafix_gpu gpu = rdnafix_gpu_from_kfd(0);
  if (pool->owner == RDNAFIX_OWNER_GPU) {
    gpu = gpu_of(pool->agent);
  } else {
    for (const hsa_agent_t agent : agents.gpus) {
      gpu = gpu_of(agent);
      if (!is_rdna12(gpu)) break;
    }
  }
  hsa_amd_memory_pool_t coarse = {0};
  for (const Pool& one : agents.pools) {
    if (one.agent.handle == pool->agent.handle && one.flags == RDNAFIX_POOL_COARSE &&
        (coarse.handle == 0 || one.handle.handle == handle.handle))
      coarse = one.handle;
  }
  request.owner = pool->owner;
  request.coarse_sibling = coarse.handle != 0;
  const struct rdnafix_decision decision = rdnafix_decide(&request, gpu, caller.who, level);
  const PoolDecision instead = {coarse, decision.flags};
  return decision.action == RDNAFIX_ACTION_COARSE_POOL ? instead : forward;
}

inline PoolDecision decide(enum rdnafix_request_kind kind, hsa_amd_memory_pool_t handle,
                           uint32_t flags, CallerAt who) {
  return ask([&]() { return decided(kind, handle, flags, who); }, PoolDecision{{0}, 0});
}

// hsa_amd_memory_pool_allocate
inline bool pool_allocate(decltype(hsa_amd_memory_pool_allocate)* real, CallerAt who,
                          hsa_amd_memory_pool_t pool, size_t size, uint32_t flags, void** ptr) {
  if (ptr == nullptr || size == 0) return false;
  const PoolDecision instead = decide(RDNAFIX_REQUEST_POOL_ALLOCATE, pool, flags, who);
  if (instead.coarse.handle == 0) return false;
  if (flags != 0) {
    // A release that refuses the flags goes on refusing them: asked with a page freed at once.
    void* page = nullptr;
    if (real(pool, 4096, flags, &page) != HSA_STATUS_SUCCESS) return false;
    hsa_amd_memory_pool_free(page);
  }
  return real(instead.coarse, size, instead.flags, ptr) == HSA_STATUS_SUCCESS;
}

// hsa_amd_memory_lock_to_pool
inline bool lock_to_pool(decltype(hsa_amd_memory_lock_to_pool)* real, CallerAt who, void* host_ptr,
                         size_t size, hsa_agent_t* agents, int num_agent,
                         hsa_amd_memory_pool_t pool, uint32_t flags, void** agent_ptr) {
  if (host_ptr == nullptr || agent_ptr == nullptr || size == 0 || flags != 0) return false;
  const PoolDecision instead = decide(RDNAFIX_REQUEST_LOCK_TO_POOL, pool, 0, who);
  return instead.coarse.handle != 0 &&
      real(host_ptr, size, agents, num_agent, instead.coarse, flags, agent_ptr) ==
      HSA_STATUS_SUCCESS;
}

// hsa_amd_vmem_handle_create, from ROCm 6.0 on
template <typename Real, typename Type, typename Handle>
bool vmem_handle_create(Real real, CallerAt who, hsa_amd_memory_pool_t pool, size_t size,
                        Type type, uint64_t flags, Handle* handle) {
  // The flags are reserved (hsa_ext_amd.h): other values than 0 are not known here.
  if (handle == nullptr || size == 0 || flags != 0) return false;
  const PoolDecision instead = decide(RDNAFIX_REQUEST_POOL_ALLOCATE, pool, 0, who);
  return instead.coarse.handle != 0 &&
      real(instead.coarse, size, type, flags, handle) == HSA_STATUS_SUCCESS;
}

}  // namespace rdnafix

#endif
