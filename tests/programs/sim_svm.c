/* SVM ranges: splitting, forgetting, refusing. The test reads the log for the rest; marks
 * tell it where it is. */
#include "sim_kfd.h"
#include <dlfcn.h>

static void (*mark)(const char *);

struct call {
	struct kfd_ioctl_svm_args args;
	struct kfd_ioctl_svm_attribute attrs[4];
};

static int svm(uint32_t op, void *start, uint64_t size, struct kfd_ioctl_svm_attribute *attrs,
	       uint32_t count)
{
	struct call call = { .args = { .start_addr = (uintptr_t)start, .size = size, .op = op,
				       .nattr = count } };
	memcpy(call.attrs, attrs, count * sizeof *attrs);
	int result = ioctl(kfd, AMDKFD_IOC_SVM + ((count * sizeof *attrs) << _IOC_SIZESHIFT), &call);
	memcpy(attrs, call.attrs, count * sizeof *attrs);
	return result;
}

static int set(void *start, uint64_t size, uint32_t type, uint32_t value)
{
	struct kfd_ioctl_svm_attribute attr = { type, value };
	return svm(KFD_IOCTL_SVM_OP_SET_ATTR, start, size, &attr, 1);
}

/* The flags that hold for the whole range. */
static uint32_t flags(void *start, uint64_t size)
{
	struct kfd_ioctl_svm_attribute attr = { KFD_IOCTL_SVM_ATTR_SET_FLAGS, 0 };
	EXPECT(svm(KFD_IOCTL_SVM_OP_GET_ATTR, start, size, &attr, 1), 0);
	return attr.value;
}

int main(void)
{
	mark = (void (*)(const char *))dlsym(RTLD_DEFAULT, "kfdsim_mark");
	CHECK(mark != NULL);
	const uint32_t coherent = KFD_IOCTL_SVM_FLAG_COHERENT;
	const uint32_t host = KFD_IOCTL_SVM_FLAG_HOST_ACCESS;
	const uint64_t page = 4096;
	char *range = pages(16 * page);
	open_gpu();

	CHECK(flags(range, 16 * page) == (host | coherent)); /* the default, without a range */
	mark("access");
	EXPECT(set(range, 16 * page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), 0);
	mark("middle");
	EXPECT(set(range + 4 * page, 4 * page, KFD_IOCTL_SVM_ATTR_CLR_FLAGS, coherent), 0);
	CHECK(flags(range + 4 * page, 4 * page) == host);
	CHECK(flags(range, 4 * page) == (host | coherent));
	CHECK(flags(range, 16 * page) == host); /* what all of it has */
	mark("all");
	EXPECT(set(range, 16 * page, KFD_IOCTL_SVM_ATTR_SET_FLAGS, KFD_IOCTL_SVM_FLAG_GPU_RO), 0);
	mark("end");
	struct kfd_ioctl_svm_attribute ask[2] = {
		{ KFD_IOCTL_SVM_ATTR_ACCESS, gpu }, { KFD_IOCTL_SVM_ATTR_CLR_FLAGS, 0 },
	};
	EXPECT(svm(KFD_IOCTL_SVM_OP_GET_ATTR, range, 16 * page, ask, 2), 0);
	CHECK(ask[0].type == KFD_IOCTL_SVM_ATTR_ACCESS);
	CHECK((ask[1].value & coherent) == 0); /* some of it is coherent */

	/* What the process unmaps, KFD forgets: by munmap, or by a new mapping over it. */
	CHECK(munmap(range + 4 * page, 2 * page) == 0);
	CHECK(mmap(range + 4 * page, 2 * page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == range + 4 * page);
	CHECK(flags(range + 4 * page, 2 * page) == (host | coherent));
	CHECK(flags(range + 6 * page, 2 * page) == (host | KFD_IOCTL_SVM_FLAG_GPU_RO));
	CHECK(mmap(range + 6 * page, page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == range + 6 * page);
	CHECK(flags(range + 6 * page, page) == (host | coherent));
	CHECK(flags(range + 7 * page, page) == (host | KFD_IOCTL_SVM_FLAG_GPU_RO));

	/* Refused. */
	EXPECT(set(range + 1, page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EINVAL);
	EXPECT(set(range, page + 1, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EINVAL);
	EXPECT(set(range, 0, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EINVAL);
	EXPECT(set(NULL, page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EINVAL);
	EXPECT(set(range, page, KFD_IOCTL_SVM_ATTR_ACCESS, 0x9999), EINVAL);
	EXPECT(set(range, page, 99, 0), EINVAL);
	EXPECT(set((void *)0x10000, page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EFAULT);
	EXPECT(set((void *)(~0ull << 12), 2 * page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EOVERFLOW);
	struct call lie = { .args = { .start_addr = (uintptr_t)range, .size = page, .nattr = 1000 } };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SVM, &lie), EINVAL);
	ask[0].type = KFD_IOCTL_SVM_ATTR_NO_ACCESS;
	EXPECT(svm(KFD_IOCTL_SVM_OP_GET_ATTR, range, page, ask, 1), EINVAL);
	EXPECT(svm(7, range, page, ask, 1), EINVAL);
	char *hole = pages(3 * page);
	CHECK(munmap(hole + page, page) == 0);
	EXPECT(set(hole, 3 * page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EFAULT);

	/* An address is either SVM's or a buffer object's. */
	struct kfd_ioctl_alloc_memory_of_gpu_args memory = {
		.va_addr = (uintptr_t)range, .size = page, .mmap_offset = (uintptr_t)range,
		.flags = KFD_IOC_ALLOC_MEM_FLAGS_USERPTR, .gpu_id = gpu,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &memory), EADDRINUSE);
	char *object = pages(page);
	memory.va_addr = memory.mmap_offset = (uintptr_t)object;
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &memory), 0);
	EXPECT(set(object, page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), 0); /* not mapped yet */
	CHECK(munmap(object, page) == 0);
	CHECK(mmap(object, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == object);
	struct kfd_ioctl_map_memory_to_gpu_args map = {
		.handle = memory.handle, .device_ids_array_ptr = (uintptr_t)&gpu, .n_devices = 1,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_MAP_MEMORY_TO_GPU, &map), 0);
	EXPECT(set(object, page, KFD_IOCTL_SVM_ATTR_ACCESS, gpu), EADDRINUSE);
	return finish();
}
