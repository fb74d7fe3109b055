// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The decision of rdnafix_policy.h for SVM ranges: hipMallocManaged, __managed__ variables,
// hipMemAdvise and programs that call hsa_amd_svm_attributes_set themselves. C++11; uses the
// public HSA interface only. Include the HSA headers first.
#ifndef RDNAFIX_SVM_H
#define RDNAFIX_SVM_H

#include "rdnafix_hsa.h"

#include <map>
#include <mutex>

namespace rdnafix {

// What an attribute list names.
struct Named {
  bool grain, coarse;
  // Agents that are given access as to a new range, and whether any is in place.
  size_t new_access;
  bool in_place;
};

inline Named named_in(const hsa_amd_svm_attribute_pair_t* list, size_t count) {
  Named named = {};
  for (size_t i = 0; i < count; i++) {
    const uint64_t value = list[i].value;
    switch (list[i].attribute) {
      case HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG:
        named.grain = true;
        named.coarse = value == HSA_AMD_SVM_GLOBAL_FLAG_COARSE_GRAINED;
        break;
      case HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE:
        named.new_access++;
        break;
      case HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE_IN_PLACE:
        named.in_place = true;
        break;
    }
  }
  return named;
}

// The GPU that decides about a range: an RDNA1/2 one among the agents that the list gives access,
// else any of them. Known only where the runtime has SVM: elsewhere the call fails, and says so.
inline struct rdnafix_gpu deciding_gpu(const hsa_amd_svm_attribute_pair_t* list, size_t count) {
  struct rdnafix_gpu gpu = rdnafix_gpu_from_kfd(0);
  bool svm = false;
  if (hsa_system_get_info(HSA_AMD_SYSTEM_INFO_SVM_SUPPORTED, &svm) != HSA_STATUS_SUCCESS || !svm)
    return gpu;
  // The list may name what is no agent, which is for the runtime to refuse.
  Agents agents;
  hsa_iterate_agents(visit_agent, &agents);
  for (size_t i = 0; i < count && !is_rdna12(gpu); i++) {
    if (list[i].attribute != HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE &&
        list[i].attribute != HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE_IN_PLACE)
      continue;
    for (const hsa_agent_t agent : agents.gpus) {
      if (agent.handle != list[i].value) continue;
      const struct rdnafix_gpu one = gpu_of(agent);
      if (!gpu.known || is_rdna12(one)) gpu = one;
    }
  }
  return gpu;
}

// A range in the whole pages that the runtime applies attributes to.
struct Pages {
  uintptr_t start, end;
  Pages(const void* ptr, size_t size) {
    const uintptr_t page = 4096, begin = reinterpret_cast<uintptr_t>(ptr);
    start = begin & ~(page - 1);
    // No size makes it wrap around.
    const bool fits = size < UINTPTR_MAX - page - begin;
    end = (fits ? begin + size + page - 1 : UINTPTR_MAX) & ~(page - 1);
  }
};

// Ranges whose grain the program chose. One that there is no memory to remember is forgotten.
class Chosen {
 public:
  bool overlaps(Pages range) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto next = ranges_.lower_bound(range.end);
    return next != ranges_.begin() && std::prev(next)->second > range.start;
  }
  bool forget(Pages range) {
    return ask([&]() {
      std::lock_guard<std::mutex> lock(mutex_);
      cut(range);
      return true;
    }, false);
  }
  bool set(Pages range) {
    return ask([&]() {
      std::lock_guard<std::mutex> lock(mutex_);
      cut(range);
      ranges_[range.start] = range.end;
      return true;
    }, false);
  }
  static Chosen& of_process() {
    static Chosen* const chosen = new Chosen;  // a thread may still call while the process ends
    return *chosen;
  }

 private:
  void cut(Pages range) {
    auto one = ranges_.lower_bound(range.start);
    if (one != ranges_.begin() && std::prev(one)->second > range.start) --one;
    while (one != ranges_.end() && one->first < range.end) {
      const uintptr_t first = one->first, last = one->second;
      one = ranges_.erase(one);
      if (first < range.start) ranges_[first] = range.start;
      if (last > range.end) ranges_[range.end] = last;
    }
  }

  std::mutex mutex_;
  std::map<uintptr_t, uintptr_t> ranges_;
};

// That managed memory is gone, and what the program chose for it.
inline void svm_range_freed(void* ptr, size_t size) {
  ask([&]() { return Chosen::of_process().forget(Pages(ptr, size)); }, false);
}

// As svm_attributes_set below. Nothing here takes memory after the call.
inline bool svm_attributes_decided(decltype(hsa_amd_svm_attributes_set)* real, CallerAt who,
                                   void* ptr, size_t size, hsa_amd_svm_attribute_pair_t* list,
                                   size_t count, hsa_status_t* status) {
  const enum rdnafix_level level = rdnafix_level_of_process();
  // No runtime passes longer lists; a longer one is left alone.
  if (level == RDNAFIX_LEVEL_OFF || list == nullptr || size == 0 || count == 0 || count > 1024)
    return false;
  const Caller caller = who();
  if (caller.decided) return false;

  const Pages range(ptr, size);
  const Named named = named_in(list, count);
  const bool gives_access = named.new_access != 0 || named.in_place;
  const bool hip = caller.who == RDNAFIX_CALLER_HIP_RUNTIME;
  Chosen& chosen = Chosen::of_process();
  const auto choose = [&]() {
    *status = real(ptr, size, list, count);
    if (*status == HSA_STATUS_SUCCESS) chosen.set(range);
    return true;
  };
  if (hip && named.grain && gives_access) {
    // Only a patched libamdhip64 names both in one list: what it decided about a new range, and
    // fine-grained only for a caller that is to be left alone, for good.
    chosen.forget(range);
    return !named.coarse && choose();
  }
  // A new managed allocation, for which libamdhip64 lists every GPU. hipMemAdvise(UnsetAccessedBy)
  // lists one in the same way, so where there is one a choice outlives its range.
  if (hip && !named.grain && named.new_access > 1) chosen.forget(range);

  struct rdnafix_request request = {};
  request.kind = RDNAFIX_REQUEST_SVM_ATTRIBUTES;
  request.gives_access = gives_access;
  request.names_grain = named.grain;
  request.chosen_before = chosen.overlaps(range);
  struct rdnafix_gpu gpu = rdnafix_gpu_from_kfd(0);
  if (gives_access && !named.grain) gpu = deciding_gpu(list, count);
  const struct rdnafix_decision decision = rdnafix_decide(&request, gpu, caller.who, level);
  if (decision.action != RDNAFIX_ACTION_APPEND_COARSE) {
    // What was left alone for its caller's sake is left alone for good: hipMemAdvise on it will
    // come from libamdhip64.
    const bool denied = gives_access && decision.reason == RDNAFIX_REASON_DENIED_CALLER;
    return (named.grain || denied) && choose();
  }
  std::vector<hsa_amd_svm_attribute_pair_t> longer(list, list + count);
  const hsa_amd_svm_attribute_pair_t coarse = {HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG,
                                               HSA_AMD_SVM_GLOBAL_FLAG_COARSE_GRAINED};
  longer.push_back(coarse);
  *status = real(ptr, size, longer.data(), longer.size());
  return *status == HSA_STATUS_SUCCESS;
}

// hsa_amd_svm_attributes_set. A grain is appended where the list gives access and nobody named
// one, and what the program chose is remembered. Returns whether the call was made, with its
// status; if not, it is still to be made as it came.
inline bool svm_attributes_set(decltype(hsa_amd_svm_attributes_set)* real, CallerAt who, void* ptr,
                               size_t size, hsa_amd_svm_attribute_pair_t* list, size_t count,
                               hsa_status_t* status) {
  return ask([&]() {
    return svm_attributes_decided(real, who, ptr, size, list, count, status);
  }, false);
}

}  // namespace rdnafix

#endif
