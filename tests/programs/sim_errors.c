/* Wrong arguments of queues and of the small requests: every one gets the errno that amdkfd of
 * Linux 6.12 gives. Memory, SVM ranges and events: sim_errors_*.c. */
#include "sim_kfd.h"

static void before_acquire(void)
{
	int early = open("/dev/kfd", O_RDWR | O_CLOEXEC);
	struct kfd_process_device_apertures apertures[2];
	struct kfd_ioctl_get_process_apertures_new_args args = {
		.kfd_process_device_apertures_ptr = (uintptr_t)apertures, .num_of_nodes = 1,
	};
	EXPECT(ioctl(early, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &args), 0);
	struct kfd_ioctl_alloc_memory_of_gpu_args memory = {
		.va_addr = 0x700000000000, .size = 4096, .flags = KFD_IOC_ALLOC_MEM_FLAGS_VRAM,
		.gpu_id = apertures[0].gpu_id,
	};
	EXPECT(ioctl(early, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &memory), ENODEV);
	struct kfd_ioctl_acquire_vm_args vm = { .drm_fd = -1, .gpu_id = apertures[0].gpu_id };
	EXPECT(ioctl(early, AMDKFD_IOC_ACQUIRE_VM, &vm), EINVAL);
	vm.drm_fd = early;
	EXPECT(ioctl(early, AMDKFD_IOC_ACQUIRE_VM, &vm), EINVAL);
	close(early);
}

static void queues(void)
{
	char *ring = pages(64 * 1024), *pointers = pages(4096);
	struct kfd_ioctl_create_queue_args good = {
		.ring_base_address = (uintptr_t)ring,
		.write_pointer_address = (uintptr_t)pointers,
		.read_pointer_address = (uintptr_t)pointers + 64,
		.ring_size = 4096,
		.gpu_id = gpu,
		.queue_type = KFD_IOC_QUEUE_TYPE_COMPUTE_AQL,
		.queue_percentage = 100,
		.queue_priority = 7,
	};
#define QUEUE(field, value, wanted)                                            \
	do {                                                                   \
		struct kfd_ioctl_create_queue_args args = good;                \
		args.field = (value);                                          \
		EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_QUEUE, &args), wanted);    \
	} while (0)
	QUEUE(ring_size, 4097, EINVAL);
	QUEUE(ring_size, 3 * 4096, EINVAL);
	QUEUE(queue_percentage, 101, EINVAL);
	QUEUE(queue_priority, 16, EINVAL);
	QUEUE(queue_type, 77, 524 /* ENOTSUPP */);
	QUEUE(gpu_id, 0x9999, EINVAL);
	QUEUE(ring_base_address, ~0ull, EFAULT);
	QUEUE(write_pointer_address, ~0ull, EFAULT);
	QUEUE(read_pointer_address, 1ull << 63, EFAULT);
	QUEUE(ring_base_address, 0x1000, EINVAL);
	QUEUE(write_pointer_address, 0, EINVAL);
	QUEUE(read_pointer_address, (uintptr_t)pointers + 1, EINVAL);
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_QUEUE, NULL), EFAULT);

	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_QUEUE, &good), 0);
	struct kfd_ioctl_update_queue_args update = { .queue_id = 99, .queue_percentage = 100 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_UPDATE_QUEUE, &update), EFAULT);
	update = (struct kfd_ioctl_update_queue_args){ .ring_size = 5, .queue_id = good.queue_id };
	EXPECT(ioctl(kfd, AMDKFD_IOC_UPDATE_QUEUE, &update), EINVAL);
	struct kfd_ioctl_set_xnack_mode_args xnack = { .xnack_enabled = 1 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_XNACK_MODE, &xnack), EBUSY);
	struct kfd_ioctl_set_cu_mask_args mask = { .queue_id = good.queue_id, .num_cu_mask = 31 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_CU_MASK, &mask), EINVAL);
	mask.num_cu_mask = 32;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_CU_MASK, &mask), EFAULT);
	struct kfd_ioctl_destroy_queue_args destroy = { .queue_id = good.queue_id };
	EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_QUEUE, &destroy), 0);
	EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_QUEUE, &destroy), EINVAL);
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_XNACK_MODE, &xnack), EPERM);
	xnack.xnack_enabled = -1;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_XNACK_MODE, &xnack), 0);
	CHECK(xnack.xnack_enabled == 0);
}

static void others(void)
{
	EXPECT(ioctl(kfd, AMDKFD_IO(0x00)), ENOTTY);
	EXPECT(ioctl(kfd, AMDKFD_IO(0x82)), ENOTTY);
	EXPECT(ioctl(kfd, _IO('x', 1)), ENOTTY);
	struct kfd_ioctl_dbg_register_args debug = { .gpu_id = gpu };
	EXPECT(ioctl(kfd, AMDKFD_IOC_DBG_REGISTER_DEPRECATED, &debug), EPERM);
	struct kfd_ioctl_set_memory_policy_args policy = { .gpu_id = gpu, .default_policy = 2 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_MEMORY_POLICY, &policy), EINVAL);
	struct kfd_ioctl_get_tile_config_args tiles = { .gpu_id = 0x9999 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_TILE_CONFIG, &tiles), EINVAL);
	struct kfd_ioctl_get_process_apertures_new_args apertures = { .num_of_nodes = 1 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &apertures), EFAULT);
	apertures.num_of_nodes = 50;
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &apertures), EINVAL);
	apertures.num_of_nodes = 0;
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &apertures), 0);
	CHECK(apertures.num_of_nodes == 1);
	struct kfd_ioctl_smi_events_args smi = { .gpuid = 0x9999 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SMI_EVENTS, &smi), EINVAL);

	/* A shorter structure than the kernel's is filled up with zeros. */
	uint32_t major = 0;
	EXPECT(ioctl(kfd, _IOR('K', 0x01, uint32_t), &major), 0);
	CHECK(major == 1);
	/* A longer one is fine, too. */
	struct { struct kfd_ioctl_get_version_args version; uint64_t more[40]; } large = { 0 };
	EXPECT(ioctl(kfd, _IOC(_IOC_READ, 'K', 0x01, sizeof large), &large), 0);
	CHECK(large.version.major_version == 1);

	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, kfd, 3ull << 62) == MAP_FAILED);
	CHECK(errno == ENODEV);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, kfd,
		   (3ull << 62) | ((uint64_t)gpu << 46)) == MAP_FAILED);
	CHECK(errno == EINVAL);
	int drm = open("/dev/dri/renderD128", O_RDWR);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, drm, 1ull << 40) == MAP_FAILED);
	CHECK(errno == EINVAL);
	EXPECT(ioctl(drm, _IOWR('d', 0x45, uint64_t[4]), NULL), EFAULT);
	EXPECT(ioctl(drm, _IOWR('d', 0x77, uint64_t[4]), NULL), EINVAL);
	EXPECT(open("/dev/dri/renderD129", O_RDWR), ENOENT);
	EXPECT(open("/dev/kfd", O_RDWR | O_DIRECTORY), ENOTDIR);
	EXPECT(open("/dev/kfd", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	close(drm);
	EXPECT(ioctl(drm, _IOWR('d', 0x45, uint64_t[4]), NULL), EBADF);
}

int main(void)
{
	before_acquire();
	open_gpu();
	queues();
	others();
	return finish();
}
