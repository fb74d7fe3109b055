/* The memory requests as functions, and what older kernel headers lack. For the clients that
 * give the simulated GPU wrong arguments. */
#ifndef SIM_IOCTLS_H
#define SIM_IOCTLS_H
#include "sim_kfd.h"

#ifndef AMDKFD_IOC_EXPORT_DMABUF /* since KFD 1.12 */
struct kfd_ioctl_export_dmabuf_args {
	uint64_t handle;
	uint32_t flags, dmabuf_fd;
};
#define AMDKFD_IOC_EXPORT_DMABUF AMDKFD_IOWR(0x24, struct kfd_ioctl_export_dmabuf_args)
#endif

#define VRAM KFD_IOC_ALLOC_MEM_FLAGS_VRAM
#define GTT KFD_IOC_ALLOC_MEM_FLAGS_GTT
#define USERPTR KFD_IOC_ALLOC_MEM_FLAGS_USERPTR
#define NOWHERE 0x9999 /* no GPU has this id */

/* `user` is the address for USERPTR; gives the handle through `handle`, which may be NULL. */
static inline int alloc_on(int fd, uint64_t va, uint64_t size, uint32_t flags, uint64_t user,
			   uint32_t id, uint64_t *handle)
{
	struct kfd_ioctl_alloc_memory_of_gpu_args args = {
		.va_addr = va, .size = size, .flags = flags, .mmap_offset = user, .gpu_id = id,
	};
	int result = ioctl(fd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &args);
	if (handle)
		*handle = args.handle;
	return result;
}

static inline int alloc(uint64_t va, uint64_t size, uint32_t flags, uint64_t user, uint32_t id,
			uint64_t *handle)
{
	return alloc_on(kfd, va, size, flags, user, id, handle);
}

static uint32_t n_success; /* of the last map or unmap */

static inline int map(uint64_t handle, const uint32_t *ids, uint32_t count, uint32_t done)
{
	struct kfd_ioctl_map_memory_to_gpu_args args = {
		.handle = handle, .device_ids_array_ptr = (uintptr_t)ids, .n_devices = count,
		.n_success = done,
	};
	int result = ioctl(kfd, AMDKFD_IOC_MAP_MEMORY_TO_GPU, &args);
	n_success = args.n_success;
	return result;
}

static inline int unmap(uint64_t handle, const uint32_t *ids, uint32_t count, uint32_t done)
{
	struct kfd_ioctl_unmap_memory_from_gpu_args args = {
		.handle = handle, .device_ids_array_ptr = (uintptr_t)ids, .n_devices = count,
		.n_success = done,
	};
	int result = ioctl(kfd, AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU, &args);
	n_success = args.n_success;
	return result;
}

static inline int release(uint64_t handle)
{
	struct kfd_ioctl_free_memory_of_gpu_args args = { .handle = handle };
	return ioctl(kfd, AMDKFD_IOC_FREE_MEMORY_OF_GPU, &args);
}

static inline uint64_t available(void)
{
	struct kfd_ioctl_get_available_memory_args args = { .gpu_id = gpu };
	EXPECT(ioctl(kfd, AMDKFD_IOC_AVAILABLE_MEMORY, &args), 0);
	return args.available;
}
#endif
