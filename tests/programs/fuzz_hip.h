// The calls of HIP that fuzz_calls.cpp makes, without those that free.
#pragma once

#include "fuzz_free.h"

// hipMallocHost and others are deprecated: they are called because programs still call them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

// Renamed in 6.0.
int memory_type(const hipPointerAttribute_t& got) {
#if HIP_VERSION_MAJOR >= 6
  return static_cast<int>(got.type);
#else
  return static_cast<int>(got.memoryType);
#endif
}

class HipCalls : public Freeing {
 protected:
  using Freeing::Freeing;

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
    std::size_t size = any_size();
    // From 5.7 on addresses are all that this takes, so that many of them are given.
    if (size == std::size_t{1} << 46) size <<= 14;
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
      return number(" type", memory_type(got)) + number(" device", got.device) +
             number(" managed", got.isManaged) + hex(" flags", got.allocationFlags) +
             (got.hostPointer == nullptr ? " host=no" : " host=yes") +
             (got.devicePointer == nullptr ? " gpu=no" : " gpu=yes");
    });
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
};

}  // namespace
