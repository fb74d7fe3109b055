// The calls of HSA that fuzz_calls.cpp makes, without those that free.
#pragma once

#include "fuzz_hip.h"

namespace {

class HsaCalls : public HipCalls {
 protected:
  using HipCalls::HipCalls;

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
};

}  // namespace
