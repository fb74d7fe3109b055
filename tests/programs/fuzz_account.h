// What the calls of one sequence of fuzz_calls.cpp gave, and how a call is made and shown.
#pragma once

#include <sys/mman.h>

#include "fuzz_machine.h"

namespace {

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

class Account {
 protected:
  Account(const Machine& machine, std::uint64_t seed)
      : machine_(machine), seed_(seed), random_(seed) {}

  std::size_t any_size() {
    static constexpr std::size_t usual[] = {1,     100,   4096,    5000,    65535,
                                            65536, 65537, 1 << 20, 4 << 20, (4 << 20) + 12};
    static constexpr std::size_t absurd[] = {0, 0, std::size_t{1} << 46, std::size_t{1} << 60,
                                             ~std::size_t{0}};
    return random_.one_in(8) ? random_.among(absurd) : random_.among(usual);
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

  const Machine& machine_;
  std::uint64_t seed_;
  Random random_;
  unsigned number_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace
