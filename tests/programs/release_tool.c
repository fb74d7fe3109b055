/* A tool of ROCr: says how large the tables are that OnLoad gets. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* ApiTableVersion and HsaApiTable (hsa_api_trace.h) */
struct version {
  uint32_t major, minor, step, reserved;
};
struct table {
  struct version version;
  struct version *core, *amd_ext;
};

const uint32_t HSA_AMD_TOOL_PRIORITY = 50;

bool OnLoad(struct table *table, uint64_t runtime, uint64_t failed, const char *const *names);
bool OnLoad(struct table *table, uint64_t runtime, uint64_t failed, const char *const *names) {
  (void)runtime, (void)failed, (void)names;
  fprintf(stderr, "OnLoad: root %u, amd_ext %u of %u bytes\n", table->version.major,
          table->amd_ext->major, table->amd_ext->minor);
  return true;
}
