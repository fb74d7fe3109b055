// What fuzz_calls.cpp runs on: agents and pools by name, and numbers from a seed.
#pragma once

#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "mark.h"

// Results that do not matter here.
#pragma GCC diagnostic ignored "-Wunused-result"

namespace {

void mark(const std::string& text) { ::mark(text.c_str()); }

template <typename T>
std::string number(const char* name, T value) {
  return std::string(name) + "=" + std::to_string(value);
}

std::string hex(const char* name, unsigned value) {
  char text[64];
  std::snprintf(text, sizeof text, "%s=0x%x", name, value);
  return text;
}

struct Agent {
  hsa_agent_t handle;
  bool gpu;
  std::string name;
};

struct Pool {
  hsa_amd_memory_pool_t handle;
  std::string text;
};

// The agents and pools, by names that are the same in every process.
struct Machine {
  std::vector<Agent> agents;
  // Places in `agents`.
  std::vector<std::size_t> gpus;
  std::vector<Pool> pools;

  // Starts both runtimes, makes them allocate what they need for themselves on every device,
  // and prints what there is.
  void start() {
    int count = 0;
    int version = 0;
    if (hipGetDeviceCount(&count) != hipSuccess || hipRuntimeGetVersion(&version) != hipSuccess ||
        hsa_init() != HSA_STATUS_SUCCESS) {
      std::fputs("fuzz_calls: no GPU\n", stderr);
      std::exit(2);
    }
    for (int device = 0; device < count; ++device) {
      void* ptr = nullptr;
      char buffer[64] = {};
      hipSetDevice(device);
      hipMalloc(&ptr, sizeof buffer);
      hipMemcpy(ptr, buffer, sizeof buffer, hipMemcpyHostToDevice);
      hipFree(ptr);
      hipDeviceSynchronize();
    }
    hsa_iterate_agents(add_agent, this);
    std::printf("hip=%d devices=%d\n", version, count);
    for (const Pool& pool : pools) std::printf("pool%s\n", pool.text.c_str());
  }

 private:
  static hsa_status_t add_agent(hsa_agent_t handle, void* data) {
    auto& machine = *static_cast<Machine*>(data);
    hsa_device_type_t type{};
    hsa_agent_get_info(handle, HSA_AGENT_INFO_DEVICE, &type);
    const bool gpu = type == HSA_DEVICE_TYPE_GPU;
    const std::size_t nth = gpu ? machine.gpus.size() : machine.agents.size() - machine.gpus.size();
    if (gpu) machine.gpus.push_back(machine.agents.size());
    machine.agents.push_back({handle, gpu, (gpu ? "gpu" : "cpu") + std::to_string(nth)});
    return hsa_amd_agent_iterate_memory_pools(handle, add_pool, data);
  }

  static hsa_status_t add_pool(hsa_amd_memory_pool_t handle, void* data) {
    auto& machine = *static_cast<Machine*>(data);
    hsa_amd_segment_t segment{};
    std::uint32_t flags = 0;
    hsa_amd_memory_pool_get_info(handle, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment);
    // Other segments have no such flags.
    if (segment == HSA_AMD_SEGMENT_GLOBAL)
      hsa_amd_memory_pool_get_info(handle, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags);
    machine.pools.push_back({handle, " owner=" + machine.agents.back().name + hex(" pool", flags)});
    return HSA_STATUS_SUCCESS;
  }
};

struct Random {
  explicit Random(std::uint64_t seed) : engine(seed * 0x9e3779b97f4a7c15 + 1) {}

  // The distributions of <random> differ from library to library.
  std::uint64_t below(std::uint64_t count) { return engine() % count; }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  template <typename T, std::size_t N>
  T among(const T (&choices)[N]) {
    return choices[below(N)];
  }

  std::mt19937_64 engine;
};

}  // namespace
