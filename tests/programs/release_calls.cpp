// Calls whose meaning differs from release to release, each between the marks `> NAME` and
// `< NAME = RESULT` in the log of the simulated GPU, and one line `NAME -> RESULT` each.
//
// Usage: release_calls [--device N]

#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mark.h"

// hipHostAlloc is deprecated: it is called because programs still call it.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#pragma GCC diagnostic ignored "-Wunused-result"

namespace {

// Larger than the blocks from which the runtimes hand out small requests.
constexpr std::size_t size = std::size_t{4} << 20;

void mark(const std::string& text) { ::mark(text.c_str()); }

template <typename Call>
bool made(const std::string& name, Call call) {
  mark("> " + name);
  const int code = static_cast<int>(call());
  mark("< " + name + " = " + std::to_string(code));
  std::printf("%s -> %d\n", name.c_str(), code);
  std::fflush(stdout);
  return code == 0;
}

std::string hex(const std::string& text, unsigned value) {
  char number[16];
  std::snprintf(number, sizeof number, "0x%x", value);
  return text + number;
}

void pinned() {
  for (const unsigned flags : {0u, 2u, 0x80000000u}) {
    void* p = nullptr;
    if (made(hex("hipHostMalloc ", flags), [&] { return hipHostMalloc(&p, size, flags); }))
      hipHostFree(p);
    if (made(hex("hipHostAlloc ", flags), [&] { return hipHostAlloc(&p, size, flags); }) &&
        hipHostFree(p) != hipSuccess)
      hipFree(p);  // 5.x gives device memory
    hipGetLastError();
  }
}

void registered() {
  for (const unsigned flags : {0u, 8u, 0x80000000u}) {
    // Not given back: the grain of a range belongs to its addresses.
    void* const p =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made(hex("hipHostRegister ", flags), [&] { return hipHostRegister(p, size, flags); }))
      hipHostUnregister(p);
  }
  hipGetLastError();
}

void on_the_device() {
  void* p = nullptr;
  if (made("hipMalloc", [&] { return hipMalloc(&p, size); })) hipFree(p);
  for (const unsigned flags : {1u, 3u, 4u})
    if (made(hex("hipExtMallocWithFlags ", flags),
             [&] { return hipExtMallocWithFlags(&p, size, flags); }))
      hipFree(p);
  hipGetLastError();
  if (made("hipMallocManaged", [&] { return hipMallocManaged(&p, size, hipMemAttachGlobal); }))
    hipFree(p);
  made("the error left by hipMallocManaged", [] { return hipGetLastError(); });
}

// Numbers of agents seen, in the order of the runtime.
int gpus = 0;
int cpus = 0;

hsa_status_t pool(hsa_amd_memory_pool_t pool, void* owner) {
  hsa_amd_segment_t segment{};
  std::uint32_t global = 0;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment);
  if (segment != HSA_AMD_SEGMENT_GLOBAL) return HSA_STATUS_SUCCESS;
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &global);
  for (const std::uint32_t flags : {0u, 1u, 2u, 4u, 8u, 16u}) {
    void* p = nullptr;
    const std::string name = "pool " + *static_cast<std::string*>(owner) + hex(" ", global);
    if (made(hex(name + " flags ", flags),
             [&] { return hsa_amd_memory_pool_allocate(pool, size, flags, &p); }))
      hsa_amd_memory_pool_free(p);
  }
  return HSA_STATUS_SUCCESS;
}

hsa_status_t agent(hsa_agent_t agent, void*) {
  hsa_device_type_t type{};
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  const bool gpu = type == HSA_DEVICE_TYPE_GPU;
  std::string name = gpu ? "gpu" + std::to_string(gpus++) : "cpu" + std::to_string(cpus++);
  char isa[64] = {};
  hsa_agent_get_info(agent, HSA_AGENT_INFO_NAME, isa);
  if (gpu) std::printf("%s is %s\n", name.c_str(), isa);
  return hsa_amd_agent_iterate_memory_pools(agent, pool, &name);
}

}  // namespace

int main(int argc, char** argv) {
  const int device = argc == 3 ? std::atoi(argv[2]) : 0;
  int count = 0;
  if (hipGetDeviceCount(&count) != hipSuccess || hipSetDevice(device) != hipSuccess ||
      hsa_init() != HSA_STATUS_SUCCESS) {
    std::fputs("release_calls: no such device\n", stderr);
    return 2;
  }
  std::printf("devices %d\n", count);
  hipFree(nullptr);
  hipDeviceSynchronize();
  pinned();
  registered();
  on_the_device();
  hsa_iterate_agents(agent, nullptr);
  std::puts("DONE");
}
