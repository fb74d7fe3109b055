// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Defaults of PyTorch's caching allocator for RDNA1 (gfx101x) and RDNA2 (gfx103x) GPUs. What the
// user sets wins. PYTORCH_RDNA_ALLOC_DEFAULTS=0 turns all of them off. C++14; knows neither CUDA
// nor HIP, so hipify leaves it alone. Expandable segments are off by default everywhere: nothing
// is needed for them here.
#ifndef RDNAFIX_ALLOC_DEFAULTS_H
#define RDNAFIX_ALLOC_DEFAULTS_H

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>

namespace rdnafix {

class AllocDefaults {
 public:
  // Bytes; blocks from this size on are not split.
  static constexpr size_t kMaxSplitSize = size_t{128} << 20;
  // Of the limit below; cached blocks are freed above it. Without a limit it does nothing.
  static constexpr double kGarbageCollectionThreshold = 0.6;
  // Of the device's memory: a fifth of it is not available to PyTorch then.
  static constexpr double kMemoryFraction = 0.8;

  static AllocDefaults& of_process() {
    static AllocDefaults defaults;
    return defaults;
  }

  // Whether a device gets them, by its gcnArchName: gfx1031, gfx1030:sramecc-:xnack-
  static bool are_for(const char* arch) {
    const char* const value = std::getenv("PYTORCH_RDNA_ALLOC_DEFAULTS");
    // Who sets it to anything but 1 wants them off.
    if (value != nullptr && *value != '\0' && std::strcmp(value, "1") != 0) return false;
    const bool family =
        std::strncmp(arch, "gfx101", 6) == 0 || std::strncmp(arch, "gfx103", 6) == 0;
    return family && arch[6] != '\0' && arch[6] != ':' && (arch[7] == '\0' || arch[7] == ':');
  }

  // The settings are at PyTorch's own defaults now, and what the user set is read next.
  void settings_reset(std::atomic<size_t>& split, std::atomic<double>& threshold) {
    const std::lock_guard<std::mutex> lock(mutex_);
    split_ = &split;
    threshold_ = &threshold;
    replace();
  }

  // There is a device that gets them.
  void found_device() {
    const std::lock_guard<std::mutex> lock(mutex_);
    found_ = true;
    replace();
  }

 private:
  // PyTorch accepts neither of the two values that are replaced from the user.
  void replace() {
    if (!found_ || split_ == nullptr) return;
    size_t no_split_size = std::numeric_limits<size_t>::max();
    split_->compare_exchange_strong(no_split_size, kMaxSplitSize);
    double no_threshold = 0;
    threshold_->compare_exchange_strong(no_threshold, kGarbageCollectionThreshold);
  }

  std::mutex mutex_;
  bool found_ = false;
  // Of the one configuration of a process, which is never destroyed.
  std::atomic<size_t>* split_ = nullptr;
  std::atomic<double>* threshold_ = nullptr;
};

}  // namespace rdnafix

#endif  // RDNAFIX_ALLOC_DEFAULTS_H
