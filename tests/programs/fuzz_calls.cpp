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

#include <cstring>

// All of them: a test compiles this anew where a file that is named here has changed.
#include "fuzz_account.h"
#include "fuzz_free.h"
#include "fuzz_hip.h"
#include "fuzz_hsa.h"
#include "fuzz_machine.h"

namespace {

class Sequence : public HsaCalls {
 public:
  Sequence(const Machine& machine, std::uint64_t seed) : HsaCalls(machine, seed) {}

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
