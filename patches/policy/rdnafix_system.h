// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the decision of rdnafix_policy.h needs to know of the system: which GPU the kernel has at
// a PCI address, and who calls. C++11. Decides and changes nothing.
#ifndef RDNAFIX_SYSTEM_H
#define RDNAFIX_SYSTEM_H

#include "rdnafix_policy.h"

#if defined(__linux__)
#include <dirent.h>
#include <dlfcn.h>
#endif
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace rdnafix {

// Asks a question that takes memory. Where there is none the answer is `otherwise`: the public
// functions are C, and a call that cannot be decided is made as it came.
template <typename Question, typename Answer>
Answer ask(Question question, Answer otherwise) {
  try {
    return question();
  } catch (const std::exception&) {
    return otherwise;
  }
}

// Who made a call of a public function.
struct Caller {
  enum rdnafix_caller who;
  // librdnafix.so passed the call on and has decided about it; the layer below leaves it alone.
  bool decided;
};

// A GPU node of KFD.
struct KfdGpu {
  uint32_t domain, bdf;
  // Not known on kernels before 5.14, which do not say.
  struct rdnafix_gpu gpu;
};

// One node's properties: lines of "name value". False for a CPU node and for what is no node.
inline bool read_node(const std::string& path, KfdGpu* node) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return false;
  unsigned long long simd_count = 0, location = ~0ull, domain = 0, version = 0, value;
  char line[256], name[128];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "%127s %llu", name, &value) != 2) continue;
    const std::string key(name);
    if (key == "simd_count") simd_count = value;
    if (key == "location_id") location = value;
    if (key == "domain") domain = value;
    if (key == "gfx_target_version") version = value;
  }
  std::fclose(file);
  if (simd_count == 0 || location > UINT16_MAX || domain > UINT32_MAX) return false;
  node->domain = static_cast<uint32_t>(domain);
  node->bdf = static_cast<uint32_t>(location);
  node->gpu = rdnafix_gpu_from_kfd(version > UINT32_MAX ? 0 : static_cast<uint32_t>(version));
  return true;
}

inline std::vector<KfdGpu> read_kfd_gpus() {
  std::vector<KfdGpu> gpus;
#if defined(__linux__)
  const std::string nodes = "/sys/class/kfd/kfd/topology/nodes";
  DIR* directory = opendir(nodes.c_str());
  if (directory == nullptr) return gpus;
  while (const struct dirent* entry = readdir(directory)) {
    KfdGpu node;
    if (entry->d_name[0] != '.' && read_node(nodes + "/" + entry->d_name + "/properties", &node))
      gpus.push_back(node);
  }
  closedir(directory);
#endif
  return gpus;
}

// The GPU at a PCI address: the kernel's own word, which HSA_OVERRIDE_GFX_VERSION does not change,
// or `runtime_says` on kernels that do not say. Not known if KFD has none there.
inline struct rdnafix_gpu gpu_at(uint32_t domain, uint32_t bdf, struct rdnafix_gpu runtime_says) {
  const auto find = [&]() -> struct rdnafix_gpu {
    // Never destroyed: a thread may still allocate while the process ends.
    static const std::vector<KfdGpu>* const gpus = new std::vector<KfdGpu>(read_kfd_gpus());
    for (const KfdGpu& node : *gpus) {
      if (node.domain == domain && node.bdf == bdf)
        return node.gpu.known ? node.gpu : runtime_says;
    }
    return rdnafix_gpu_from_kfd(0);
  };
  return ask(find, rdnafix_gpu_from_kfd(0));
}

// Who the code at a return address belongs to, by the name of its file. Code outside every object
// (made at run time) counts as the program's.
inline Caller caller_at(const void* address) {
  Caller caller = {RDNAFIX_CALLER_PROGRAM, false};
#if defined(__linux__)
  Dl_info object;
  if (address == nullptr || dladdr(address, &object) == 0 || object.dli_fname == nullptr)
    return caller;
  const char* slash = strrchr(object.dli_fname, '/');
  const char* name = slash != nullptr ? slash + 1 : object.dli_fname;
  const auto begins = [name](const char* with) {
    return strncmp(name, with, strlen(with)) == 0;
  };
  if (begins("libamdhip64.so")) {
    caller.who = RDNAFIX_CALLER_HIP_RUNTIME;
  } else if (begins("librccl") || begins("librocshmem")) {
    caller.who = RDNAFIX_CALLER_DENIED;
  } else {
    caller.decided = begins("librdnafix.so");
  }
#else
  (void)address;
#endif
  return caller;
}

}  // namespace rdnafix

#endif
