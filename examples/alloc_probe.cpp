// Calls every HIP and HSA function that allocates memory for a GPU, once each, and prints
// what each returned. Host code only:
//
//   g++ -std=c++17 -D__HIP_PLATFORM_AMD__ alloc_probe.cpp -o alloc_probe -lamdhip64
//       -lhsa-runtime64 -ldl
//
// Usage: alloc_probe [--device N] [--size BYTES]
//
// A call that is refused is a result like any other. Exit code: 0, 1 for a wrong command
// line, 2 where there is no GPU. Where libkfdsim.so is preloaded, marks around each call go
// to its log, so that `rdnafix compare` can tell which call asked the kernel for what.

#include <hip/hip_runtime_api.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

// hipMallocHost and others are deprecated: they are probed because programs still call them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

// Above the 2 MiB blocks from which both runtimes hand out smaller requests, so that each
// call is one request to the kernel.
constexpr std::size_t default_size = std::size_t{4} << 20;

// The runtimes take some flags before their headers name them, or after.
constexpr unsigned host_uncached = 0x10000000;
constexpr std::uint32_t pool_kernarg = HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT;
constexpr std::uint32_t pool_fine = HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED;
constexpr std::uint32_t pool_coarse = HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED;
constexpr std::uint32_t pool_extended = 8;
constexpr std::uint32_t pool_flag_pcie = 1;

void mark(const std::string& text) {
  static const auto kfdsim_mark =
      reinterpret_cast<void (*)(const char*)>(dlsym(RTLD_DEFAULT, "kfdsim_mark"));
  if (kfdsim_mark != nullptr) kfdsim_mark(text.c_str());
}

std::string describe(hipError_t code) { return hipGetErrorName(code); }

// The name that the text of an HSA status starts with.
std::string describe(hsa_status_t code) {
  const char* text = nullptr;
  if (hsa_status_string(code, &text) != HSA_STATUS_SUCCESS || text == nullptr) return "unknown";
  return std::string(text, std::strcspn(text, ":"));
}

void print_row(const std::string& name, const std::string& code, const std::string& text) {
  std::printf("%-54s %5s  %s\n", name.c_str(), code.c_str(), text.c_str());
  // A later call may abort: what was printed until then must not be lost.
  std::fflush(stdout);
}

// Makes one call between marks. `note` adds to the printed row, after the closing mark.
template <typename Call>
bool probe(const std::string& name, Call call,
           const std::function<std::string()>& note = [] { return std::string(); }) {
  mark("> " + name);
  const auto code = call();
  mark("< " + name + " = " + std::to_string(static_cast<int>(code)));
  const bool ok = static_cast<int>(code) == 0;
  print_row(name, std::to_string(static_cast<int>(code)),
            describe(code) + (ok ? note() : ""));
  return ok;
}

// Page-aligned memory that no allocator shares with anything else: SVM attributes and
// registration work on whole pages.
class Pages {
 public:
  explicit Pages(std::size_t size)
      : size_(size),
        address_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (address_ == MAP_FAILED) {
      std::perror("alloc_probe: mmap");
      std::exit(1);
    }
    std::memset(address_, 1, size);
  }
  ~Pages() { munmap(address_, size_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  void* get() const { return address_; }

 private:
  std::size_t size_;
  void* address_;
};

// ---- HIP -----------------------------------------------------------------------------

void probe_device_memory(std::size_t size, int runtime_version) {
  void* p = nullptr;
  if (probe("hipMalloc", [&] { return hipMalloc(&p, size); })) (void)hipFree(p);

  std::size_t pitch = 0;
  if (probe("hipMallocPitch", [&] { return hipMallocPitch(&p, &pitch, 4096, size / 4096); }))
    (void)hipFree(p);

  // On a stream of its own: on the null stream 5.2.3 crashes.
  hipStream_t stream = nullptr;
  if (hipStreamCreate(&stream) == hipSuccess) {
    if (probe("hipMallocAsync", [&] { return hipMallocAsync(&p, size, stream); })) {
      (void)hipFreeAsync(p, stream);
      (void)hipStreamSynchronize(stream);
    }
    // 5.2.3 hangs in hipStreamDestroy after hipMallocAsync; the stream dies with the process.
    if (runtime_version >= 60000000) (void)hipStreamDestroy(stream);
  }

  const auto ext = [&](const char* name, std::size_t bytes, unsigned flags) {
    if (probe(name, [&] { return hipExtMallocWithFlags(&p, bytes, flags); })) (void)hipFree(p);
  };
  ext("hipExtMallocWithFlags(Finegrained)", size, hipDeviceMallocFinegrained);
  ext("hipExtMallocWithFlags(SignalMemory)", 8, hipMallocSignalMemory);
#ifdef hipDeviceMallocUncached
  ext("hipExtMallocWithFlags(Uncached)", size, hipDeviceMallocUncached);
#endif
#ifdef hipDeviceMallocContiguous
  ext("hipExtMallocWithFlags(Contiguous)", size, hipDeviceMallocContiguous);
#endif
}

void probe_managed_memory(std::size_t size, int device) {
  void* p = nullptr;
  if (probe("hipMallocManaged", [&] { return hipMallocManaged(&p, size, hipMemAttachGlobal); }))
    (void)hipFree(p);

  // A program that chooses fine grain itself, and then makes a call that names no grain.
  p = nullptr;
  probe("hipMallocManaged+UnsetCoarseGrain+SetAccessedBy", [&] {
    hipError_t code = hipMallocManaged(&p, size, hipMemAttachGlobal);
    if (code == hipSuccess) code = hipMemAdvise(p, size, hipMemAdviseUnsetCoarseGrain, device);
    if (code == hipSuccess) code = hipMemAdvise(p, size, hipMemAdviseSetAccessedBy, device);
    return code;
  });
  if (p != nullptr) (void)hipFree(p);
}

void probe_host_memory(std::size_t size) {
  void* p = nullptr;
  const auto flags_read_back = [&] {
    unsigned flags = 0;
    const hipError_t code = hipHostGetFlags(&flags, p);
    if (code != hipSuccess) return ", hipHostGetFlags: " + describe(code);
    char text[32];
    std::snprintf(text, sizeof text, ", flags 0x%x", flags);
    return std::string(text);
  };
  const auto host = [&](const char* name, unsigned flags) {
    if (probe(name, [&] { return hipHostMalloc(&p, size, flags); }, flags_read_back))
      (void)hipHostFree(p);
  };
  host("hipHostMalloc(Default)", hipHostMallocDefault);
  host("hipHostMalloc(NonCoherent)", hipHostMallocNonCoherent);
  host("hipHostMalloc(Portable)", hipHostMallocPortable);
  host("hipHostMalloc(WriteCombined)", hipHostMallocWriteCombined);
  host("hipHostMalloc(Coherent)", hipHostMallocCoherent);
  host("hipHostMalloc(Mapped)", hipHostMallocMapped);
  host("hipHostMalloc(NumaUser)", hipHostMallocNumaUser);
  if (HIP_VERSION >= 70000000) host("hipHostMalloc(Uncached)", host_uncached);

  if (probe("hipHostAlloc(Default)", [&] { return hipHostAlloc(&p, size, 0); }, flags_read_back))
    (void)hipHostFree(p);
  if (probe("hipMemAllocHost", [&] { return hipMemAllocHost(&p, size); }, flags_read_back))
    (void)hipHostFree(p);
  if (probe("hipMallocHost", [&] { return hipMallocHost(&p, size); }, flags_read_back))
    (void)hipHostFree(p);

  const Pages pages(size);
  if (probe("hipHostRegister",
            [&] { return hipHostRegister(pages.get(), size, hipHostRegisterDefault); }))
    (void)hipHostUnregister(pages.get());
}

// ---- HSA -----------------------------------------------------------------------------

struct Pool {
  hsa_amd_memory_pool_t handle;
  std::uint32_t flags;
};

struct Agents {
  std::uint32_t bdf;
  std::uint32_t domain;
  std::optional<hsa_agent_t> gpu;
  std::optional<hsa_agent_t> cpu;
};

// The agent of the HIP device, found by its PCI address: HIP_VISIBLE_DEVICES may give the
// two runtimes different orders. And the first CPU agent.
hsa_status_t pick_agent(hsa_agent_t agent, void* data) {
  auto& agents = *static_cast<Agents*>(data);
  hsa_device_type_t type{};
  if (hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type) != HSA_STATUS_SUCCESS)
    return HSA_STATUS_SUCCESS;
  const auto info = [agent](int attribute) {
    std::uint32_t value = 0;
    (void)hsa_agent_get_info(agent, static_cast<hsa_agent_info_t>(attribute), &value);
    return value;
  };
  if (type == HSA_DEVICE_TYPE_CPU && !agents.cpu) agents.cpu = agent;
  if (type == HSA_DEVICE_TYPE_GPU && info(HSA_AMD_AGENT_INFO_BDFID) >> 3 == agents.bdf >> 3 &&
      info(HSA_AMD_AGENT_INFO_DOMAIN) == agents.domain)
    agents.gpu = agent;
  return HSA_STATUS_SUCCESS;
}

hsa_status_t pick_pool(hsa_amd_memory_pool_t pool, void* data) {
  hsa_amd_segment_t segment{};
  bool allowed = false;
  std::uint32_t flags = 0;
  if (hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment) == 0 &&
      segment == HSA_AMD_SEGMENT_GLOBAL &&
      hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED,
                                   &allowed) == 0 &&
      allowed &&
      hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &flags) == 0)
    static_cast<std::vector<Pool>*>(data)->push_back({pool, flags});
  return HSA_STATUS_SUCCESS;
}

// The agent's pool with exactly these global flags.
std::optional<hsa_amd_memory_pool_t> find_pool(hsa_agent_t agent, std::uint32_t flags) {
  std::vector<Pool> pools;
  (void)hsa_amd_agent_iterate_memory_pools(agent, pick_pool, &pools);
  for (const Pool& pool : pools)
    if (pool.flags == flags) return pool.handle;
  return std::nullopt;
}

void probe_pool(const char* name, hsa_agent_t agent, std::uint32_t pool_flags, std::size_t size,
                std::uint32_t flags, const char* why_missing) {
  const auto pool = find_pool(agent, pool_flags);
  if (!pool) return print_row(name, "-", std::string("not offered: ") + why_missing);
  void* p = nullptr;
  if (probe(name, [&] { return hsa_amd_memory_pool_allocate(*pool, size, flags, &p); }))
    (void)hsa_amd_memory_pool_free(p);
}

void probe_pools(hsa_agent_t cpu, hsa_agent_t gpu, std::size_t size) {
  const char* old_runtime = "this runtime has no such pool";
  probe_pool("hsa pool CPU fine", cpu, pool_fine, size, 0, old_runtime);
  probe_pool("hsa pool CPU coarse", cpu, pool_coarse, size, 0, old_runtime);
  probe_pool("hsa pool CPU kernarg", cpu, pool_fine | pool_kernarg, size, 0, old_runtime);
  probe_pool("hsa pool CPU extended", cpu, pool_extended, size, 0, old_runtime);
  probe_pool("hsa pool GPU coarse", gpu, pool_coarse, size, 0, old_runtime);
  probe_pool("hsa pool GPU fine", gpu, pool_fine, size, 0,
             "needs HSA_FORCE_FINE_GRAIN_PCIE=1");
  probe_pool("hsa pool GPU extended", gpu, pool_extended, size, 0, old_runtime);
  probe_pool("hsa pool GPU coarse, PCIE flag", gpu, pool_coarse, size, pool_flag_pcie,
             old_runtime);
#if HIP_VERSION >= 60000000
  const auto pool = find_pool(gpu, pool_coarse);
  hsa_amd_vmem_alloc_handle_t handle{};
  if (pool && probe("hsa_amd_vmem_handle_create", [&] {
        return hsa_amd_vmem_handle_create(*pool, size, MEMORY_TYPE_PINNED, 0, &handle);
      }))
    (void)hsa_amd_vmem_handle_release(handle);
#endif
}

void probe_locked_memory(hsa_agent_t cpu, hsa_agent_t gpu, std::size_t size) {
  const Pages pages(size);
  void* p = nullptr;
  if (probe("hsa_amd_memory_lock",
            [&] { return hsa_amd_memory_lock(pages.get(), size, &gpu, 1, &p); }))
    (void)hsa_amd_memory_unlock(pages.get());

  const Pages more(size);
  const auto fine = find_pool(cpu, pool_fine);
  if (fine && probe("hsa_amd_memory_lock_to_pool(CPU fine)", [&] {
        return hsa_amd_memory_lock_to_pool(more.get(), size, &gpu, 1, *fine, 0, &p);
      }))
    (void)hsa_amd_memory_unlock(more.get());
}

void probe_svm(hsa_agent_t gpu, std::size_t size) {
  // Both stay mapped to the end: attributes belong to addresses, so the second row must not
  // get the address of the first.
  const Pages accessed(size);
  const Pages chosen(size);
  hsa_amd_svm_attribute_pair_t access{HSA_AMD_SVM_ATTRIB_AGENT_ACCESSIBLE, gpu.handle};
  hsa_amd_svm_attribute_pair_t fine{HSA_AMD_SVM_ATTRIB_GLOBAL_FLAG,
                                    HSA_AMD_SVM_GLOBAL_FLAG_FINE_GRAINED};
  probe("hsa_amd_svm_attributes_set(access)",
        [&] { return hsa_amd_svm_attributes_set(accessed.get(), size, &access, 1); });
  probe("hsa_amd_svm_attributes_set(fine, then access)", [&] {
    const hsa_status_t code = hsa_amd_svm_attributes_set(chosen.get(), size, &fine, 1);
    if (code != HSA_STATUS_SUCCESS) return code;
    return hsa_amd_svm_attributes_set(chosen.get(), size, &access, 1);
  });
}

void probe_hsa(const Agents& agents, std::size_t size) {
  probe_pools(*agents.cpu, *agents.gpu, size);
  probe_locked_memory(*agents.cpu, *agents.gpu, size);
  probe_svm(*agents.gpu, size);

  hsa_signal_t signal{};
  if (probe("hsa_signal_create", [&] { return hsa_signal_create(1, 0, nullptr, &signal); }))
    (void)hsa_signal_destroy(signal);
  hsa_queue_t* queue = nullptr;
  if (probe("hsa_queue_create", [&] {
        return hsa_queue_create(*agents.gpu, 1024, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr,
                                UINT32_MAX, UINT32_MAX, &queue);
      }))
    (void)hsa_queue_destroy(queue);
}

// ---- Command line --------------------------------------------------------------------

struct Options {
  std::size_t device = 0;
  std::size_t size = default_size;
};

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr, "alloc_probe: %s\nusage: alloc_probe [--device N] [--size BYTES]\n",
               problem.c_str());
  std::exit(1);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (name != "--device" && name != "--size") usage("unknown option '" + name + "'");
    if (i + 1 == argc) usage(name + " needs a value");
    char* end = nullptr;
    const long long value = std::strtoll(argv[i + 1], &end, 0);
    const bool is_size = name == "--size";
    if (*argv[i + 1] == '\0' || *end != '\0' || value < 0 || (!is_size && value > 1023) ||
        (is_size && (value < 4096 || value % 4096 != 0)))
      usage(name + " " + argv[i + 1] +
            (is_size ? ": not a multiple of 4096 bytes above 0" : ": not a device number"));
    (is_size ? options.size : options.device) = static_cast<std::size_t>(value);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const int device = static_cast<int>(options.device);
  int count = 0;
  const hipError_t found = hipGetDeviceCount(&count);
  if (found != hipSuccess || count <= device) {
    std::fprintf(stderr,
                 "alloc_probe: no HIP device %d: hipGetDeviceCount gave %s and %d devices\n"
                 "(to run it without a GPU: rdnafix sim -- %s)\n",
                 device, describe(found).c_str(), count, argv[0]);
    return 2;
  }
  hipDeviceProp_t properties;
  std::memset(&properties, 0, sizeof properties);
  int version = 0;
  if (hipSetDevice(device) != hipSuccess ||
      hipGetDeviceProperties(&properties, device) != hipSuccess ||
      hipRuntimeGetVersion(&version) != hipSuccess || hsa_init() != HSA_STATUS_SUCCESS) {
    std::fprintf(stderr, "alloc_probe: device %d does not start\n", device);
    return 2;
  }
  std::printf("device %d: %s, %s; HIP %d.%d\n", device, properties.name, properties.gcnArchName,
              version / 10000000, version / 100000 % 100);
  // What the runtime allocates for itself on first use belongs to none of the calls below.
  (void)hipFree(nullptr);
  (void)hipDeviceSynchronize();

  probe_device_memory(options.size, version);
  probe_managed_memory(options.size, device);
  probe_host_memory(options.size);

  Agents agents{static_cast<std::uint32_t>(properties.pciBusID << 8 | properties.pciDeviceID << 3),
                static_cast<std::uint32_t>(properties.pciDomainID), {}, {}};
  (void)hsa_iterate_agents(pick_agent, &agents);
  if (agents.cpu && agents.gpu)
    probe_hsa(agents, options.size);
  else
    std::printf("no HSA agent has the PCI address of this device: HSA calls not probed\n");
  (void)hsa_shut_down();
  std::puts("DONE");
  return 0;
}
