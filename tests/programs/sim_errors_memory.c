/* Wrong arguments of ALLOC, MAP, UNMAP, FREE and AVAILABLE_MEMORY, on two GPUs: the errno and
 * the state that amdkfd of Linux 6.12 leaves. Comments name the kernel's function. */
#include "sim_ioctls.h"

static const uint64_t va = 0x700000000000;

/* kfd_ioctl_alloc_memory_of_gpu and amdgpu_amdkfd_gpuvm_alloc_memory_of_gpu. */
static void allocation(void)
{
	const uint32_t mmio = KFD_IOC_ALLOC_MEM_FLAGS_MMIO_REMAP;
	const uint32_t doorbell = KFD_IOC_ALLOC_MEM_FLAGS_DOORBELL;
	const uint32_t twice = KFD_IOC_ALLOC_MEM_FLAGS_AQL_QUEUE_MEM;
	uint64_t handle = 0;

	EXPECT(alloc(va, 0, VRAM, 0, gpu, NULL), EINVAL);
	EXPECT(alloc(va, 4096, VRAM, 0, NOWHERE, NULL), EINVAL);
	EXPECT(alloc(va, 4096, VRAM, 0, 0, NULL), EINVAL);
	EXPECT(alloc(va, 4096, 0, 0, gpu, NULL), EINVAL); /* of no kind */
	EXPECT(alloc(va, 4096, KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE, 0, gpu, NULL), EINVAL);
	EXPECT(alloc(va, 4096, mmio, 0, gpu, &handle), 0);
	EXPECT(release(handle), 0);
	EXPECT(alloc(va, 8192, mmio, 0, gpu, NULL), EINVAL); /* one page */
	EXPECT(alloc(va, 4096, doorbell, 0, gpu, NULL), EINVAL); /* two pages */
	EXPECT(alloc(va, 4096, doorbell | VRAM, 0, gpu, NULL), EINVAL);
	EXPECT(alloc(va, 4096, VRAM | KFD_IOC_ALLOC_MEM_FLAGS_PUBLIC, 0, gpu, NULL), EINVAL);
	EXPECT(alloc(va, 4096, GTT | KFD_IOC_ALLOC_MEM_FLAGS_PUBLIC, 0, gpu, &handle), 0);
	EXPECT(release(handle), 0);
	/* amdgpu_amdkfd_reserve_mem_limit */
	EXPECT(alloc(va, 1ull << 40, VRAM, 0, gpu, NULL), ENOMEM);
	EXPECT(alloc(va, 1ull << 40, GTT, 0, gpu, NULL), ENOMEM);
	EXPECT(alloc(va, ~0ull, VRAM, 0, gpu, NULL), ENOMEM);
	EXPECT(alloc(va, ~0ull, GTT, 0, gpu, NULL), ENOMEM);
	/* Half of it: "reject AQL queue with size < 2". */
	EXPECT(alloc(va, 1, VRAM | twice, 0, gpu, NULL), EINVAL);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, NULL), EFAULT);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, (void *)8), EFAULT);
}

/* init_user_pages: get_user_pages by hmm_range_fault, which faults pages in for writing. */
static void user_memory(void)
{
	char *user = pages(4 * 4096);
	uint64_t handle = 0;

	CHECK(mprotect(user + 2 * 4096, 4096, PROT_READ) == 0);
	CHECK(mprotect(user + 3 * 4096, 4096, PROT_NONE) == 0);
	EXPECT(alloc(va, 4096, USERPTR, 0, gpu, NULL), EINVAL);
	EXPECT(alloc(va, 4096, USERPTR, 0x1000, gpu, NULL), EFAULT); /* nothing there */
	EXPECT(alloc(va, 4096, USERPTR, ~0xfffull, gpu, NULL), EFAULT);
	EXPECT(alloc(va, 4096, USERPTR, 1ull << 63, gpu, NULL), EFAULT);
	EXPECT(alloc(va, 1ull << 46, USERPTR, (uintptr_t)user, gpu, NULL), ENOMEM);
	EXPECT(alloc(va, 4096, USERPTR, (uintptr_t)user + 3 * 4096, gpu, NULL), EFAULT);
	EXPECT(alloc(va, 4096, USERPTR, (uintptr_t)user + 2 * 4096, gpu, NULL), EPERM);
	EXPECT(alloc(va, 3 * 4096, USERPTR, (uintptr_t)user, gpu, NULL), EPERM);
	EXPECT(alloc(va, 2 * 4096, USERPTR, (uintptr_t)user, gpu, &handle), 0);
	EXPECT(release(handle), 0);
	/* The kernel does not ask for whole pages. */
	EXPECT(alloc(va, 100, USERPTR, (uintptr_t)user + 8, gpu, &handle), 0);
	EXPECT(release(handle), 0);
	/* Memory of a device cannot be pinned (hmm_vma_walk_test). */
	struct kfd_ioctl_alloc_memory_of_gpu_args args = {
		.va_addr = va, .size = 2 << 20, .flags = GTT, .gpu_id = gpu,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &args), 0);
	int drm = open("/dev/dri/renderD128", O_RDWR);
	char *device = mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_SHARED, drm,
			    args.mmap_offset);
	CHECK(device != MAP_FAILED);
	EXPECT(alloc(va, 4096, USERPTR, (uintptr_t)device, gpu, NULL), EFAULT);
	CHECK(munmap(device, args.size) == 0);
	close(drm);
	EXPECT(release(args.handle), 0);
}

/* amdgpu_vm_verify_parameters and kfd_mem_attach: addresses are looked at when they are mapped. */
static void addresses(void)
{
	static const struct {
		uint64_t va, size;
		int wanted;
	} table[] = {
		{ 0, 4096, EINVAL },                       /* kfd_mem_attach: no address */
		{ 0x700000000800, 4096, EINVAL },          /* not a page */
		{ (1ull << 48) - 4096, 8192, EINVAL },     /* beyond max_pfn */
		{ 1ull << 48, 4096, EINVAL },
		{ ~0xfffull, 8192, EINVAL },               /* wraps */
		{ (1ull << 48) - 4096, 4096, 0 },
		{ 4096, 100, 0 },
	};
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		uint64_t handle = 0;
		EXPECT(alloc(table[i].va, table[i].size, VRAM, 0, gpu, &handle), 0);
		EXPECT(map(handle, &gpu, 1, 0), table[i].wanted);
		CHECK(n_success == (table[i].wanted == 0));
		EXPECT(unmap(handle, &gpu, 1, 0), table[i].wanted);
		EXPECT(release(handle), 0);
	}
}

static void mapping(uint32_t other_gpu)
{
	const uint32_t both[2] = { gpu, other_gpu }, wrong[2] = { gpu, NOWHERE };
	uint64_t handle = 0, over = 0, ring = 0;

	EXPECT(alloc(va, 8192, GTT, 0, gpu, &handle), 0);
	EXPECT(map(handle, both, 0, 0), EINVAL);
	EXPECT(map(handle, both, 1, 2), EINVAL);
	EXPECT(map(handle, NULL, 1, 0), EFAULT);
	EXPECT(map(handle, (uint32_t *)~7ull, 2, 0), EFAULT);
	EXPECT(map(handle, both, ~0u, 0), ENOMEM);
	EXPECT(map(handle + 99, both, 1, 0), ENOMEM);
	EXPECT(map(0, both, 1, 0), EINVAL); /* no GPU in the handle */
	/* The first is mapped and stays so; a second call goes on where it failed. */
	EXPECT(map(handle, wrong, 2, 0), EINVAL);
	CHECK(n_success == 1);
	EXPECT(map(handle, both, 2, 1), 0);
	CHECK(n_success == 2);
	EXPECT(map(handle, both, 2, 0), 0); /* again is fine */
	EXPECT(map(handle, both, 2, 2), 0); /* nothing to do */
	/* The address is taken: amdgpu_vm_bo_map. */
	EXPECT(alloc(va + 4096, 4096, VRAM, 0, gpu, &over), 0);
	EXPECT(map(over, both, 1, 0), EINVAL);
	CHECK(n_success == 0);
	/* Without a large BAR a peer does not reach VRAM: kfd_mem_attach. */
	EXPECT(release(over), 0);
	EXPECT(alloc(va + 8192, 4096, VRAM, 0, gpu, &over), 0);
	EXPECT(map(over, both, 2, 0), EINVAL);
	CHECK(n_success == 1);
	EXPECT(unmap(over, both, 1, 0), 0);
	EXPECT(release(over), 0);

	EXPECT(release(handle), EBUSY);
	EXPECT(unmap(handle, both, 0, 0), EINVAL);
	EXPECT(unmap(handle, both, 1, 2), EINVAL);
	EXPECT(unmap(handle, NULL, 1, 0), EFAULT);
	EXPECT(unmap(handle, both, ~0u, 0), ENOMEM);
	EXPECT(unmap(handle + 99, both, 1, 0), ENOMEM);
	EXPECT(unmap(handle, wrong, 2, 0), EINVAL);
	CHECK(n_success == 1);
	EXPECT(release(handle), EBUSY); /* still on the other GPU */
	/* What is not mapped there cannot be unmapped. */
	EXPECT(unmap(handle, both, 2, 0), EINVAL);
	CHECK(n_success == 0);
	EXPECT(unmap(handle, both, 2, 1), 0);
	EXPECT(release(handle), 0);
	EXPECT(release(handle), EINVAL);
	EXPECT(map(handle, both, 1, 0), ENOMEM);
	EXPECT(unmap(handle, both, 1, 0), ENOMEM);
	EXPECT(release(~0ull), EINVAL);
	EXPECT(release(0), EINVAL);

	/* The ring of an AQL queue is there twice, in a row. */
	EXPECT(alloc(va, 8192, GTT | KFD_IOC_ALLOC_MEM_FLAGS_AQL_QUEUE_MEM, 0, gpu, &ring), 0);
	EXPECT(alloc(va + 4096, 4096, GTT, 0, gpu, &over), 0);
	EXPECT(map(over, both, 1, 0), 0);
	EXPECT(map(ring, both, 1, 0), EINVAL); /* the second time is in the way, nothing is left */
	EXPECT(unmap(over, both, 1, 0), 0);
	EXPECT(map(ring, both, 1, 0), 0);
	EXPECT(map(over, both, 1, 0), EINVAL);
	EXPECT(unmap(ring, both, 1, 0), 0);
	EXPECT(release(ring), 0);
	EXPECT(release(over), 0);
}

/* amdgpu_amdkfd_get_available_memory counts every buffer as whole 2 MiB. */
static void counting(void)
{
	struct kfd_ioctl_get_available_memory_args args = { .gpu_id = NOWHERE };
	uint64_t small = 0, large = 0;
	EXPECT(ioctl(kfd, AMDKFD_IOC_AVAILABLE_MEMORY, &args), EINVAL);
	EXPECT(ioctl(kfd, AMDKFD_IOC_AVAILABLE_MEMORY, NULL), EFAULT);
	uint64_t all = available();
	CHECK(all == 16ull << 30);
	EXPECT(alloc(va, 4096, VRAM, 0, gpu, &small), 0);
	CHECK(available() == all - (2 << 20));
	EXPECT(alloc(va + (4 << 20), (2 << 20) + 1, VRAM, 0, gpu, &large), 0);
	CHECK(available() == all - (6 << 20));
	EXPECT(release(small), 0);
	EXPECT(release(large), 0);
	CHECK(available() == all);
}

/* kfd_ioctl_acquire_vm; before it, kfd_bind_process_to_device says ENODEV. */
static void before_acquire(uint32_t id, uint32_t other)
{
	uint64_t handle = 0;
	struct kfd_ioctl_acquire_vm_args vm = { .drm_fd = -1, .gpu_id = id };
	EXPECT(alloc(va, 4096, VRAM, 0, id, NULL), ENODEV);
	/* The BAR is looked at first. */
	EXPECT(alloc(va, 4096, VRAM | KFD_IOC_ALLOC_MEM_FLAGS_PUBLIC, 0, id, NULL), EINVAL);
	EXPECT(map((uint64_t)id << 32 | 1, &id, 1, 0), ENODEV);
	EXPECT(unmap((uint64_t)id << 32 | 1, &id, 1, 0), ENOMEM);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), EINVAL);
	vm.drm_fd = kfd;
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), EINVAL);
	int drm = open("/dev/dri/renderD128", O_RDWR), again = open("/dev/dri/renderD128", O_RDWR);
	vm = (struct kfd_ioctl_acquire_vm_args){ .drm_fd = drm, .gpu_id = NOWHERE };
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), EINVAL);
	vm.gpu_id = id;
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), 0);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), 0); /* the same file */
	vm.drm_fd = dup(drm);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), 0); /* still the same file */
	vm.drm_fd = again;
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), EBUSY);
	/* A GPU that was not acquired: the first is mapped, the second is not. */
	const uint32_t both[2] = { id, other };
	EXPECT(alloc(va, 4096, GTT, 0, id, &handle), 0);
	EXPECT(map(handle, both, 2, 0), ENODEV);
	CHECK(n_success == 1);
	EXPECT(unmap(handle, both, 1, 0), 0);
	EXPECT(release(handle), 0);
	vm = (struct kfd_ioctl_acquire_vm_args){ .gpu_id = other };
	vm.drm_fd = open("/dev/dri/renderD129", O_RDWR);
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), 0);
}

int main(void)
{
	kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
	struct kfd_process_device_apertures apertures[2];
	struct kfd_ioctl_get_process_apertures_new_args args = {
		.kfd_process_device_apertures_ptr = (uintptr_t)apertures, .num_of_nodes = 2,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &args), 0);
	gpu = apertures[0].gpu_id;
	before_acquire(gpu, apertures[1].gpu_id);
	allocation();
	user_memory();
	addresses();
	mapping(apertures[1].gpu_id);
	counting();
	return finish();
}
