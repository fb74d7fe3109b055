// Calls HSA where C++ code gets no memory, and prints what each call returns: a C function has
// to return, and not to throw.

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

// Of this thread: those of ROCr go on.
thread_local bool refuse = false;

struct Gpu {
  hsa_agent_t agent;
  hsa_amd_memory_pool_t pool;
};

hsa_status_t find_pool(hsa_amd_memory_pool_t pool, void* gpu) {
  unsigned flags = 0;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags);
  if (flags == HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED) static_cast<Gpu*>(gpu)->pool = pool;
  return HSA_STATUS_SUCCESS;
}

hsa_status_t find_gpu(hsa_agent_t agent, void* gpu) {
  hsa_device_type_t type = HSA_DEVICE_TYPE_CPU;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (type == HSA_DEVICE_TYPE_GPU) {
    static_cast<Gpu*>(gpu)->agent = agent;
    hsa_amd_agent_iterate_memory_pools(agent, find_pool, gpu);
  }
  return HSA_STATUS_SUCCESS;
}

template <typename Call>
void print(const char* name, Call call) {
  refuse = true;
  const int status = call();
  refuse = false;
  std::printf("%s: %d\n", name, status);
}

}  // namespace

void* operator new(size_t size) {
  void* memory = refuse ? nullptr : std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return refuse ? nullptr : std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

int main() {
  if (hsa_init() != HSA_STATUS_SUCCESS) return 2;
  Gpu gpu = {};
  hsa_iterate_agents(find_gpu, &gpu);
  constexpr size_t size = 4 << 20;
  void* range = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* memory = nullptr;
  hsa_amd_svm_attribute_pair_t access = {HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE, gpu.agent.handle};
  hsa_amd_svm_attribute_pair_t fine = {HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG,
                                       HSA_AMD_SVM_GLOBAL_FLAG_FINE_GRAINED};
  print("access", [&]() { return hsa_amd_svm_attributes_set(range, size, &access, 1); });
  print("fine", [&]() { return hsa_amd_svm_attributes_set(range, size, &fine, 1); });
  print("pool", [&]() { return hsa_amd_memory_pool_allocate(gpu.pool, size, 0, &memory); });
  print("pool, PCIE", [&]() { return hsa_amd_memory_pool_allocate(gpu.pool, size, 1, &memory); });
  hsa_amd_vmem_alloc_handle_t handle;
  print("vmem", [&]() {
    return hsa_amd_vmem_handle_create(gpu.pool, size, MEMORY_TYPE_NONE, 0, &handle);
  });
  hsa_shut_down();
  return 0;
}
