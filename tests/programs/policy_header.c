// Answers questions to the C form of the policy: reads requests as 13 numbers of 32 bits each,
// writes the GPU that was understood and then the decision for each caller and level. With an
// argument: prints the level of this process.
#include "../../patches/policy/rdnafix_policy.h"

#include <stdio.h>

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) {
    const int first = (int)rdnafix_level_of_process();
    setenv("RDNAFIX_POLICY", "full", 1);
    printf("%d %d\n", first, (int)rdnafix_level_of_process());
    return 0;
  }
  uint32_t in[13], out[1 + 3 * 4 * 3];
  while (fread(in, sizeof in, 1, stdin) == 1) {
    struct rdnafix_request request;
    request.kind = (enum rdnafix_request_kind)in[0];
    request.flags = in[1];
    request.hip_known = in[2] != 0;
    request.hip_major = (uint16_t)in[3];
    request.hip_minor = (uint16_t)in[4];
    request.below = (enum rdnafix_below)in[5];
    request.owner = (enum rdnafix_owner)in[6];
    request.pool = in[7];
    request.coarse_sibling = in[8] != 0;
    request.gives_access = in[9] != 0;
    request.names_grain = in[10] != 0;
    request.chosen_before = in[11] != 0;
    const struct rdnafix_gpu gpu = rdnafix_gpu_from_kfd(in[12]);
    uint32_t* at = out;
    *at++ = (uint32_t)gpu.known << 24 | (uint32_t)gpu.target.major << 16 |
        (uint32_t)gpu.target.minor << 8 | gpu.target.stepping;
    for (int caller = 0; caller < 3; caller++) {
      for (int level = 0; level < 4; level++) {
        const struct rdnafix_decision decision = rdnafix_decide(
            &request, gpu, (enum rdnafix_caller)caller, (enum rdnafix_level)level);
        *at++ = (uint32_t)decision.action;
        *at++ = decision.flags;
        *at++ = (uint32_t)decision.reason;
      }
    }
    if (fwrite(out, sizeof out, 1, stdout) != 1) return 1;
  }
  return 0;
}
