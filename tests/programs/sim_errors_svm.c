/* Wrong arguments of the SVM request and its neighbours: the errno of amdkfd of Linux 6.12. */
#include "sim_ioctls.h"

enum { MOST = 8 };

static int svm(uint64_t start, uint64_t size, uint32_t op, uint32_t count,
	       const struct kfd_ioctl_svm_attribute *attributes, uint32_t *first)
{
	struct {
		struct kfd_ioctl_svm_args args;
		struct kfd_ioctl_svm_attribute attributes[MOST];
	} call = { .args = { .start_addr = start, .size = size, .op = op, .nattr = count } };
	if (attributes)
		memcpy(call.attributes, attributes, count * sizeof *attributes);
	int result = ioctl(kfd, AMDKFD_IOC_SVM + (count * sizeof *attributes << _IOC_SIZESHIFT),
			   &call);
	if (first)
		*first = call.attributes[0].value;
	return result;
}

static int set(void *start, uint64_t size, uint32_t type, uint32_t value)
{
	struct kfd_ioctl_svm_attribute attribute = { type, value };
	return svm((uintptr_t)start, size, KFD_IOCTL_SVM_OP_SET_ATTR, 1, &attribute, NULL);
}

static int get(void *start, uint64_t size, uint32_t type, uint32_t value)
{
	struct kfd_ioctl_svm_attribute attribute = { type, value };
	return svm((uintptr_t)start, size, KFD_IOCTL_SVM_OP_GET_ATTR, 1, &attribute, NULL);
}

#define ACCESS KFD_IOCTL_SVM_ATTR_ACCESS
#define FLAGS KFD_IOCTL_SVM_ATTR_SET_FLAGS

/* svm_range_set_attr wants kgd_process_info, svm_range_get_attr does not. */
static void before_acquire(uint32_t id)
{
	char *user = pages(4096);
	EXPECT(set(user, 4096, ACCESS, NOWHERE), EINVAL);
	EXPECT(set(user, 4096, ACCESS, id), EINVAL);
	EXPECT(get(user, 4096, FLAGS, 0), 0);
}

/* kfd_ioctl_svm_validate, kfd_ioctl_svm, svm_ioctl and svm_range_check_attr. */
static void arguments(void)
{
	char *user = pages(4 * 4096);
	struct kfd_ioctl_svm_args bare = {
		.start_addr = (uintptr_t)user, .size = 4096, .nattr = 1,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, &bare), EINVAL); /* no room for the attribute */
	bare.nattr = ~0u;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, &bare), EINVAL);
	bare.nattr = 0;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, &bare), 0);
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, NULL), EFAULT);
	bare.op = 2;
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, &bare), EINVAL);

	EXPECT(set(user + 1, 4096, ACCESS, gpu), EINVAL);
	EXPECT(set(user, 4097, ACCESS, gpu), EINVAL);
	EXPECT(set(user, 0, ACCESS, gpu), EINVAL);
	EXPECT(set(NULL, 4096, ACCESS, gpu), EINVAL);
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_GRANULARITY + 1, 0), EINVAL);
	EXPECT(set(user, 4096, ~0u, 0), EINVAL);
	for (uint32_t type = 0; type <= KFD_IOCTL_SVM_ATTR_NO_ACCESS; type++) {
		EXPECT(set(user, 4096, type, NOWHERE), EINVAL);
		EXPECT(set(user, 4096, type, gpu), 0);
	}
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_PREFERRED_LOC, 0), 0);
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_PREFERRED_LOC, ~0u), 0);
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_PREFETCH_LOC, 0), 0);
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_PREFETCH_LOC, ~0u), EINVAL);
	EXPECT(set(user, 4096, FLAGS, ~0u), 0); /* any bits */
	EXPECT(set(user, 4096, KFD_IOCTL_SVM_ATTR_GRANULARITY, ~0u), 0);

	/* One wrong attribute, and none is applied. */
	const struct kfd_ioctl_svm_attribute last_wrong[2] = {
		{ KFD_IOCTL_SVM_ATTR_GRANULARITY, 3 }, { ACCESS, NOWHERE },
	};
	uint32_t value = 0;
	EXPECT(svm((uintptr_t)user, 4096, KFD_IOCTL_SVM_OP_SET_ATTR, 2, last_wrong, NULL), EINVAL);
	EXPECT(svm((uintptr_t)user, 4096, KFD_IOCTL_SVM_OP_GET_ATTR, 1, last_wrong, &value), 0);
	CHECK(value == 0x3f); /* min_t(u32, value, 0x3f) of the call before */

	/* svm_range_get_attr: access is asked for by ACCESS alone. */
	EXPECT(get(user, 4096, ACCESS, gpu), 0);
	EXPECT(get(user, 4096, ACCESS, NOWHERE), EINVAL);
	EXPECT(get(user, 4096, KFD_IOCTL_SVM_ATTR_ACCESS_IN_PLACE, gpu), EINVAL);
	EXPECT(get(user, 4096, KFD_IOCTL_SVM_ATTR_NO_ACCESS, gpu), EINVAL);
	EXPECT(get(user, 4096, 8, 0), EINVAL);
	/* One that cannot be read, and nothing is filled in. */
	const struct kfd_ioctl_svm_attribute unreadable[2] = {
		{ KFD_IOCTL_SVM_ATTR_GRANULARITY, 77 }, { KFD_IOCTL_SVM_ATTR_NO_ACCESS, gpu },
	};
	EXPECT(svm((uintptr_t)user, 4096, KFD_IOCTL_SVM_OP_GET_ATTR, 2, unreadable, &value),
	       EINVAL);
	CHECK(value == 77);
}

/* svm_range_is_valid: all of it mapped, none of it a device's. */
static void memory(void)
{
	char *user = pages(4 * 4096);
	CHECK(munmap(user + 2 * 4096, 4096) == 0);
	EXPECT(set(user, 2 * 4096, ACCESS, gpu), 0);
	EXPECT(set(user, 3 * 4096, ACCESS, gpu), EFAULT);
	EXPECT(set(user, 4 * 4096, ACCESS, gpu), EFAULT);
	EXPECT(get(user, 4 * 4096, FLAGS, 0), EFAULT);
	EXPECT(set((void *)0x1000, 4096, ACCESS, gpu), EFAULT);
	EXPECT(set((void *)(1ull << 47), 4096, ACCESS, gpu), EFAULT);
	EXPECT(set((void *)~0xfffull, 8192, ACCESS, gpu), EOVERFLOW);
	EXPECT(set(user, ~0xfffull, ACCESS, gpu), EOVERFLOW);
	CHECK(mprotect(user, 4096, PROT_READ) == 0);
	EXPECT(set(user, 4096, ACCESS, gpu), 0); /* read-only memory is mapped read-only */

	struct kfd_ioctl_alloc_memory_of_gpu_args args = {
		.va_addr = 0x700000000000, .size = 2 << 20, .flags = VRAM, .gpu_id = gpu,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &args), 0);
	int drm = open("/dev/dri/renderD128", O_RDWR);
	char *device = mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_SHARED, drm,
			    args.mmap_offset);
	CHECK(device != MAP_FAILED);
	EXPECT(set(device, 4096, ACCESS, gpu), EFAULT);
	CHECK(munmap(device, args.size) == 0);
	EXPECT(release(args.handle), 0);
}

/* Buffers and ranges keep off each other: kfd_ioctl_alloc_memory_of_gpu, svm_range_check_vm. */
static void overlaps(void)
{
	char *user = pages(4 * 4096);
	uint64_t handle = 0, elsewhere = 0x700000000000;
	EXPECT(set(user + 4096, 2 * 4096, ACCESS, gpu), 0);
	EXPECT(alloc((uintptr_t)user, 2 * 4096, VRAM, 0, gpu, NULL), EADDRINUSE);
	EXPECT(alloc((uintptr_t)user + 2 * 4096, 4096, GTT, 0, NOWHERE, NULL), EADDRINUSE);
	EXPECT(alloc((uintptr_t)user + 4096 + 1, 1, VRAM, 0, gpu, NULL), EADDRINUSE);
	EXPECT(alloc(elsewhere, 2 * 4096, USERPTR, (uintptr_t)user, gpu, NULL), EADDRINUSE);
	EXPECT(alloc(elsewhere, 4096, USERPTR, (uintptr_t)user, gpu, &handle), 0);
	EXPECT(release(handle), 0);
	/* VRAM without an address is let through; it cannot be mapped. */
	EXPECT(alloc(0, 4096, VRAM, 0, gpu, &handle), 0);
	EXPECT(map(handle, &gpu, 1, 0), EINVAL);
	EXPECT(release(handle), 0);

	EXPECT(alloc((uintptr_t)user + 3 * 4096, 4096, USERPTR, (uintptr_t)user, gpu, &handle), 0);
	EXPECT(set(user + 2 * 4096, 2 * 4096, ACCESS, gpu), 0); /* not mapped yet */
	EXPECT(map(handle, &gpu, 1, 0), 0);
	EXPECT(set(user + 2 * 4096, 2 * 4096, ACCESS, gpu), EADDRINUSE);
	EXPECT(get(user + 3 * 4096, 4096, FLAGS, 0), EADDRINUSE);
	EXPECT(set(user + 2 * 4096, 4096, ACCESS, gpu), 0);
	EXPECT(unmap(handle, &gpu, 1, 0), 0);
	EXPECT(set(user + 2 * 4096, 2 * 4096, ACCESS, gpu), 0);
	EXPECT(release(handle), 0);
	/* What was unmapped is free again. */
	CHECK(munmap(user, 4 * 4096) == 0);
	EXPECT(alloc((uintptr_t)user, 4 * 4096, VRAM, 0, gpu, &handle), 0);
	EXPECT(release(handle), 0);
}

int main(void)
{
	int early = open("/dev/kfd", O_RDWR | O_CLOEXEC);
	struct kfd_process_device_apertures apertures;
	struct kfd_ioctl_get_process_apertures_new_args args = {
		.kfd_process_device_apertures_ptr = (uintptr_t)&apertures, .num_of_nodes = 1,
	};
	EXPECT(ioctl(early, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &args), 0);
	kfd = early;
	before_acquire(apertures.gpu_id);
	open_gpu();
	arguments();
	memory();
	overlaps();
	return finish();
}
