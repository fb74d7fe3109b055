// Makes every allocation call of HIP, then of HSA, each between marks in the log of
// libkfdsim.so: what tests/golden.rs makes its tables of. Exit code 0, however the calls end:
// a call that is refused is a row like any other.

#include "golden_row.h"
#include "golden_hip.h"
#include "golden_hsa.h"

int main() {
  // What the runtimes set up at the first use is not part of a row.
  int count = 0;
  const bool hip = hipGetDeviceCount(&count) == hipSuccess && count > 0;
  if (hip) {
    void* p = nullptr;
    (void)hipMalloc(&p, golden::size);
    (void)hipMemset(p, 0, golden::size);
    (void)hipDeviceSynchronize();
    (void)hipFree(p);
    golden::hip_rows();
  } else {
    golden::no_row("hipGetDeviceCount", "no GPU");
  }
  if (hsa_init() != HSA_STATUS_SUCCESS) {
    golden::no_row("hsa_init", "refused");
  } else {
    golden::hsa_rows();
    (void)hsa_shut_down();
  }
  golden::mark("end");
  return 0;
}
