// Managed memory whose grain is chosen, freed, and allocated again until the address comes
// back. Prints whether it did; marks tell the log which allocation is which.
#include <hip/hip_runtime_api.h>

#pragma GCC diagnostic ignored "-Wunused-result"

#include <dlfcn.h>

#include <cstdio>

namespace {

constexpr std::size_t size = std::size_t{4} << 20;

void mark(const char* text) {
  using Mark = void (*)(const char*);
  static const auto kfdsim_mark = reinterpret_cast<Mark>(dlsym(RTLD_DEFAULT, "kfdsim_mark"));
  if (kfdsim_mark != nullptr) kfdsim_mark(text);
}

void* allocate(const char* name) {
  void* ptr = nullptr;
  std::printf("%s %s\n", name, hipGetErrorName(hipMallocManaged(&ptr, size, hipMemAttachGlobal)));
  return ptr;
}

}  // namespace

int main() {
  hipInit(0);
  void* const first = allocate("first");
  hipMemAdvise(first, size, hipMemAdviseUnsetCoarseGrain, 0);
  mark("> access after the choice");
  hipMemAdvise(first, size, hipMemAdviseSetAccessedBy, 0);
  mark("< access after the choice = 0");
  hipFree(first);
  mark("> again");
  void* const again = allocate("again");
  mark("< again = 0");
  std::printf("%s address\n", again == first ? "the same" : "another");
  mark("> access, nothing chosen");
  hipMemAdvise(again, size, hipMemAdviseSetAccessedBy, 0);
  mark("< access, nothing chosen = 0");
  hipFree(again);
}
