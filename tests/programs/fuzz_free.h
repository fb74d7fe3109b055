// The calls of fuzz_calls.cpp that give memory back.
#pragma once

#include "fuzz_account.h"

// hipFreeHost and others are deprecated: they are called because programs still call them.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

class Freeing : public Account {
 protected:
  using Account::Account;

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
      // ROCr 7.2 ends the process if what it is to unlock is not locked, without SVM.
      if (random_.one_in(4) && HIP_VERSION_MAJOR < 7) unlock(block);
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

  int unlock(const Block& block) {
    return call("hsa_amd_memory_unlock", number(" of", block.id),
                [&] { return hsa_amd_memory_unlock(block.at); });
  }
};

}  // namespace
