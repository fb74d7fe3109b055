/* What the raw clients of the simulated GPU share: opening it, and checks that say what they
 * found. For the tests of crates/kfdsim. */
#ifndef SIM_KFD_H
#define SIM_KFD_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kfd_ioctl.h>

static int failures;

/* Compares an ioctl's errno (0 for success) with what the kernel gives. */
#define EXPECT(call, wanted)                                                          \
	do {                                                                          \
		errno = 0;                                                            \
		int got_ = (call) < 0 ? errno : 0;                                    \
		if (got_ != (wanted)) {                                               \
			printf("%s:%d: %s: errno %d (%s), expected %d (%s)\n",        \
			       __FILE__, __LINE__, #call, got_, strerror(got_),       \
			       (wanted), strerror(wanted));                           \
			failures++;                                                   \
		}                                                                     \
	} while (0)

#define CHECK(condition)                                                              \
	do {                                                                          \
		if (!(condition)) {                                                   \
			printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			failures++;                                                   \
		}                                                                     \
	} while (0)

static int kfd = -1;
static uint32_t gpu;

/* Opens the first GPU as libhsakmt does. */
static inline void open_gpu(void)
{
	kfd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
	CHECK(kfd >= 0);
	struct kfd_process_device_apertures apertures[2];
	struct kfd_ioctl_get_process_apertures_new_args args = {
		.kfd_process_device_apertures_ptr = (uintptr_t)apertures,
		.num_of_nodes = 1,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_GET_PROCESS_APERTURES_NEW, &args), 0);
	gpu = apertures[0].gpu_id;
	struct kfd_ioctl_acquire_vm_args vm = {
		.drm_fd = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC),
		.gpu_id = gpu,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_ACQUIRE_VM, &vm), 0);
}

static inline void *pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

/* Pages that the GPU may use as well, under the same address. */
static inline void *gpu_pages(size_t size)
{
	void *p = pages(size);
	struct {
		struct kfd_ioctl_svm_args args;
		struct kfd_ioctl_svm_attribute access;
	} svm = {
		.args = { .start_addr = (uintptr_t)p, .size = size, .op = KFD_IOCTL_SVM_OP_SET_ATTR,
			  .nattr = 1 },
		.access = { KFD_IOCTL_SVM_ATTR_ACCESS, gpu },
	};
	const unsigned long set = AMDKFD_IOC_SVM + (sizeof svm.access << _IOC_SIZESHIFT);
	EXPECT(ioctl(kfd, set, &svm), 0);
	return p;
}

static inline int finish(void)
{
	if (!failures)
		puts("OK");
	return failures ? 1 : 0;
}
#endif
