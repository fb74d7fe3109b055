// Loads the library that is named and calls its allocate().

#include <hip/hip_runtime_api.h>

#include <dlfcn.h>

#include <cstdio>

int main(int, char** arguments) {
  int devices = 0;
  if (hipGetDeviceCount(&devices) != hipSuccess) return 2;
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (library == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 3;
  const auto allocate = reinterpret_cast<int (*)()>(dlsym(library, "allocate"));
  if (allocate == nullptr) return 4;
  std::printf("%d\n", allocate());
  return 0;
}
