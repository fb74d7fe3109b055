// Wrong arguments to every function that is taken over, and what each call returns.
#include <hip/hip_runtime_api.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <cstdint>
#include <cstdio>
#include <vector>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

constexpr std::size_t size = std::size_t{4} << 20;

#define SHOW(call) std::printf("%-70s %d\n", #call, static_cast<int>(call))

struct Pool {
  hsa_amd_memory_pool_t handle;
  std::uint32_t flags;
};

hsa_status_t add_pool(hsa_amd_memory_pool_t pool, void* data) {
  hsa_amd_segment_t segment;
  Pool found{pool, 0};
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment);
  if (segment != HSA_AMD_SEGMENT_GLOBAL) return HSA_STATUS_SUCCESS;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &found.flags);
  static_cast<std::vector<Pool>*>(data)->push_back(found);
  return HSA_STATUS_SUCCESS;
}

hsa_status_t add_pools(hsa_agent_t agent, void* data) {
  return hsa_amd_agent_iterate_memory_pools(agent, add_pool, data);
}

void hip_calls() {
  void* ptr = nullptr;
  for (unsigned flags : {0u, 1u, 2u, 4u, 3u, 0x100u, 0x10000000u, 0x20000000u, 0x40000000u, 0x80000000u, 0xc0000000u,
                         0xffffffffu}) {
    std::printf("flags %#x\n", flags);
    SHOW(hipHostMalloc(nullptr, size, flags));
    SHOW(hipHostMalloc(&ptr, 0, flags));
    ptr = nullptr;
    SHOW(hipHostMalloc(&ptr, size, flags));
    std::printf("%s\n", ptr == nullptr ? "no memory" : "memory");
    unsigned read_back = 0x5a5a5a5a;
    SHOW(hipHostGetFlags(&read_back, ptr));
    std::printf("%#x\n", read_back);
    hipPointerAttribute_t attributes{};
    SHOW(hipPointerGetAttributes(&attributes, ptr));
    std::printf("%#x\n", attributes.allocationFlags);
    if (ptr != nullptr) SHOW(hipHostFree(ptr));
    SHOW(hipHostAlloc(nullptr, size, flags));
    SHOW(hipMallocManaged(reinterpret_cast<void**>(&ptr), size, flags));
  }
  SHOW(hipHostMalloc(&ptr, ~std::size_t{0}, 0));
  SHOW(hipHostMalloc(&ptr, std::size_t{1} << 60, 0));
  SHOW(hipMallocManaged(reinterpret_cast<void**>(&ptr), 0, 1));
  SHOW(hipMallocManaged(nullptr, size, 1));
  SHOW(hipMallocManaged(reinterpret_cast<void**>(&ptr), std::size_t{1} << 60, 1));
  SHOW(hipMemAllocHost(nullptr, size));
  SHOW(hipMemAllocHost(&ptr, 0));
  SHOW(hipHostGetFlags(nullptr, ptr));
  SHOW(hipPointerGetAttributes(nullptr, ptr));
  SHOW(hipHostFree(nullptr));
  SHOW(hipFree(nullptr));
  int on_stack = 0;
  SHOW(hipHostFree(&on_stack));
  SHOW(hipFree(&on_stack));
  SHOW(hipGetLastError());
}

void hsa_calls() {
  std::vector<Pool> pools;
  void* ptr = nullptr;
  SHOW(hsa_iterate_agents(add_pools, &pools));
  for (const Pool& pool : pools) {
    for (std::uint32_t flags : {0u, 1u, 2u, 4u, 8u, 16u, 0x80000000u}) {
      std::printf("pool %#x flags %#x\n", pool.flags, flags);
      SHOW(hsa_amd_memory_pool_allocate(pool.handle, size, flags, nullptr));
      SHOW(hsa_amd_memory_pool_allocate(pool.handle, 0, flags, &ptr));
      const hsa_status_t status = hsa_amd_memory_pool_allocate(pool.handle, size, flags, &ptr);
      std::printf("%d\n", static_cast<int>(status));
      if (status == HSA_STATUS_SUCCESS) SHOW(hsa_amd_memory_pool_free(ptr));
    }
    SHOW(hsa_amd_memory_pool_allocate(pool.handle, std::size_t{1} << 60, 0, &ptr));
  }
  SHOW(hsa_amd_svm_attributes_set(nullptr, 0, nullptr, 0));
  hsa_amd_svm_attribute_pair_t pair{HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE, 0};
  SHOW(hsa_amd_svm_attributes_set(nullptr, size, &pair, 1));
  SHOW(hsa_amd_svm_attributes_set(&pair, size, nullptr, 0));
  pair.attribute = 0x7777;
  SHOW(hsa_amd_svm_attributes_set(nullptr, size, &pair, 1));
  SHOW(hsa_amd_memory_lock_to_pool(nullptr, size, nullptr, 0, pools.front().handle, 0, &ptr));
  SHOW(hsa_amd_memory_lock_to_pool(&pair, 0, nullptr, 0, pools.front().handle, 0, &ptr));
  SHOW(hsa_amd_memory_lock_to_pool(&pair, 16, nullptr, 0, pools.front().handle, 7, &ptr));
}

}  // namespace

int main() {
  SHOW(hsa_amd_memory_pool_free(nullptr));
  SHOW(hipInit(0));
  hip_calls();
  hsa_calls();
  std::puts("DONE");
}
