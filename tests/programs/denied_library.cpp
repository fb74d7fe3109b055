// Allocates host and managed memory in every way that a library is judged by: for a library
// whose name is on the deny list, or not.

#include <hip/hip_runtime_api.h>

#include <string>

#include "mark.h"

// hipMemAllocHost is deprecated: programs still call it.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

constexpr size_t size = 5 << 20;

void begin(const char* name) { mark(("> " + std::string(name)).c_str()); }

void end(const char* name, hipError_t error) {
  mark(("< " + std::string(name) + " = " + std::to_string(error)).c_str());
}

// The flags that the runtime says a program passed stay those that it passed.
unsigned flags_of(void* memory) {
  unsigned flags = ~0u;
  return hipHostGetFlags(&flags, memory) == hipSuccess ? flags : ~0u;
}

}  // namespace

extern "C" int allocate() {
  void* memory = nullptr;
  unsigned seen = 0;
  const auto pinned = [&](const char* name, hipError_t (*allocate)(void**)) {
    begin(name);
    const hipError_t error = allocate(&memory);
    end(name, error);
    if (error != hipSuccess) return;
    seen = seen * 31 + flags_of(memory);
    (void)hipHostFree(memory);
  };
  pinned("default", [](void** p) { return hipHostMalloc(p, size, 0); });
  pinned("mapped", [](void** p) { return hipHostMalloc(p, size, hipHostMallocMapped); });
  pinned("coherent", [](void** p) { return hipHostMalloc(p, size, hipHostMallocCoherent); });
  pinned("hipHostAlloc", [](void** p) { return hipHostAlloc(p, size, 0); });
  pinned("hipMemAllocHost", [](void** p) { return hipMemAllocHost(p, size); });
  begin("managed");
  hipError_t error = hipMallocManaged(&memory, size, hipMemAttachGlobal);
  end("managed", error);
  begin("advice");
  error = hipMemAdvise(memory, size, hipMemAdviseSetAccessedBy, 0);
  end("advice", error);
  (void)hipFree(memory);
  return static_cast<int>(seen & 0x7fffffff);
}
