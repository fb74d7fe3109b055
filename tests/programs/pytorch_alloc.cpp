// PyTorch's own allocators, as Python drives them. Each argument is a step that prints a line:
//   devices      the devices, by gcnArchName
//   settings     what the allocator goes by; before 2.1 it tells max_split_size only, and only
//                what it was at the start
//   set=TEXT     torch.cuda.memory._set_allocator_settings(TEXT)
//   early=TEXT   the same before the allocator has looked at the devices; the first step
//   fraction=F   torch.cuda.set_per_process_memory_fraction(F), device 0
//   limit=D      850/1024 of the memory of device D: is there so much?
//   collect=D    640/1024 cached in four blocks, then 100/1024 asked for: how much is reserved?
//   split        256 MiB cached in one block, then 100 MiB asked for: how much is reserved?
//   pinned       pinned memory, used for copies to device 0 and back
// PYTORCH is 113 or 206.
#include <hip/hip_runtime.h>

#include <c10/core/impl/alloc_cpu.h>
#include <c10/hip/HIPCachingAllocator.h>
#include <c10/hip/HIPFunctions.h>
#if PYTORCH >= 200
#include <c10/hip/HIPAllocatorConfig.h>
#endif
#include <ATen/hip/CachingHostAllocator.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "mark.h"

#if PYTORCH >= 200
// As ATen's CUDAHooks declare it.
namespace c10 { namespace hip { namespace _internal {
void setHasPrimaryContext(bool (*func)(c10::DeviceIndex));
}}}  // namespace c10::hip::_internal
#endif

namespace allocator = c10::hip::HIPCachingAllocator;

namespace {

// What ATen's CUDAHooks say of a device.
bool has_primary_context(c10::DeviceIndex device) {
  unsigned int flags = 0;
  int active = 0;
  C10_HIP_CHECK(hipDevicePrimaryCtxGetState(device, &flags, &active));
  return active == 1;
}

constexpr size_t kMiB = size_t{1} << 20;

size_t total(int device) {
  hipDeviceProp_t prop{};
  C10_HIP_CHECK(hipGetDeviceProperties(&prop, device));
  return prop.totalGlobalMem;
}

size_t reserved(int device) {
  return allocator::getDeviceStats(device).reserved_bytes[0].current;
}

// In 1024ths of the device's memory.
long part(size_t bytes, int device) {
  return std::lround(1024.0 * static_cast<double>(bytes) / static_cast<double>(total(device)));
}

std::string split_size(size_t bytes) {
  const bool none = bytes > static_cast<size_t>(INT64_MAX);
  return none ? "none" : std::to_string(bytes / kMiB) + " MB";
}

void devices(int count) {
  printf("devices:");
  for (int device = 0; device < count; device++) {
    hipDeviceProp_t prop{};
    C10_HIP_CHECK(hipGetDeviceProperties(&prop, device));
    printf(" %s", prop.gcnArchName);
  }
  printf("\n");
}

void settings(int count) {
#if PYTORCH >= 200
  using Config = allocator::HIPAllocatorConfig;
  printf("settings: split %s, threshold %g, fraction", split_size(Config::max_split_size()).c_str(),
         Config::garbage_collection_threshold());
  for (int device = 0; device < count; device++)
    printf(" %.2f", allocator::getMemoryFraction(static_cast<c10::DeviceIndex>(device)));
  printf("\n");
#else
  (void)count;
  const auto split = static_cast<size_t>(allocator::getDeviceStats(0).max_split_size);
  printf("settings: split %s\n", split_size(split).c_str());
#endif
}

void limit(int device) {
  c10::hip::set_device(device);
  std::vector<void*> blocks;
  try {
    for (int block = 0; block < 2; block++) blocks.push_back(allocator::raw_alloc(total(device) / 1024 * 425));
    printf("limit: ok\n");
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    const size_t allowed = text.find(" allowed");
    const size_t number = text.rfind(' ', allowed == std::string::npos ? 0 : text.rfind(' ', allowed - 1) - 1);
    printf("limit: out of memory%s\n",
           allowed == std::string::npos ? "" : (", " + text.substr(number + 1, allowed + 8 - number - 1)).c_str());
  }
  for (void* block : blocks) allocator::raw_delete(block);
  allocator::emptyCache();
}

void collect(int device) {
  c10::hip::set_device(device);
  std::vector<void*> blocks(4);
  for (void*& block : blocks) block = allocator::raw_alloc(total(device) / 1024 * 160);
  for (void* block : blocks) allocator::raw_delete(block);
  const long before = part(reserved(device), device);
  void* block = allocator::raw_alloc(total(device) / 1024 * 100);
  printf("collect: %ld -> %ld\n", before, part(reserved(device), device));
  allocator::raw_delete(block);
  allocator::emptyCache();
}

void split() {
  c10::hip::set_device(0);
  allocator::raw_delete(allocator::raw_alloc(256 * kMiB));
  void* block = allocator::raw_alloc(100 * kMiB);
  printf("split: %zu MiB\n", reserved(0) / kMiB);
  allocator::raw_delete(block);
  allocator::emptyCache();
}

// As a loader of data does: a batch in pinned memory, to the device, and back into another one.
void pinned() {
  constexpr size_t size = 8 * kMiB;
  c10::hip::set_device(0);
  auto* host = at::cuda::getCachingHostAllocator();
  int right = 0;
  for (int batch = 0; batch < 3; batch++) {
    mark("> pinned");
    c10::DataPtr from = host->allocate(size);
    c10::DataPtr to = host->allocate(size);
    mark("< pinned = 0");
    auto* bytes = static_cast<unsigned char*>(from.get());
    for (size_t i = 0; i < size; i++) bytes[i] = static_cast<unsigned char>(i * 31 + i / 4096 + batch);
    memset(to.get(), 0, size);
    void* device = allocator::raw_alloc(size);
    const auto stream = c10::hip::getCurrentHIPStream();
    C10_HIP_CHECK(hipMemcpyAsync(device, from.get(), size, hipMemcpyHostToDevice, stream));
    C10_HIP_CHECK(hipMemcpyAsync(to.get(), device, size, hipMemcpyDeviceToHost, stream));
    C10_HIP_CHECK(hipStreamSynchronize(stream));
    right += memcmp(from.get(), to.get(), size) == 0;
    allocator::raw_delete(device);
  }
  printf("pinned: %d of 3 batches right\n", right);
}

}  // namespace

#if PYTORCH < 200
namespace at { namespace cuda { namespace detail {
c10::optional<int64_t> getDeviceIndexWithPrimaryContext() {
  return has_primary_context(0) ? c10::optional<int64_t>(0) : c10::nullopt;
}
}}}  // namespace at::cuda::detail
#endif

int main(int count, char** steps) {
  try {
#if PYTORCH >= 200
    c10::hip::_internal::setHasPrimaryContext(has_primary_context);
#endif
    const std::string first = count > 1 ? steps[1] : "";
    if (first.compare(0, 6, "early=") == 0) allocator::setAllocatorSettings(first.substr(6));
    const int devices_there = c10::hip::device_count();
    allocator::init(devices_there);
    for (int i = 1; i < count; i++) {
      const std::string step = steps[i];
      const size_t equals = step.find('=');
      const std::string name = step.substr(0, equals);
      const std::string value = equals == std::string::npos ? "" : step.substr(equals + 1);
      if (name == "devices") devices(devices_there);
      else if (name == "settings") settings(devices_there);
      else if (name == "early" && i == 1) continue;
      else if (name == "set") allocator::setAllocatorSettings(value);
      else if (name == "fraction") allocator::setMemoryFraction(std::stod(value), 0);
      else if (name == "limit") limit(std::stoi(value));
      else if (name == "collect") collect(std::stoi(value));
      else if (name == "split") split();
      else if (name == "pinned") pinned();
      else return fprintf(stderr, "unknown step %s\n", steps[i]), 2;
    }
  } catch (const c10::Error& error) {
    fprintf(stderr, "%s\n", error.what_without_backtrace());
    return 1;
  }
  fflush(stdout);
}
