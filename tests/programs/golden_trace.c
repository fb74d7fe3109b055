// Preloaded between librdnafix.so and libkfdsim.so: writes the HSA calls that allocate memory,
// as they reach ROCr, into the log of libkfdsim.so. Changes nothing.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mark.h"

// Sizes say nothing about coherence; what is smaller than any row is a question, not its answer.
static const size_t SMALL = (size_t)2 << 20;

// ROCr's function. RTLD_NEXT finds none where ROCm was opened with RTLD_LOCAL.
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) {
    void *rocr = dlopen("libhsa-runtime64.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (rocr != NULL) found = dlsym(rocr, name);
  }
  if (found == NULL) {
    fprintf(stderr, "golden_trace: no %s\n", name);
    abort();
  }
  return found;
}

#define REAL(name) ((__typeof__(&name))real(#name))

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char text[512] = "hsa ";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + 4, sizeof text - 4, format, arguments);
  va_end(arguments);
  mark(text);
}

struct wanted {
  uint64_t pool;
  int is_gpu;
};

static hsa_status_t compare_pool(hsa_amd_memory_pool_t pool, void *data) {
  struct wanted *wanted = data;
  return pool.handle == wanted->pool ? HSA_STATUS_INFO_BREAK : HSA_STATUS_SUCCESS;
}

static hsa_status_t look_in_agent(hsa_agent_t agent, void *data) {
  struct wanted *wanted = data;
  hsa_device_type_t type = HSA_DEVICE_TYPE_CPU;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  wanted->is_gpu = type == HSA_DEVICE_TYPE_GPU;
  return hsa_amd_agent_iterate_memory_pools(agent, compare_pool, wanted);
}

// `CPU fine`: whose pool and its grain, then flags if there are any, and a small size.
static const char *in_words(hsa_amd_memory_pool_t pool, uint64_t flags, size_t size) {
  static __thread char text[96];
  struct wanted wanted = {pool.handle, 0};
  uint32_t grain = 0;
  if (hsa_iterate_agents(look_in_agent, &wanted) != HSA_STATUS_INFO_BREAK)
    return strcpy(text, "unknown pool");
  hsa_amd_memory_pool_get_info(pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, &grain);
  int end = snprintf(text, sizeof text, "%s %s", wanted.is_gpu ? "GPU" : "CPU",
                     grain & 1   ? "kernarg"
                     : grain & 2 ? "fine"
                     : grain & 4 ? "coarse"
                     : grain & 8 ? "ext"
                                 : "?");
  if (flags != 0)
    end += snprintf(text + end, sizeof text - end, ", %#llx", (unsigned long long)flags);
  if (size < SMALL) snprintf(text + end, sizeof text - end, ", %zuKiB", size >> 10);
  return text;
}

hsa_status_t hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t pool, size_t size, uint32_t flags,
                                          void **ptr) {
  say("pool_allocate(%s)", in_words(pool, flags, size));
  return REAL(hsa_amd_memory_pool_allocate)(pool, size, flags, ptr);
}

hsa_status_t hsa_memory_allocate(hsa_region_t region, size_t size, void **ptr) {
  say("memory_allocate(region)");
  return REAL(hsa_memory_allocate)(region, size, ptr);
}

hsa_status_t hsa_amd_memory_lock(void *host, size_t size, hsa_agent_t *agents, int count,
                                 void **ptr) {
  say("memory_lock(%s)", count > 0 ? "GPU" : "all");
  return REAL(hsa_amd_memory_lock)(host, size, agents, count, ptr);
}

hsa_status_t hsa_amd_memory_lock_to_pool(void *host, size_t size, hsa_agent_t *agents, int count,
                                         hsa_amd_memory_pool_t pool, uint32_t flags, void **ptr) {
  say("lock_to_pool(%s)", in_words(pool, flags, size));
  return REAL(hsa_amd_memory_lock_to_pool)(host, size, agents, count, pool, flags, ptr);
}

static const char *attribute(const hsa_amd_svm_attribute_pair_t *pair) {
  static const char *const names[] = {"flag",        "read-only", "hive-local",
                                      "granularity", "preferred", "prefetch",
                                      "read-mostly", "gpu-exec"};
  static const char *const grains[] = {"fine", "coarse", "ext"};
  if (pair->attribute == 0) return pair->value < 3 ? grains[pair->value] : "grain?";
  if (pair->attribute < 8) return names[pair->attribute];
  return pair->attribute == 0x200   ? "access"
         : pair->attribute == 0x201 ? "in-place"
         : pair->attribute == 0x202 ? "no-access"
                                    : "query";
}

hsa_status_t hsa_amd_svm_attributes_set(void *ptr, size_t size, hsa_amd_svm_attribute_pair_t *list,
                                        size_t count) {
  char text[256] = "";
  for (size_t i = 0; i < count; i++) {
    if (i > 0) strncat(text, " ", sizeof text - strlen(text) - 1);
    strncat(text, attribute(&list[i]), sizeof text - strlen(text) - 1);
  }
  say("svm_attributes_set(%s)", text);
  return REAL(hsa_amd_svm_attributes_set)(ptr, size, list, count);
}

hsa_status_t hsa_amd_svm_prefetch_async(void *ptr, size_t size, hsa_agent_t agent, uint32_t count,
                                        const hsa_signal_t *signals, hsa_signal_t completion) {
  hsa_device_type_t type = HSA_DEVICE_TYPE_CPU;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  say("svm_prefetch_async(%s)", type == HSA_DEVICE_TYPE_GPU ? "GPU" : "CPU");
  return REAL(hsa_amd_svm_prefetch_async)(ptr, size, agent, count, signals, completion);
}

hsa_status_t hsa_amd_signal_create(hsa_signal_value_t value, uint32_t count,
                                   const hsa_agent_t *consumers, uint64_t attributes,
                                   hsa_signal_t *signal) {
  say("amd_signal_create(%#llx)", (unsigned long long)attributes);
  return REAL(hsa_amd_signal_create)(value, count, consumers, attributes, signal);
}

#if HSA_AMD_INTERFACE_VERSION_MINOR >= 4
hsa_status_t hsa_amd_vmem_handle_create(hsa_amd_memory_pool_t pool, size_t size,
                                        hsa_amd_memory_type_t type, uint64_t flags,
                                        hsa_amd_vmem_alloc_handle_t *handle) {
  say("vmem_handle_create(%s)", in_words(pool, flags, size));
  return REAL(hsa_amd_vmem_handle_create)(pool, size, type, flags, handle);
}

hsa_status_t hsa_amd_vmem_address_reserve(void **va, size_t size, uint64_t address,
                                          uint64_t flags) {
  say("vmem_address_reserve(%#llx)", (unsigned long long)flags);
  return REAL(hsa_amd_vmem_address_reserve)(va, size, address, flags);
}

hsa_status_t hsa_amd_vmem_map(void *va, size_t size, size_t offset,
                              hsa_amd_vmem_alloc_handle_t handle, uint64_t flags) {
  say("vmem_map");
  return REAL(hsa_amd_vmem_map)(va, size, offset, handle, flags);
}

hsa_status_t hsa_amd_vmem_set_access(void *va, size_t size,
                                     const hsa_amd_memory_access_desc_t *access, size_t count) {
  say("vmem_set_access");
  return REAL(hsa_amd_vmem_set_access)(va, size, access, count);
}
#endif

#if HSA_AMD_INTERFACE_VERSION_MINOR >= 7
hsa_status_t hsa_amd_vmem_address_reserve_align(void **va, size_t size, uint64_t address,
                                                uint64_t alignment, uint64_t flags) {
  say("vmem_address_reserve_align(%#llx)", (unsigned long long)flags);
  return REAL(hsa_amd_vmem_address_reserve_align)(va, size, address, alignment, flags);
}
#endif
