/* Wrong arguments of dma-buf requests, tile configuration, debugger and DRM requests: the errno
 * of Linux 6.12. */
#include "sim_ioctls.h"

static void dmabufs(void)
{
	const uint64_t va = 0x700000000000;
	uint64_t vram = 0, user = 0;
	EXPECT(alloc(va, 2 << 20, VRAM, 0, gpu, &vram), 0);
	EXPECT(alloc(va + (4 << 20), 4096, USERPTR, (uintptr_t)pages(4096), gpu, &user), 0);

	struct kfd_ioctl_export_dmabuf_args export = { .handle = vram + 99 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_EXPORT_DMABUF, &export), EINVAL);
	export.handle = 1; /* no GPU in it */
	EXPECT(ioctl(kfd, AMDKFD_IOC_EXPORT_DMABUF, &export), EINVAL);
	export.handle = user; /* amdgpu_gem_prime_export */
	EXPECT(ioctl(kfd, AMDKFD_IOC_EXPORT_DMABUF, &export), EPERM);
	export = (struct kfd_ioctl_export_dmabuf_args){ .handle = vram, .flags = O_CLOEXEC };
	EXPECT(ioctl(kfd, AMDKFD_IOC_EXPORT_DMABUF, &export), 0);
	int fd = export.dmabuf_fd;

	/* dma_buf_get: EBADF for no descriptor, EINVAL for another file. */
	struct kfd_ioctl_get_dmabuf_info_args info = { .dmabuf_fd = ~0u };
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_DMABUF_INFO, &info), EBADF);
	info.dmabuf_fd = kfd;
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_DMABUF_INFO, &info), EINVAL);
	info.dmabuf_fd = fd;
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_DMABUF_INFO, &info), 0);
	CHECK(info.size == 2 << 20 && info.gpu_id == gpu && info.flags == VRAM);
	CHECK(info.metadata_size == 0);

	struct kfd_ioctl_import_dmabuf_args import = { .gpu_id = NOWHERE, .dmabuf_fd = fd };
	EXPECT(ioctl(kfd, AMDKFD_IOC_IMPORT_DMABUF, &import), EINVAL);
	import = (struct kfd_ioctl_import_dmabuf_args){ .gpu_id = gpu, .dmabuf_fd = ~0u };
	EXPECT(ioctl(kfd, AMDKFD_IOC_IMPORT_DMABUF, &import), EBADF);
	import.dmabuf_fd = kfd;
	EXPECT(ioctl(kfd, AMDKFD_IOC_IMPORT_DMABUF, &import), EINVAL);
	import = (struct kfd_ioctl_import_dmabuf_args){
		.va_addr = va, .gpu_id = gpu, .dmabuf_fd = fd,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_IMPORT_DMABUF, &import), 0);
	CHECK(import.handle != vram);
	/* Both stand for the same memory, and only one has the address. */
	EXPECT(map(vram, &gpu, 1, 0), 0);
	EXPECT(map(import.handle, &gpu, 1, 0), EINVAL);
	EXPECT(unmap(vram, &gpu, 1, 0), 0);
	EXPECT(release(vram), 0);
	CHECK(available() == (16ull << 30) - (2 << 20)); /* the import and the descriptor keep it */
	EXPECT(release(import.handle), 0);
	CHECK(available() == (16ull << 30) - (2 << 20));
	CHECK(lseek(fd, 0, SEEK_END) == 2 << 20);
	close(fd);
	CHECK(available() == 16ull << 30);
	EXPECT(release(user), 0);
}

/* kfd_ioctl_get_tile_config: as many zeros as there is room for. */
static void tiles(void)
{
	uint32_t modes[40], macros[40];
	memset(modes, 0xee, sizeof modes);
	memset(macros, 0xee, sizeof macros);
	struct kfd_ioctl_get_tile_config_args args = {
		.tile_config_ptr = (uintptr_t)modes, .macro_tile_config_ptr = (uintptr_t)macros,
		.num_tile_configs = 40, .num_macro_tile_configs = 3, .gpu_id = gpu,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_TILE_CONFIG, &args), 0);
	CHECK(args.num_tile_configs == 32 && args.num_macro_tile_configs == 3);
	CHECK(modes[0] == 0 && modes[31] == 0 && modes[32] == 0xeeeeeeee);
	CHECK(macros[2] == 0 && macros[3] == 0xeeeeeeee);
	args.macro_tile_config_ptr = 8;
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_TILE_CONFIG, &args), EFAULT);
	CHECK(args.num_macro_tile_configs == 0);
	args = (struct kfd_ioctl_get_tile_config_args){ .gpu_id = gpu };
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_TILE_CONFIG, &args), 0); /* no room, no pointers */
}

static void others(void)
{
	struct { uint32_t pid, op; uint64_t rest[3]; } trap = { .pid = 1, .op = 1 };
	const unsigned long DBG_TRAP = _IOWR('K', 0x26, typeof(trap));
	EXPECT(ioctl(kfd, DBG_TRAP, &trap), ESRCH); /* does not use KFD */
	trap.pid = getpid();
	EXPECT(ioctl(kfd, DBG_TRAP, &trap), EINVAL); /* is not debugged */
	struct kfd_ioctl_set_scratch_backing_va_args scratch = { .gpu_id = NOWHERE };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_SCRATCH_BACKING_VA, &scratch), EINVAL);
	scratch.gpu_id = gpu;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_SCRATCH_BACKING_VA, &scratch), 0);
	struct kfd_ioctl_set_trap_handler_args handler = { .gpu_id = NOWHERE };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_TRAP_HANDLER, &handler), EINVAL);
	struct kfd_ioctl_set_memory_policy_args policy = { .gpu_id = NOWHERE };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_MEMORY_POLICY, &policy), EINVAL);
	policy = (struct kfd_ioctl_set_memory_policy_args){ .gpu_id = gpu, .alternate_policy = 2 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_MEMORY_POLICY, &policy), EINVAL);
	policy.alternate_policy = KFD_IOC_CACHE_POLICY_NONCOHERENT;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_MEMORY_POLICY, &policy), 0);
	/* kfd_mmap: a kind of memory that only APUs have, and one for which there is no GPU. */
	CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, kfd, 1ull << 62) == MAP_FAILED);
	CHECK(errno == ENODEV);
	CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, kfd,
		   1ull << 62 | (uint64_t)gpu << 46) == MAP_FAILED);
	CHECK(errno == EINVAL);
}

int main(void)
{
	open_gpu();
	dmabufs();
	tiles();
	others();
	return finish();
}
