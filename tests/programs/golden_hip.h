// Every HIP call that allocates memory, or says how memory is to be mapped, with every flag
// that one of the four releases has. Flags are numbers here: each release answers for itself
// what it thinks of one that it does not know. Included by golden.cpp.

#pragma once

#include "golden_row.h"

#include <hip/hip_runtime_api.h>

#include <vector>

// Exported by libamdhip64, declared by no header.
extern "C" void** __hipRegisterFatBinary(const void* wrapper);
extern "C" void __hipRegisterManagedVar(void* module, void** pointer, void* initial,
                                        const char* name, std::size_t size, unsigned alignment);

// hipMallocHost and others are deprecated: they are probed because programs still call them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace golden {

struct Flag {
  const char* name;
  unsigned value;
};

// A call that gives memory which hipFree takes back.
template <typename Call>
void device_row(const std::string& name, Call call) {
  void* p = nullptr;
  if (row(name, [&] { return call(&p); })) (void)hipFree(p);
}

// A call that gives memory which hipHostFree takes back.
template <typename Call>
void host_row(const std::string& name, Call call) {
  void* p = nullptr;
  if (row(name, [&] { return call(&p); })) (void)hipHostFree(p);
}

inline void hip_device_memory() {
  std::size_t pitch = 0;
  device_row("hipMalloc", [](void** p) { return hipMalloc(p, size); });
  device_row("hipMallocPitch", [&](void** p) { return hipMallocPitch(p, &pitch, 4096, 1024); });
  device_row("hipMemAllocPitch", [&](void** p) {
    return hipMemAllocPitch(reinterpret_cast<hipDeviceptr_t*>(p), &pitch, 4096, 1024, 4);
  });
  device_row("hipMalloc3D", [](void** p) {
    hipPitchedPtr pitched{};
    const hipError_t code = hipMalloc3D(&pitched, {4096, 32, 32});
    *p = pitched.ptr;
    return code;
  });
  for (const Flag& flag : std::vector<Flag>{{"Default", 0},
                                            {"Finegrained", 1},
                                            {"Uncached", 3},
                                            {"Contiguous", 4},
                                            {"0x5", 5},
                                            {"0x80000000", 0x80000000}})
    device_row(std::string("hipExtMallocWithFlags(") + flag.name + ")",
               [&](void** p) { return hipExtMallocWithFlags(p, size, flag.value); });
  device_row("hipExtMallocWithFlags(SignalMemory)",
             [](void** p) { return hipExtMallocWithFlags(p, 8, hipMallocSignalMemory); });
  for (const bool from_pool : {false, true}) {
    hipStream_t stream = nullptr;
    hipMemPool_t pool = nullptr;
    const char* name = from_pool ? "hipMallocFromPoolAsync" : "hipMallocAsync";
    if (hipStreamCreate(&stream) != hipSuccess ||
        (from_pool && hipDeviceGetDefaultMemPool(&pool, 0) != hipSuccess)) {
      no_row(name, "no pool");
      continue;
    }
    void* p = nullptr;
    // On a stream of its own, which stays: 5.2.3 crashes on the null stream, and hangs in
    // hipStreamDestroy after hipMallocAsync.
    if (row(name, [&] {
          return from_pool ? hipMallocFromPoolAsync(&p, size, pool, stream)
                           : hipMallocAsync(&p, size, stream);
        })) {
      (void)hipFreeAsync(p, stream);
      (void)hipStreamSynchronize(stream);
    }
  }
}

inline void hip_arrays() {
  const hipChannelFormatDesc format{32, 0, 0, 0, hipChannelFormatKindFloat};
  hipArray_t array = nullptr;
  if (row("hipMallocArray", [&] { return hipMallocArray(&array, &format, 1024, 1024, 0); }))
    (void)hipFreeArray(array);
  if (row("hipMallocArray(SurfaceLoadStore)",
          [&] { return hipMallocArray(&array, &format, 1024, 1024, hipArraySurfaceLoadStore); }))
    (void)hipFreeArray(array);
  if (row("hipMalloc3DArray",
          [&] { return hipMalloc3DArray(&array, &format, {64, 64, 256}, hipArrayDefault); }))
    (void)hipFreeArray(array);
  HIP_ARRAY_DESCRIPTOR flat{};
  flat.Width = flat.Height = 1024;
  flat.Format = HIP_AD_FORMAT_FLOAT;
  flat.NumChannels = 1;
  if (row("hipArrayCreate", [&] { return hipArrayCreate(&array, &flat); }))
    (void)hipArrayDestroy(array);
  HIP_ARRAY3D_DESCRIPTOR deep{};
  deep.Width = deep.Height = 64;
  deep.Depth = 256;
  deep.Format = HIP_AD_FORMAT_FLOAT;
  deep.NumChannels = 1;
  if (row("hipArray3DCreate", [&] { return hipArray3DCreate(&array, &deep); }))
    (void)hipArrayDestroy(array);
  hipMipmappedArray_t mipmapped = nullptr;
  if (row("hipMallocMipmappedArray", [&] {
        return hipMallocMipmappedArray(&mipmapped, &format, {1024, 1024, 0}, 1, 0);
      }))
    (void)hipFreeMipmappedArray(mipmapped);
}

inline void hip_managed_memory() {
  for (const Flag& flag : std::vector<Flag>{{"Global", 1},
                                            {"Host", 2},
                                            {"Global|Host", 3},
                                            {"Single", 4},
                                            {"0", 0}})
    device_row(std::string("hipMallocManaged(") + flag.name + ")",
               [&](void** p) { return hipMallocManaged(p, size, flag.value); });

  for (const Flag& advice : std::vector<Flag>{{"SetReadMostly", 1},
                                              {"UnsetReadMostly", 2},
                                              {"SetPreferredLocation", 3},
                                              {"UnsetPreferredLocation", 4},
                                              {"SetAccessedBy", 5},
                                              {"UnsetAccessedBy", 6},
                                              {"SetCoarseGrain", 100},
                                              {"UnsetCoarseGrain", 101}}) {
    void* p = nullptr;
    if (!prepare([&] { return hipMallocManaged(&p, size, hipMemAttachGlobal); })) {
      no_row(std::string("hipMemAdvise(") + advice.name + ")", "no memory");
      continue;
    }
    row(std::string("hipMemAdvise(") + advice.name + ")", [&] {
      return hipMemAdvise(p, size, static_cast<hipMemoryAdvise>(advice.value), 0);
    });
    // What a choice is worth: a later call that names no grain.
    if (advice.value >= 100)
      row(std::string("hipMemAdvise(") + advice.name + "+SetAccessedBy)",
          [&] { return hipMemAdvise(p, size, hipMemAdviseSetAccessedBy, 0); });
    (void)hipFree(p);
  }
  hipStream_t stream = nullptr;
  void* p = nullptr;
  if (hipStreamCreate(&stream) != hipSuccess ||
      !prepare([&] { return hipMallocManaged(&p, size, hipMemAttachGlobal); })) {
    no_row("hipMemPrefetchAsync(GPU)", "no memory");
    return;
  }
  row("hipMemPrefetchAsync(GPU)", [&] {
    const hipError_t code = hipMemPrefetchAsync(p, size, 0, stream);
    return code == hipSuccess ? hipStreamSynchronize(stream) : code;
  });
  row("hipMemPrefetchAsync(CPU)", [&] {
    const hipError_t code = hipMemPrefetchAsync(p, size, hipCpuDeviceId, stream);
    return code == hipSuccess ? hipStreamSynchronize(stream) : code;
  });
#if HIP_VERSION_MAJOR >= 7
  const hipMemLocation gpu{hipMemLocationTypeDevice, 0};
  row("hipMemAdvise_v2(SetCoarseGrain)",
      [&] { return hipMemAdvise_v2(p, size, hipMemAdviseSetCoarseGrain, gpu); });
  row("hipMemAdvise_v2(SetAccessedBy)",
      [&] { return hipMemAdvise_v2(p, size, hipMemAdviseSetAccessedBy, gpu); });
  row("hipMemPrefetchAsync_v2(GPU)", [&] {
    const hipError_t code = hipMemPrefetchAsync_v2(p, size, gpu, 0, stream);
    return code == hipSuccess ? hipStreamSynchronize(stream) : code;
  });
#else
  for (const char* name : {"hipMemAdvise_v2(SetCoarseGrain)", "hipMemAdvise_v2(SetAccessedBy)",
                           "hipMemPrefetchAsync_v2(GPU)"})
    no_row(name, "absent");
#endif
  (void)hipFree(p);
}

inline void hip_host_memory() {
  for (const Flag& flag : std::vector<Flag>{{"Default", 0},
                                            {"Portable", 1},
                                            {"Mapped", 2},
                                            {"WriteCombined", 4},
                                            {"0x8", 8},
                                            {"Uncached", 0x10000000},
                                            {"NumaUser", 0x20000000},
                                            {"Coherent", 0x40000000},
                                            {"NonCoherent", 0x80000000},
                                            {"Portable|Mapped", 3},
                                            {"Portable|WriteCombined", 5},
                                            {"Portable|NonCoherent", 0x80000001},
                                            {"Mapped|NonCoherent", 0x80000002},
                                            {"Mapped|Coherent", 0x40000002},
                                            {"Coherent|NonCoherent", 0xc0000000},
                                            {"NumaUser|NonCoherent", 0xa0000000},
                                            {"Uncached|NonCoherent", 0x90000000}})
    host_row(std::string("hipHostMalloc(") + flag.name + ")",
             [&](void** p) { return hipHostMalloc(p, size, flag.value); });
  host_row("hipMallocHost", [](void** p) { return hipMallocHost(p, size); });
  host_row("hipMemAllocHost", [](void** p) { return hipMemAllocHost(p, size); });
  for (const Flag& flag : std::vector<Flag>{{"Default", 0},
                                            {"Portable", 1},
                                            {"Mapped", 2},
                                            {"Portable|Mapped", 3},
                                            {"WriteCombined", 4},
                                            {"0x10000000", 0x10000000},
                                            {"0x40000000", 0x40000000},
                                            {"0x80000000", 0x80000000}})
    host_row(std::string("hipHostAlloc(") + flag.name + ")",
             [&](void** p) { return hipHostAlloc(p, size, flag.value); });
  for (const Flag& flag : std::vector<Flag>{{"Default", 0},
                                            {"Portable", 1},
                                            {"Mapped", 2},
                                            {"IoMemory", 4},
                                            {"0x8", 8},
                                            {"0x10", 0x10},
                                            {"0x80000000", 0x80000000}}) {
    const Pages pages;
    if (row(std::string("hipHostRegister(") + flag.name + ")",
            [&] { return hipHostRegister(pages.get(), size, flag.value); }))
      (void)hipHostUnregister(pages.get());
  }
}

// Virtual memory management: an address range, physical memory, the two joined.
inline void hip_virtual_memory(const char* type, unsigned type_value) {
  const std::string suffix = std::string("(") + type + ")";
  hipMemAllocationProp kind{};
  kind.type = static_cast<hipMemAllocationType>(type_value);
  kind.location = {hipMemLocationTypeDevice, 0};
  void* p = nullptr;
  hipMemGenericAllocationHandle_t handle{};
  if (!row("hipMemAddressReserve" + suffix,
           [&] { return hipMemAddressReserve(&p, size, 0, nullptr, 0); }))
    return no_row("hipMemCreate" + suffix, "no range");
  if (row("hipMemCreate" + suffix, [&] { return hipMemCreate(&handle, size, &kind, 0); })) {
    if (row("hipMemMap" + suffix, [&] { return hipMemMap(p, size, 0, handle, 0); })) {
      const hipMemAccessDesc access{kind.location, hipMemAccessFlagsProtReadWrite};
      row("hipMemSetAccess" + suffix, [&] { return hipMemSetAccess(p, size, &access, 1); });
      (void)hipMemUnmap(p, size);
    }
    (void)hipMemRelease(handle);
  }
  (void)hipMemAddressFree(p, size);
}

// What the start-up code of a program with a __managed__ variable calls. The bundle has no code
// for any GPU: the variable's memory is all that is wanted here.
inline void hip_managed_variable() {
#if HIP_VERSION_MAJOR * 100 + HIP_VERSION_MINOR >= 507
  static const struct {
    char magic[24];
    std::uint64_t entries;
  } bundle = {{'_', '_', 'C', 'L', 'A', 'N', 'G', '_', 'O', 'F', 'F', 'L',
               'O', 'A', 'D', '_', 'B', 'U', 'N', 'D', 'L', 'E', '_', '_'},
              0};
  static const struct {
    std::uint32_t magic, version;
    const void* bundle;
    void* unused;
  } wrapper = {0x48495046, 1, &bundle, nullptr};
  static void* pointer = nullptr;
  static char initial[size];
  void** module = __hipRegisterFatBinary(&wrapper);
  row("__managed__ variable", [&] {
    __hipRegisterManagedVar(module, &pointer, initial, "variable", size, 16);
    return pointer == nullptr ? hipErrorNotInitialized : hipSuccess;
  });
#else
  // It ends the program: "Unable to find code object for all current devices".
  no_row("__managed__ variable", "needs GPU code");
#endif
}

inline void hip_rows() {
  hip_device_memory();
  hip_managed_memory();
  hip_host_memory();
  hip_virtual_memory("Pinned", 1);
  hip_virtual_memory("Uncached", 0x40000000);
  hip_arrays();
  hip_managed_variable();
}

}  // namespace golden
