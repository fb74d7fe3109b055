// Rows of the golden tables: one call between marks in the log of libkfdsim.so. Included by
// golden.cpp. Prints nothing that differs from run to run.

#pragma once

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mark.h"

namespace golden {

// Above the 2 MiB blocks from which both runtimes hand out smaller requests, so that each
// call is one request to the kernel.
constexpr std::size_t size = std::size_t{4} << 20;

inline void mark(const std::string& text) {
  if (simulators_marker() == nullptr) {
    std::fputs("golden: libkfdsim.so is not preloaded\n", stderr);
    std::exit(1);
  }
  ::mark(text.c_str());
}

// One call of the table; true if it succeeded. What it gave back is released after the row.
template <typename Call>
bool row(const std::string& name, Call call) {
  mark("> " + name);
  const int code = static_cast<int>(call());
  mark("< " + name + " = " + std::to_string(code));
  return code == 0;
}

// A call that only prepares a row. Not printed, but not the runtime's own either.
template <typename Call>
bool prepare(Call call) {
  return row("(preparation)", call);
}

// A function that this release does not have, or a call that it is known not to survive.
inline void no_row(const std::string& name, const char* why) {
  mark("> " + name);
  mark("< " + name + " = " + why);
}

// Page-aligned memory that no allocator shares with anything else: SVM attributes and
// registration work on whole pages, and outlive a call.
class Pages {
 public:
  explicit Pages(std::size_t bytes = size)
      : bytes_(bytes),
        address_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (address_ == MAP_FAILED) {
      std::perror("golden: mmap");
      std::exit(1);
    }
  }
  ~Pages() { munmap(address_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  void* get() const { return address_; }

 private:
  std::size_t bytes_;
  void* address_;
};

}  // namespace golden
