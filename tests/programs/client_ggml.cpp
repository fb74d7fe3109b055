// Uses the HIP backend of llama.cpp's ggml as llama.cpp does: loads it, takes a buffer of each
// GPU's memory and a pinned buffer of the host, and copies 16 MiB to the GPU and back.
//
// Argument: the directory of the backends. ggml opens libggml-hip.so there by itself, RTLD_LOCAL.

#include <cstdint>
#include <cstdio>
#include <cstring>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include "mark.h"

static const size_t SIZE = 16 << 20;

static void fill(uint32_t *words, uint32_t seed)
{
    for (size_t i = 0; i < SIZE / sizeof *words; i++)
        words[i] = static_cast<uint32_t>(i) * 2654435761U + seed;
}

// A buffer of a type; the marks say what was asked of the kernel for it.
static ggml_backend_buffer_t allocate(const char *what, ggml_backend_buffer_type_t type, size_t size)
{
    char text[64];
    snprintf(text, sizeof text, "> %s", what);
    mark(text);
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type, size);
    snprintf(text, sizeof text, "< %s = %d", what, buffer ? 0 : 1);
    mark(text);
    printf("%s: %s, %zu bytes\n", what, ggml_backend_buft_name(type),
           buffer ? ggml_backend_buffer_get_size(buffer) : 0);
    return buffer;
}

// Copies 16 MiB from one half of the pinned buffer to the GPU and back into the other half.
static bool round_trip(ggml_backend_dev_t device, uint32_t seed)
{
    ggml_backend_buffer_t memory = allocate("device", ggml_backend_dev_buffer_type(device), SIZE);
    ggml_backend_buffer_t pinned =
        allocate("pinned", ggml_backend_dev_host_buffer_type(device), 2 * SIZE);
    if (!memory || !pinned)
        return false;
    ggml_init_params params = {};
    params.mem_size = 2 * ggml_tensor_overhead();
    params.no_alloc = true;
    ggml_context *context = ggml_init(params);
    ggml_tensor *tensor = ggml_new_tensor_1d(context, GGML_TYPE_I32, SIZE / sizeof(int32_t));
    bool same = ggml_backend_tensor_alloc(memory, tensor, ggml_backend_buffer_get_base(memory)) ==
                GGML_STATUS_SUCCESS;
    auto *from = static_cast<uint32_t *>(ggml_backend_buffer_get_base(pinned));
    uint32_t *to = from + SIZE / sizeof *from;
    fill(from, seed);
    memset(to, 0, SIZE);
    ggml_backend_tensor_set(tensor, from, 0, SIZE);
    ggml_backend_tensor_get(tensor, to, 0, SIZE);
    same = same && memcmp(from, to, SIZE) == 0;
    printf("round trip of %zu bytes: %s\n", SIZE, same ? "right" : "WRONG");
    // Through the queue of a backend, as inference does it.
    ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);
    fill(from, ~seed);
    ggml_backend_tensor_set_async(backend, tensor, from, 0, SIZE);
    ggml_backend_tensor_get_async(backend, tensor, to, 0, SIZE);
    ggml_backend_synchronize(backend);
    same = same && memcmp(from, to, SIZE) == 0;
    printf("round trip of %zu bytes through a queue: %s\n", SIZE, same ? "right" : "WRONG");
    ggml_backend_free(backend);
    ggml_backend_buffer_free(pinned);
    ggml_backend_buffer_free(memory);
    ggml_free(context);
    return same;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, nullptr, _IONBF, 0);
    if (argc != 2)
        return 2;
    ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    char path[4096];
    snprintf(path, sizeof path, "%s/libggml-hip.so", argv[1]);
    if (!ggml_backend_load(path)) {
        const char *why = dlopen(path, RTLD_NOW | RTLD_LOCAL) ? nullptr : dlerror();
        printf("%s cannot be loaded: %s\n", path, why ? why : "ggml does not want it");
        return 1;
    }
    uint32_t gpus = 0;
    bool right = true;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU)
            continue;
        size_t free = 0, total = 0;
        ggml_backend_dev_memory(device, &free, &total);
        printf("%s: %s, %zu MiB\n", ggml_backend_dev_name(device),
               ggml_backend_dev_description(device), total >> 20);
        right = round_trip(device, ++gpus) && right;
    }
    return gpus > 0 && right ? 0 : 1;
}
