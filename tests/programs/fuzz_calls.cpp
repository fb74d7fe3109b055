// Random sequences of HIP and HSA calls that allocate, describe and free memory: valid calls,
// refused ones, and memory freed twice. The same seed makes the same calls in every process:
// nothing depends on addresses or time.
//
// Usage: fuzz_calls --seed N [--step N] [--sequences N]
//
// Every sequence has a seed of its own (the first one, then --step more each time) and ends by
// freeing what it holds, so that it can be made alone. Each call is one line on standard output:
//
//   SEED.CALL name argument=value ... -> result name=value ...
//
// where `of=C` is the memory that call C of the sequence gave. Never an address: those go to
// the log of the simulated GPU, beside the marks `> SEED.CALL name` and `< SEED.CALL name = result`
// around the call, as `@ SEED.CALL ADDRESS SIZE`: the memory that the call was about.

#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

// hipMallocHost and others are deprecated: they are called because programs still call them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
// Results that do not matter here.
#pragma GCC diagnostic ignored "-Wunused-result"

namespace {

void mark(const std::string& text) {
  static const auto kfdsim_mark =
      reinterpret_cast<void (*)(const char*)>(dlsym(RTLD_DEFAULT, "kfdsim_mark"));
  if (kfdsim_mark != nullptr) kfdsim_mark(text.c_str());
}

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

enum class Kind { managed, pinned, device, pool, own };

// Memory that a call of this sequence gave, or an mmap of the program's own.
struct Block {
  unsigned id;
  Kind kind;
  char* at;
  std::size_t size;
  bool registered = false;
  bool locked = false;
};

struct Range {
  char* at;
  std::size_t size;
  std::string text;
};

class Sequence {
 public:
  Sequence(const Machine& machine, std::uint64_t seed)
      : machine_(machine), seed_(seed), random_(seed) {}

  void run() {
    mark("# sequence " + std::to_string(seed_));
    // Every sequence starts on the first device, with no error pending.
    call("hipSetDevice", " device=0", [] { return hipSetDevice(0); });
    call("hipGetLastError", "", [] { return hipGetLastError(); });
    // The grain of a range depends on all calls before: some sequences make no others.
    const bool ranges = random_.one_in(3);
    for (auto count = 12 + random_.below(17); count > 0; --count)
      ranges ? range_step() : any_step();
    while (!blocks_.empty()) release(blocks_.back().id, true);
  }

 private:
  using Step = void (Sequence::*)();

  void range_step() {
    static constexpr Step steps[] = {
        &Sequence::malloc_managed, &Sequence::advise, &Sequence::advise, &Sequence::advise,
        &Sequence::svm_set, &Sequence::svm_set, &Sequence::svm_set, &Sequence::free_something,
    };
    (this->*random_.among(steps))();
  }

  void any_step() {
    static constexpr Step steps[] = {
        &Sequence::host_malloc, &Sequence::host_malloc, &Sequence::host_malloc,
        &Sequence::host_alloc, &Sequence::mem_alloc_host, &Sequence::malloc_host,
        &Sequence::malloc_managed, &Sequence::malloc_managed, &Sequence::malloc_managed,
        &Sequence::advise, &Sequence::advise, &Sequence::advise, &Sequence::device_malloc,
        &Sequence::ext_malloc, &Sequence::registering, &Sequence::registering, &Sequence::get_flags,
        &Sequence::get_attributes, &Sequence::free_something, &Sequence::free_something,
        &Sequence::free_something, &Sequence::free_nothing, &Sequence::copy,
        &Sequence::pool_allocate, &Sequence::pool_allocate, &Sequence::pool_allocate,
        &Sequence::svm_set, &Sequence::svm_set, &Sequence::svm_set, &Sequence::svm_set,
        &Sequence::lock, &Sequence::set_device, &Sequence::last_error,
    };
    (this->*random_.among(steps))();
  }

  // ---- What a call is made of ----------------------------------------------------------

  std::size_t any_size() {
    static constexpr std::size_t usual[] = {1,     100,   4096,    5000,    65535,
                                            65536, 65537, 1 << 20, 4 << 20, (4 << 20) + 12};
    static constexpr std::size_t absurd[] = {0, 0, std::size_t{1} << 46, std::size_t{1} << 60,
                                             ~std::size_t{0}};
    return random_.one_in(8) ? random_.among(absurd) : random_.among(usual);
  }

  unsigned any_host_flags() {
    static constexpr unsigned bits[] = {1, 2, 4, 0x10000000, 0x20000000, 0x40000000, 0x80000000};
    if (random_.one_in(3)) return 0;
    if (random_.one_in(2)) return random_.among(bits);
    unsigned flags = 0;
    for (const unsigned bit : bits)
      if (random_.one_in(3)) flags |= bit;
    // A bit that no header names. To 5.2.3 this one means eight bytes of signal memory, whatever
    // the size, which it then takes for the owner of what follows.
    const unsigned unknown = 8u << random_.below(20);
    if (random_.one_in(6) && unknown != 0x4000) flags |= unknown;
    return flags;
  }

  Block* any(std::initializer_list<Kind> kinds) {
    std::vector<Block*> found;
    for (Block& block : blocks_)
      for (const Kind kind : kinds)
        if (block.kind == kind) found.push_back(&block);
    return found.empty() ? nullptr : found[random_.below(found.size())];
  }

  Block* anything() {
    return any({Kind::pinned, Kind::managed, Kind::device, Kind::own, Kind::pool});
  }

  // Memory of the program's own; it stays to the end of the process, because the attributes of
  // a range belong to its addresses.
  Block& own() {
    Block* const block = any({Kind::own});
    if (block != nullptr && !random_.one_in(3)) return *block;
    static constexpr std::size_t sizes[] = {4096, 16384, 65536, 262144, 4 << 20};
    const std::size_t size = random_.among(sizes);
    void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      std::perror("fuzz_calls: mmap");
      std::exit(1);
    }
    number_ += 1;
    line("mmap" + number(" size", size) + " -> 0");
    return keep(Kind::own, at, size);
  }

  Block& keep(Kind kind, void* at, std::size_t size) {
    blocks_.push_back({number_, kind, static_cast<char*>(at), size});
    return blocks_.back();
  }

  // All of a block, some pages of it, or bytes of its first pages.
  Range part(const Block& block) {
    const std::uint64_t which = random_.below(4);
    if (which < 2) return {block.at, block.size, place(block, 0, block.size)};
    const std::size_t unit = which == 2 ? 4096 : 100;
    const std::size_t end = which == 2 || block.size < 12288 ? block.size : 12288;
    const std::size_t offset = random_.below(end) / unit * unit;
    std::size_t size = 1 + random_.below(end - offset);
    if (size > unit) size = size / unit * unit;
    return {block.at + offset, size, place(block, offset, size)};
  }

  static std::string place(const Block& block, std::size_t offset, std::size_t size) {
    return number(" of", block.id) + number(" offset", offset) + number(" size", size);
  }

  // ---- HIP -----------------------------------------------------------------------------

  // An allocation; `make` gets where to put the pointer, which now and then is nowhere.
  template <typename Make>
  void allocate(const char* name, Kind kind, std::size_t size, const std::string& arguments,
                Make make) {
    void* ptr = nullptr;
    const bool nowhere = random_.one_in(20);
    const std::string text = number(" size", size) + arguments + (nowhere ? " ptr=null" : "");
    const auto made = [&] { return make(nowhere ? nullptr : &ptr); };
    const int code = call(name, text, made, [&] {
      if (ptr != nullptr) about(ptr, size);
      return std::string(ptr == nullptr ? " memory=no" : " memory=yes");
    });
    if (code == 0 && ptr != nullptr) keep(kind, ptr, size);
  }

  void host_malloc() {
    const unsigned flags = any_host_flags();
    const std::size_t size = any_size();
    allocate("hipHostMalloc", Kind::pinned, size, hex(" flags", flags),
             [=](void** ptr) { return hipHostMalloc(ptr, size, flags); });
  }

  void host_alloc() {
    // Signal memory again: 5.2.3 takes the flags raw here.
    const unsigned flags = any_host_flags() & ~0x40000000u;
    const std::size_t size = any_size();
    allocate("hipHostAlloc", Kind::pinned, size, hex(" flags", flags),
             [=](void** ptr) { return hipHostAlloc(ptr, size, flags); });
  }

  void mem_alloc_host() {
    const std::size_t size = any_size();
    allocate("hipMemAllocHost", Kind::pinned, size, "",
             [=](void** ptr) { return hipMemAllocHost(ptr, size); });
  }

  void malloc_host() {
    const std::size_t size = any_size();
    allocate("hipMallocHost", Kind::pinned, size, "",
             [=](void** ptr) { return hipMallocHost(ptr, size); });
  }

  void malloc_managed() {
    static constexpr unsigned choices[] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 0, 4};
    const unsigned flags = random_.among(choices);
    const std::size_t size = any_size();
    allocate("hipMallocManaged", Kind::managed, size, hex(" flags", flags),
             [=](void** ptr) { return hipMallocManaged(ptr, size, flags); });
  }

  void device_malloc() {
    const std::size_t size = any_size();
    allocate("hipMalloc", Kind::device, size, "",
             [=](void** ptr) { return hipMalloc(ptr, size); });
  }

  void ext_malloc() {
    static constexpr unsigned choices[] = {0, 1, 1, 1, 2, 3, 4, 0x80000000};
    const unsigned flags = random_.among(choices);
    const std::size_t size = flags == 2 && !random_.one_in(4) ? 8 : any_size();
    allocate("hipExtMallocWithFlags", Kind::device, size, hex(" flags", flags),
             [=](void** ptr) { return hipExtMallocWithFlags(ptr, size, flags); });
  }

  void advise() {
    static constexpr int advices[] = {1, 2, 3,   4,   5,   5,   5,   5, 6, 6,
                                      100, 100, 100, 101, 101, 101, 0, 7, 102};
    const int advice = random_.among(advices);
    // -1 is the CPU; two more than there are do not exist.
    const int device = static_cast<int>(random_.below(machine_.gpus.size() + 2)) - 1;
    static const Range nowhere{nullptr, 4096, " of=null size=4096"};
    const Block* block = any({Kind::managed});
    if (block == nullptr || random_.one_in(6)) block = any({Kind::pinned, Kind::device, Kind::own});
    const Range range = block == nullptr      ? nowhere
                        : random_.one_in(20) ? Range{block->at, 0, place(*block, 0, 0)}
                                             : part(*block);
    const auto made = static_cast<hipMemoryAdvise>(advice);
    call("hipMemAdvise", range.text + number(" advice", advice) + number(" device", device),
         [&] { return hipMemAdvise(range.at, range.size, made, device); },
         [&] {
           about(range.at, range.size);
           return std::string();
         });
  }

  void registering() {
    static constexpr unsigned choices[] = {0, 0, 0, 1, 2, 4, 8, 3, 16, 0x80000000};
    Block& block = own();
    // Registered twice, 5.2.3 keeps what it knows about the first time for ever.
    if (block.locked || block.registered) return;
    const unsigned flags = random_.among(choices);
    const int code =
        call("hipHostRegister",
             number(" of", block.id) + number(" size", block.size) + hex(" flags", flags),
             [&] { return hipHostRegister(block.at, block.size, flags); });
    if (code != 0) return;
    block.registered = true;
    void* device = nullptr;
    if (hipHostGetDevicePointer(&device, block.at, 0) == hipSuccess) about(device, block.size);
  }

  void get_flags() {
    static char nobodys[16];
    unsigned flags = 0x5a5a5a5a;
    const Block* const block = anything();
    const bool foreign = block == nullptr || random_.one_in(8);
    const Range range =
        foreign ? Range{random_.one_in(2) ? nobodys : nullptr, 1, " of=nobody"} : part(*block);
    const bool nowhere = random_.one_in(20);
    call("hipHostGetFlags", range.text + (nowhere ? " ptr=null" : ""),
         [&] { return hipHostGetFlags(nowhere ? nullptr : &flags, range.at); },
         [&] { return hex(" flags", flags); });
  }

  void get_attributes() {
    static char nobodys[16];
    hipPointerAttribute_t got{};
    const Block* const block = anything();
    const bool foreign = block == nullptr || random_.one_in(8);
    const Range range = foreign ? Range{nobodys, 1, " of=nobody"} : part(*block);
    const auto ask = [&] { return hipPointerGetAttributes(&got, range.at); };
    call("hipPointerGetAttributes", range.text, ask, [&] {
      return number(" type", static_cast<int>(got.memoryType)) + number(" device", got.device) +
             number(" managed", got.isManaged) + hex(" flags", got.allocationFlags) +
             (got.hostPointer == nullptr ? " host=no" : " host=yes") +
             (got.devicePointer == nullptr ? " gpu=no" : " gpu=yes");
    });
  }

  void free_something() {
    if (!blocks_.empty()) release(blocks_[random_.below(blocks_.size())].id, false);
  }

  // A free that has to be refused, or does nothing.
  void free_nothing() {
    static char nobodys[16];
    void* const ptr = random_.one_in(2) ? nobodys : nullptr;
    free_call(random_.below(5), ptr, ptr == nullptr ? " of=null" : " of=nobody");
  }

  int free_call(std::uint64_t which, void* ptr, const std::string& what) {
    switch (which) {
      case 0: return call("hipFree", what, [=] { return hipFree(ptr); });
      case 1: return call("hipHostFree", what, [=] { return hipHostFree(ptr); });
      case 2: return call("hipFreeHost", what, [=] { return hipFreeHost(ptr); });
      case 3: return call("hipHostUnregister", what, [=] { return hipHostUnregister(ptr); });
      default:
        return call("hsa_amd_memory_pool_free", what,
                    [=] { return hsa_amd_memory_pool_free(ptr); });
    }
  }

  // Gives a block back in the way that is right for it, now and then once more than that.
  void release(unsigned id, bool last) {
    std::size_t index = 0;
    while (blocks_[index].id != id) ++index;
    const Block block = blocks_[index];
    const std::string what = number(" of", block.id);
    if (block.kind == Kind::own) {
      if (block.registered && free_call(3, block.at, what) == 0) blocks_[index].registered = false;
      if (block.locked && unlock(block) == 0) blocks_[index].locked = false;
      if (random_.one_in(4)) free_call(3, block.at, what);
      if (random_.one_in(4)) unlock(block);
      if (last) blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index));
      return;
    }
    const std::uint64_t which = block.kind == Kind::pool     ? 4
                                : block.kind == Kind::pinned ? 1 + random_.below(2)
                                                             : 0;
    free_call(which, block.at, what);
    // Before anything else can get the address.
    if (random_.one_in(4)) free_call(which, block.at, what);
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void copy() {
    const Block* const block = any({Kind::managed});
    if (block == nullptr) return;
    char buffer[64] = "copied";
    const std::size_t most = block->size < sizeof buffer ? block->size : sizeof buffer;
    const std::size_t size = 1 + random_.below(most);
    const bool back = random_.one_in(2);
    const std::string text = number(" of", block->id) + number(" size", size);
    call("hipMemcpy", text + (back ? " back=1" : " back=0"), [&] {
      return back ? hipMemcpy(buffer, block->at, size, hipMemcpyDefault)
                  : hipMemcpy(block->at, buffer, size, hipMemcpyHostToDevice);
    });
  }

  void set_device() {
    const std::size_t wrong = random_.one_in(4) ? 1 : 0;
    const int device = static_cast<int>(random_.below(machine_.gpus.size() + wrong));
    call("hipSetDevice", number(" device", device), [=] { return hipSetDevice(device); });
  }

  void last_error() {
    if (random_.one_in(2))
      call("hipPeekAtLastError", "", [] { return hipPeekAtLastError(); });
    else
      call("hipGetLastError", "", [] { return hipGetLastError(); });
  }

  // ---- HSA -----------------------------------------------------------------------------

  void pool_allocate() {
    static constexpr std::uint32_t choices[] = {0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 0x80000000};
    const Pool& from = machine_.pools[random_.below(machine_.pools.size())];
    const auto pool = from.handle;
    const std::uint32_t flags = random_.among(choices);
    const std::size_t size = any_size();
    allocate("hsa_amd_memory_pool_allocate", Kind::pool, size, from.text + hex(" flags", flags),
             [=](void** ptr) { return hsa_amd_memory_pool_allocate(pool, size, flags, ptr); });
  }

  const Agent& any_agent() { return machine_.agents[random_.below(machine_.agents.size())]; }
  const Agent& any_gpu() {
    return machine_.agents[machine_.gpus[random_.below(machine_.gpus.size())]];
  }

  hsa_amd_svm_attribute_pair_t any_attribute(std::string& text) {
    static constexpr std::uint64_t legal[] = {0,     0,     0, 0x200, 0x200, 0x200, 0x201,
                                              0x201, 0x202, 1, 2,     3,     4,     6};
    static constexpr std::uint64_t refused[] = {5, 0x203, 0x7777};
    const std::uint64_t kind = random_.one_in(40) ? random_.among(refused) : random_.among(legal);
    std::uint64_t value = random_.below(2);
    std::string shown;
    if (kind == 4 || kind == 5 || kind >= 0x200) {
      const Agent& agent = random_.one_in(4) ? any_agent() : any_gpu();
      value = agent.handle.handle;
      shown = agent.name;
      if (kind == 4 && random_.one_in(3)) {
        value = 0;
        shown = "0";
      }
    } else {
      // 2 is no grain that can be set.
      if (random_.one_in(10)) value = 2;
      if (kind == 3) value = random_.below(70);
      shown = std::to_string(value);
    }
    text += (text.empty() ? "" : ",") + std::to_string(kind) + ":" + shown;
    return {kind, value};
  }

  void svm_set() {
    const Block* const managed = any({Kind::managed});
    const Block& block = managed != nullptr && random_.one_in(3) ? *managed : own();
    const Range range = part(block);
    std::vector<hsa_amd_svm_attribute_pair_t> list;
    std::string text;
    for (auto count = random_.one_in(10) ? 0 : 1 + random_.below(3); count > 0; --count)
      list.push_back(any_attribute(text));
    call("hsa_amd_svm_attributes_set", range.text + " list=" + (text.empty() ? "empty" : text),
         [&] {
           return hsa_amd_svm_attributes_set(range.at, range.size,
                                             list.empty() ? nullptr : list.data(), list.size());
         },
         [&] {
           about(range.at, range.size);
           return std::string();
         });
  }

  void lock() {
    Block& block = own();
    // A second lock of the same addresses would make unlocking depend on order.
    if (block.locked || block.registered) return;
    // The pools of the host come first; no other can be locked into.
    const Pool& pool = machine_.pools[random_.below(random_.one_in(4) ? machine_.pools.size() : 3)];
    const std::uint32_t flags = random_.one_in(10) ? 7 : 0;
    const Agent& agent = any_gpu();
    hsa_agent_t agents[] = {agent.handle};
    const int count = random_.one_in(4) ? 0 : 1;
    hsa_agent_t* const list = count == 0 ? nullptr : agents;
    void* device = nullptr;
    const std::string text = number(" of", block.id) + number(" size", block.size) + pool.text +
                             hex(" flags", flags) + " agents=" + (count == 0 ? "all" : agent.name);
    const auto made = [&] {
      return hsa_amd_memory_lock_to_pool(block.at, block.size, list, count, pool.handle, flags,
                                         &device);
    };
    const int code = call("hsa_amd_memory_lock_to_pool", text, made, [&] {
      if (device != nullptr) about(device, block.size);
      return std::string(device == nullptr ? " memory=no" : " memory=yes");
    });
    block.locked = code == 0;
  }

  int unlock(const Block& block) {
    return call("hsa_amd_memory_unlock", number(" of", block.id),
                [&] { return hsa_amd_memory_unlock(block.at); });
  }

  // ---- Making and showing a call -------------------------------------------------------

  template <typename Make>
  int call(const char* name, const std::string& arguments, Make make) {
    return call(name, arguments, make, [] { return std::string(); });
  }

  // `after` adds to the line, after the closing mark.
  template <typename Make, typename After>
  int call(const char* name, const std::string& arguments, Make make, After after) {
    number_ += 1;
    const std::string id = std::to_string(seed_) + "." + std::to_string(number_);
    // A call may end the process: what was printed until then must not be lost.
    std::fflush(stdout);
    mark("> " + id + " " + name);
    const int code = static_cast<int>(make());
    mark("< " + id + " " + name + " = " + std::to_string(code));
    line(name + arguments + " -> " + std::to_string(code) + after());
    return code;
  }

  void about(const void* at, std::size_t size) {
    mark("@ " + std::to_string(seed_) + "." + std::to_string(number_) + " " +
         std::to_string(reinterpret_cast<std::uintptr_t>(at)) + " " + std::to_string(size));
  }

  void line(const std::string& text) {
    std::printf("%llu.%u %s\n", static_cast<unsigned long long>(seed_), number_, text.c_str());
  }

  const Machine& machine_;
  std::uint64_t seed_;
  Random random_;
  unsigned number_ = 0;
  std::vector<Block> blocks_;
};

std::uint64_t option(int argc, char** argv, const char* name, std::uint64_t otherwise) {
  for (int i = 1; i + 1 < argc; i += 2)
    if (std::strcmp(argv[i], name) == 0) return std::strtoull(argv[i + 1], nullptr, 0);
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seed = option(argc, argv, "--seed", 1);
  const std::uint64_t step = option(argc, argv, "--step", 1);
  const std::uint64_t sequences = option(argc, argv, "--sequences", 1);
  Machine machine;
  machine.start();
  for (std::uint64_t i = 0; i < sequences; ++i) Sequence(machine, seed + i * step).run();
  std::puts("DONE");
}
