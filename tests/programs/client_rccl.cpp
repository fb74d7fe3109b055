// Uses RCCL: makes a communicator of all GPUs, sends nothing over it (RCCL's kernels do not run
// on the simulated GPU), and allocates pinned memory of its own beside it.

#include <cstdio>
#include <cstring>
#include <vector>

#include <hip/hip_runtime_api.h>
#include <rccl/rccl.h>

#include "mark.h"

static const size_t SIZE = 16 << 20;

int main()
{
    setvbuf(stdout, nullptr, _IONBF, 0);
    int gpus = 0;
    if (hipGetDeviceCount(&gpus) != hipSuccess || gpus == 0)
        return 1;
    int version = 0;
    ncclGetVersion(&version);
    printf("RCCL %d, %d GPUs\n", version, gpus);
    std::vector<ncclComm_t> communicators(gpus);
    mark("> communicator");
    ncclResult_t made = ncclCommInitAll(communicators.data(), gpus, nullptr);
    mark("< communicator = 0");
    printf("ncclCommInitAll: %s\n", ncclGetErrorString(made));
    if (made != ncclSuccess)
        return 1;
    int ranks = 0;
    ncclCommCount(communicators[0], &ranks);
    printf("%d ranks\n", ranks);

    void *pinned = nullptr, *device = nullptr;
    mark("> pinned");
    hipError_t status = hipHostMalloc(&pinned, 2 * SIZE, hipHostMallocDefault);
    mark("< pinned = 0");
    if (status != hipSuccess || hipMalloc(&device, SIZE) != hipSuccess)
        return 1;
    char *to = static_cast<char *>(pinned) + SIZE;
    for (size_t i = 0; i < SIZE; i++)
        static_cast<char *>(pinned)[i] = static_cast<char>(i * 7);
    memset(to, 0, SIZE);
    bool right = hipMemcpy(device, pinned, SIZE, hipMemcpyHostToDevice) == hipSuccess &&
                 hipMemcpy(to, device, SIZE, hipMemcpyDeviceToHost) == hipSuccess &&
                 memcmp(to, pinned, SIZE) == 0;
    printf("round trip of %zu bytes: %s\n", SIZE, right ? "right" : "WRONG");
    for (ncclComm_t communicator : communicators)
        ncclCommDestroy(communicator);
    return right ? 0 : 1;
}
