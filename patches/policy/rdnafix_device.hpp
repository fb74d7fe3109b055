// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The decision of rdnafix_policy.h for HIP: pinned host memory and new managed ranges of a device
// of ROCclr, and who called the public HIP function. C++11. Decides nothing itself.
#ifndef RDNAFIX_DEVICE_HPP
#define RDNAFIX_DEVICE_HPP

#include "device/device.hpp"
#include "device/rdnafix_system.h"

// In a patched libhsa-runtime64 only, which decides about calls of the HSA functions itself:
// forgets what grain the program chose for a range, before it is freed. Null elsewhere.
extern "C" __attribute__((weak)) void rdnafix_svm_range_freed(void* ptr, size_t size);

namespace rdnafix {

// Where the public HIP function that this thread is in returns to; null outside of one.
inline const void*& return_address() {
  static thread_local const void* address = nullptr;
  return address;
}

// Stands in a public function that allocates, with __builtin_return_address(0). Of public
// functions that call each other the outermost counts.
class PublicCall {
 public:
  explicit PublicCall(const void* address) : before_(return_address()) {
    if (before_ == nullptr) return_address() = address;
  }
  ~PublicCall() { return_address() = before_; }
  PublicCall(const PublicCall&) = delete;
  PublicCall& operator=(const PublicCall&) = delete;

 private:
  const void* const before_;
};

// The GPU that a device is; its ISA is the runtime's word, which HSA_OVERRIDE_GFX_VERSION changes.
inline struct rdnafix_gpu gpu_of(const amd::Device& device) {
  const auto& pcie = device.info().deviceTopology_.pcie;
  const uint32_t bdf = static_cast<uint8_t>(pcie.bus) << 8 |
      static_cast<uint8_t>(pcie.device) << 3 | static_cast<uint8_t>(pcie.function);
  return gpu_at(device.info().pciDomainID, bdf,
                rdnafix_gpu_from_kfd(device.isa().versionMajor() * 10000 +
                                     device.isa().versionMinor() * 100));
}

// The decision about a request of the program, whose GPU is asked for if it is of interest.
template <typename Gpu>
struct rdnafix_decision decide_for_program(const struct rdnafix_request& request, Gpu gpu) {
  const enum rdnafix_level level = rdnafix_level_of_process();
  const struct rdnafix_decision best =
      rdnafix_decide(&request, rdnafix_gpu_from_kfd(100300), RDNAFIX_CALLER_PROGRAM, level);
  if (best.action == RDNAFIX_ACTION_FORWARD) return best;
  const Caller caller = caller_at(return_address());
  if (caller.decided) return rdnafix_forward(RDNAFIX_REASON_DECIDED_BELOW);
  return rdnafix_decide(&request, gpu(), caller.who, level);
}

// The flags to use for hipHostMalloc and its relatives instead of those that the program passed;
// the same if there is nothing to change.
inline unsigned int host_malloc_flags(unsigned int flags, const amd::Device& current) {
  struct rdnafix_request request = {};
  request.kind = RDNAFIX_REQUEST_HOST_MALLOC;
  request.flags = flags;
  const struct rdnafix_decision decision =
      decide_for_program(request, [&current]() { return gpu_of(current); });
  return decision.action == RDNAFIX_ACTION_WITH_FLAGS ? decision.flags : flags;
}

// The grain to name for a new managed range that all of these devices get access to: a value of
// HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG, or -1 for none. One RDNA1/2 GPU among them is enough, because
// the grain of a range holds for all of them.
inline int grain_of_new_range(const std::vector<amd::Device*>& devices) {
  enum { kNone = -1, kFineGrained = 0, kCoarseGrained = 1 };
  struct rdnafix_request request = {};
  request.kind = RDNAFIX_REQUEST_SVM_ATTRIBUTES;
  request.gives_access = true;
  const struct rdnafix_decision decision = decide_for_program(request, [&devices]() {
    struct rdnafix_gpu gpu = rdnafix_gpu_from_kfd(0);
    for (const amd::Device* device : devices) {
      if (!device->isOnline()) continue;
      const struct rdnafix_gpu one = gpu_of(*device);
      if (!gpu.known || (one.known && rdnafix_is_rdna12(one.target))) gpu = one;
    }
    return gpu;
  });
  if (decision.action == RDNAFIX_ACTION_APPEND_COARSE) return kCoarseGrained;
  // Fine-grained is what the kernel gives anyway; said aloud, no layer below changes it.
  return decision.reason == RDNAFIX_REASON_DENIED_CALLER ? kFineGrained : kNone;
}

// Whether level full overrides what HIP asks a fine-grained pool for explicitly, of a kind
// (RDNAFIX_REQUEST_*) and for memory of `owner` that all of these devices may use: then it is
// to use the coarse-grained pool, and its own choice if that fails.
inline bool overrides_pool(enum rdnafix_request_kind kind, enum rdnafix_owner owner,
                           const std::vector<amd::Device*>& devices) {
  if (rdnafix_svm_range_freed != nullptr) return false;
  struct rdnafix_request request = {};
  request.kind = kind;
  request.owner = owner;
  request.pool = RDNAFIX_POOL_FINE;
  request.coarse_sibling = true;
  bool all = !devices.empty();
  for (const amd::Device* device : devices) {
    if (!device->isOnline()) continue;
    all = all &&
        rdnafix_decide(&request, gpu_of(*device), RDNAFIX_CALLER_HIP_RUNTIME,
                       rdnafix_level_of_process()).action == RDNAFIX_ACTION_COARSE_POOL;
  }
  return all;
}

}  // namespace rdnafix

#endif
