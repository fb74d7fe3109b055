// Every HSA call that allocates memory, or says how memory is to be mapped, on every pool and
// region of every agent. Included by golden.cpp.

#pragma once

#include "golden_row.h"

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <vector>

namespace golden {

struct Agent {
  hsa_agent_t handle;
  hsa_device_type_t type;
};

struct Pool {
  hsa_amd_memory_pool_t handle;
  std::uint32_t flags;
  std::string name;
};

// KERNARG 1, FINE_GRAINED 2, COARSE_GRAINED 4, EXTENDED_SCOPE_FINE_GRAINED 8.
inline std::string grain(std::uint32_t flags) {
  if ((flags & 1) != 0) return "kernarg";
  return (flags & 2) != 0 ? "fine" : (flags & 4) != 0 ? "coarse" : (flags & 8) != 0 ? "ext" : "?";
}

inline std::vector<Agent> agents() {
  std::vector<Agent> found;
  (void)hsa_iterate_agents(
      [](hsa_agent_t agent, void* data) {
        hsa_device_type_t type{};
        (void)hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
        static_cast<std::vector<Agent>*>(data)->push_back({agent, type});
        return HSA_STATUS_SUCCESS;
      },
      &found);
  return found;
}

inline std::string name_of(const Agent& agent) {
  return agent.type == HSA_DEVICE_TYPE_CPU ? "CPU" : "GPU";
}

inline std::vector<Pool> pools(const Agent& agent) {
  std::vector<Pool> found;
  (void)hsa_amd_agent_iterate_memory_pools(
      agent.handle,
      [](hsa_amd_memory_pool_t pool, void* data) {
        hsa_amd_segment_t segment{};
        std::uint32_t flags = 0;
        if (hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment) == 0 &&
            segment == HSA_AMD_SEGMENT_GLOBAL &&
            hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags) == 0)
          static_cast<std::vector<Pool>*>(data)->push_back({pool, flags, grain(flags)});
        return HSA_STATUS_SUCCESS;
      },
      &found);
  return found;
}

inline void hsa_pools(const Agent& agent) {
  for (const Pool& pool : pools(agent))
    for (const std::uint32_t flags : {0U, 1U, 2U, 4U, 8U}) {
      void* p = nullptr;
      const std::string name = "hsa_amd_memory_pool_allocate(" + name_of(agent) + " " + pool.name;
      if (row(name + ", " + std::to_string(flags) + ")",
              [&] { return hsa_amd_memory_pool_allocate(pool.handle, size, flags, &p); }))
        (void)hsa_amd_memory_pool_free(p);
    }
}

inline void hsa_regions(const Agent& agent) {
  std::vector<hsa_region_t> regions;
  (void)hsa_agent_iterate_regions(
      agent.handle,
      [](hsa_region_t region, void* data) {
        hsa_region_segment_t segment{};
        (void)hsa_region_get_info(region, HSA_REGION_INFO_SEGMENT, &segment);
        if (segment == HSA_REGION_SEGMENT_GLOBAL)
          static_cast<std::vector<hsa_region_t>*>(data)->push_back(region);
        return HSA_STATUS_SUCCESS;
      },
      &regions);
  for (const hsa_region_t region : regions) {
    std::uint32_t flags = 0;
    (void)hsa_region_get_info(region, HSA_REGION_INFO_GLOBAL_FLAGS, &flags);
    // A GPU lists system memory among its regions too: the name says whose agent, then the kind.
    bool host = false;
    (void)hsa_region_get_info(
        region, static_cast<hsa_region_info_t>(HSA_AMD_REGION_INFO_HOST_ACCESSIBLE), &host);
    void* p = nullptr;
    if (row("hsa_memory_allocate(" + name_of(agent) + ": " + (host ? "host " : "device ") +
                grain(flags) + ")",
            [&] { return hsa_memory_allocate(region, size, &p); }))
      (void)hsa_memory_free(p);
  }
}

inline void hsa_locks(const std::vector<Agent>& all, hsa_agent_t gpu) {
  void* p = nullptr;
  {
    const Pages pages;
    if (row("hsa_amd_memory_lock(GPU)",
            [&] { return hsa_amd_memory_lock(pages.get(), size, &gpu, 1, &p); }))
      (void)hsa_amd_memory_unlock(pages.get());
  }
  {
    const Pages pages;
    if (row("hsa_amd_memory_lock(all)",
            [&] { return hsa_amd_memory_lock(pages.get(), size, nullptr, 0, &p); }))
      (void)hsa_amd_memory_unlock(pages.get());
  }
  for (const Agent& agent : all)
    for (const Pool& pool : pools(agent)) {
      const Pages pages;
      if (row("hsa_amd_memory_lock_to_pool(" + name_of(agent) + " " + pool.name + ")", [&] {
            return hsa_amd_memory_lock_to_pool(pages.get(), size, &gpu, 1, pool.handle, 0, &p);
          }))
        (void)hsa_amd_memory_unlock(pages.get());
    }
}

inline void hsa_svm(hsa_agent_t gpu) {
  using Pair = hsa_amd_svm_attribute_pair_t;
  const Pair access{HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE, gpu.handle};
  const Pair in_place{HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE_IN_PLACE, gpu.handle};
  const Pair none{HSA_AMD_SVM_ATTRIB_AGENT_NO_ACCESS, gpu.handle};
  const Pair fine{HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG, HSA_AMD_SVM_GLOBAL_FLAG_FINE_GRAINED};
  const Pair coarse{HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG, HSA_AMD_SVM_GLOBAL_FLAG_COARSE_GRAINED};
  const Pair extended{HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG, 2};
  const Pair preferred{HSA_AMD_SVM_ATTRIB_PREFERRED_LOCATION, gpu.handle};
  const Pair read_mostly{HSA_AMD_SVM_ATTRIB_READ_MOSTLY, 1};
  const Pair read_only{HSA_AMD_SVM_ATTRIB_READ_ONLY, 1};
  struct List {
    const char* name;
    std::vector<Pair> first, second;
  };
  // All stay mapped to the end: attributes belong to addresses.
  std::vector<Pages*> kept;
  for (List& list : std::vector<List>{{"access", {access}, {}},
                                      {"in place", {in_place}, {}},
                                      {"no access", {none}, {}},
                                      {"fine", {fine}, {}},
                                      {"coarse", {coarse}, {}},
                                      {"ext", {extended}, {}},
                                      {"access+fine", {access, fine}, {}},
                                      {"access+coarse", {access, coarse}, {}},
                                      {"preferred", {preferred}, {}},
                                      {"read mostly", {read_mostly}, {}},
                                      {"read only+access", {read_only, access}, {}},
                                      {"fine; access", {fine}, {access}},
                                      {"coarse; access", {coarse}, {access}},
                                      {"access; access", {access}, {access}}}) {
    kept.push_back(new Pages);
    row(std::string("hsa_amd_svm_attributes_set(") + list.name + ")", [&] {
      const hsa_status_t code = hsa_amd_svm_attributes_set(kept.back()->get(), size,
                                                           list.first.data(), list.first.size());
      if (code != HSA_STATUS_SUCCESS || list.second.empty()) return code;
      return hsa_amd_svm_attributes_set(kept.back()->get(), size, list.second.data(),
                                        list.second.size());
    });
  }
  for (Pages* pages : kept) delete pages;
}

// ROCm 6.0 and later; the header of 5.2.3 has interface 1.0.
inline void hsa_virtual_memory(const Agent& agent, const Pool& pool) {
  const std::string suffix = "(" + name_of(agent) + " " + pool.name + ")";
#if HSA_AMD_INTERFACE_VERSION_MINOR >= 4
  hsa_amd_vmem_alloc_handle_t handle{};
  if (!row("hsa_amd_vmem_handle_create" + suffix, [&] {
        return hsa_amd_vmem_handle_create(pool.handle, size, MEMORY_TYPE_PINNED, 0, &handle);
      }))
    return;
  void* p = nullptr;
  if (row("hsa_amd_vmem_address_reserve" + suffix,
          [&] { return hsa_amd_vmem_address_reserve(&p, size, 0, 0); })) {
    if (row("hsa_amd_vmem_map" + suffix,
            [&] { return hsa_amd_vmem_map(p, size, 0, handle, 0); })) {
      const hsa_amd_memory_access_desc_t access{HSA_ACCESS_PERMISSION_RW, agent.handle};
      row("hsa_amd_vmem_set_access" + suffix,
          [&] { return hsa_amd_vmem_set_access(p, size, &access, 1); });
      (void)hsa_amd_vmem_unmap(p, size);
    }
    (void)hsa_amd_vmem_address_free(p, size);
  }
  (void)hsa_amd_vmem_handle_release(handle);
#else
  no_row("hsa_amd_vmem_handle_create" + suffix, "absent");
#endif
}

inline void hsa_others(const std::vector<Agent>& all, hsa_agent_t gpu) {
  for (const Pool& pool : pools(all.front())) {
    void* p = nullptr;
    if (!prepare([&] { return hsa_amd_memory_pool_allocate(pool.handle, size, 0, &p); })) continue;
    row("hsa_amd_agents_allow_access(CPU " + pool.name + ")",
        [&] { return hsa_amd_agents_allow_access(1, &gpu, nullptr, p); });
    (void)hsa_amd_memory_pool_free(p);
  }
  hsa_signal_t signal{};
  if (row("hsa_signal_create", [&] { return hsa_signal_create(1, 0, nullptr, &signal); }))
    (void)hsa_signal_destroy(signal);
  if (row("hsa_amd_signal_create(IPC)",
          [&] { return hsa_amd_signal_create(1, 0, nullptr, HSA_AMD_SIGNAL_IPC, &signal); }))
    (void)hsa_signal_destroy(signal);
  hsa_queue_t* queue = nullptr;
  if (row("hsa_queue_create", [&] {
        return hsa_queue_create(gpu, 1024, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX,
                                UINT32_MAX, &queue);
      }))
    (void)hsa_queue_destroy(queue);
}

inline void hsa_rows() {
  const std::vector<Agent> all = agents();
  const Agent* gpu = nullptr;
  for (const Agent& agent : all) {
    hsa_pools(agent);
    hsa_regions(agent);
    if (agent.type == HSA_DEVICE_TYPE_GPU) gpu = &agent;
  }
  if (gpu == nullptr) return no_row("hsa_iterate_agents", "no GPU agent");
  hsa_locks(all, gpu->handle);
  hsa_svm(gpu->handle);
  for (const Agent& agent : all)
    for (const Pool& pool : pools(agent)) hsa_virtual_memory(agent, pool);
  hsa_others(all, gpu->handle);
}

}  // namespace golden
