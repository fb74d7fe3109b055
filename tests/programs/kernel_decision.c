/*
 * Runs decision functions of amdgpu and amdkfd, which stand in the file that FUNCTIONS names as the
 * kernel source has them, over their whole input: one line for each. What they use of the kernel
 * is declared here, as little of it as they need; LINUX is 601, 612 or 702.
 */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;
typedef int32_t s32;

#define BIT(n) (1UL << (n))
#define container_of(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))
#define IP_VERSION(major, minor, rev) (((major) << 16) | ((minor) << 8) | (rev))
#define GC_HWIP 1
#define AMD_IS_APU 2
#define SVM_RANGE_VRAM_DOMAIN (1UL << 0)
#define TTM_PL_VRAM 2
#define CHIP_ARCTURUS 23
#define CHIP_ALDEBARAN 25

/* #defines of the kernel's headers */
#include CONSTANTS

struct amdgpu_xcp {
	int mem_id;
};

struct amdgpu_gmc {
	bool rdna_noncoherent;
	int noretry;
	struct {
		bool connected_to_cpu;
	} xgmi;
};

struct amdgpu_device {
	struct amdgpu_gmc gmc;
	struct {
		struct kfd_dev *dev;
	} kfd;
	uint32_t ip_versions[2][1];
	int asic_type;
	uint32_t flags;
	uint32_t rev_id;
	bool have_atomics_support;
	bool sriov_xnack;
	void *dev;
};

/* the KFD device of 6.1 and the node of later ones */
struct kfd_dev {
	struct amdgpu_device *adev;
	struct amdgpu_xcp *xcp;
};
#define kfd_node kfd_dev

struct ttm_device {
	struct amdgpu_device *adev;
};

struct ttm_resource {
	uint32_t mem_type;
};

struct dma_resv {
	bool held;
};

struct kgd_mem {
	struct amdgpu_bo *bo;
	uint32_t alloc_flags;
};

struct amdgpu_bo {
	struct {
		struct ttm_device *bdev;
		struct ttm_resource *resource;
		struct {
			struct dma_resv *resv;
		} base;
	} tbo;
	u64 flags;
	struct kgd_mem *kfd_bo;
};

struct amdgpu_vm {
	int unused;
};

struct amdgpu_bo_va {
	struct {
		struct amdgpu_bo *bo;
	} base;
	bool is_xgmi;
};

struct amdgpu_bo_va_mapping {
	struct amdgpu_bo_va *bo_va;
	uint64_t flags;
};

struct svm_range_bo {
	struct kfd_node *node;
	struct amdgpu_bo *bo;
};

struct svm_range {
	uint32_t flags;
	struct svm_range_bo *svm_bo;
};

struct svm_range_list {
	uint8_t default_granularity;
};

struct kfd_process_device {
	struct kfd_dev *dev;
};

struct kfd_process {
	struct svm_range_list svms;
	struct kfd_process_device *pdds[3];
	uint32_t n_pdds;
};

static int amdgpu_noretry;
static int amdgpu_rdna_noncoherent;
static int amdgpu_mtype_local;

static struct amdgpu_device *amdgpu_ttm_adev(struct ttm_device *bdev) { return bdev->adev; }
static uint32_t amdgpu_ip_version(struct amdgpu_device *adev, int ip, int instance)
{
	return adev->ip_versions[ip][instance];
}
static bool amdgpu_xgmi_same_hive(struct amdgpu_device *a, struct amdgpu_device *b)
{
	(void)a;
	(void)b;
	return false; /* no GPU here has XGMI */
}
static bool amdgpu_sriov_xnack_support(struct amdgpu_device *adev) { return adev->sriov_xnack; }
static void dma_resv_assert_held(struct dma_resv *resv)
{
	if (!resv->held)
		abort();
}
static int num_possible_nodes(void) { return 1; }
#define KFD_GC_VERSION(dev) ((dev)->adev->ip_versions[GC_HWIP][0])
#if LINUX >= 612
static bool svm_nodes_in_same_hive(struct kfd_node *a, struct kfd_node *b)
{
	return a->adev == b->adev;
}
#endif

#if LINUX < 700
static uint64_t gmc_v10_0_map_mtype(struct amdgpu_device *adev, uint32_t flags);

/* Without what does not concern the MTYPE. */
static uint64_t amdgpu_gem_va_map_flags(struct amdgpu_device *adev, uint32_t flags)
{
	return gmc_v10_0_map_mtype(adev, flags & AMDGPU_VM_MTYPE_MASK) |
	       (flags & AMDGPU_VM_PAGE_EXECUTABLE ? AMDGPU_PTE_EXECUTABLE : 0);
}
#else
static void gmc_v10_0_get_vm_pte(struct amdgpu_device *adev, struct amdgpu_vm *vm,
				 struct amdgpu_bo *bo, uint32_t vm_flags, uint64_t *flags);
#define amdgpu_gmc_get_vm_pte(adev, vm, bo, vm_flags, flags) \
	gmc_v10_0_get_vm_pte(adev, vm, bo, vm_flags, flags)
#endif

/* The functions, and set_parameter(), which is a statement of gmc_v10_0_early_init(). */
#include FUNCTIONS

static const int parameters[] = { -1, 0, 1, 2, INT_MIN };
static const uint32_t gc_versions[] = {
	IP_VERSION(9, 0, 1),  IP_VERSION(9, 1, 0),  IP_VERSION(9, 2, 1),  IP_VERSION(9, 4, 0),
	IP_VERSION(9, 4, 1),  IP_VERSION(9, 4, 2),  IP_VERSION(9, 4, 3),  IP_VERSION(9, 4, 4),
	IP_VERSION(9, 5, 0),  IP_VERSION(10, 1, 1), IP_VERSION(10, 1, 2), IP_VERSION(10, 1, 3),
	IP_VERSION(10, 1, 4), IP_VERSION(10, 1, 10), IP_VERSION(10, 3, 0), IP_VERSION(10, 3, 1),
	IP_VERSION(10, 3, 2), IP_VERSION(10, 3, 3), IP_VERSION(10, 3, 4), IP_VERSION(10, 3, 5),
	IP_VERSION(10, 3, 6), IP_VERSION(10, 3, 7), IP_VERSION(11, 0, 0), IP_VERSION(11, 5, 1),
	IP_VERSION(12, 0, 0), IP_VERSION(12, 0, 1), IP_VERSION(12, 1, 0),
};
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* gmc_v10_0_early_init() runs for GC 10 only. */
static struct amdgpu_device device(uint32_t gc, struct kfd_dev *dev)
{
	struct amdgpu_device adev = { .ip_versions = { [GC_HWIP] = { gc } }, .kfd = { dev } };

	if (gc >> 16 == 10)
		set_parameter(&adev);
	return adev;
}

static void noretry(void)
{
	for (int i = 0; i < COUNT(gc_versions); i++)
		for (amdgpu_noretry = -1; amdgpu_noretry <= 1; amdgpu_noretry++)
			for (int vf = 0; vf <= 1; vf++) {
				struct amdgpu_device adev = device(gc_versions[i], NULL);

				adev.sriov_xnack = !vf;
				amdgpu_gmc_noretry_set(&adev);
				printf("noretry gc %x parameter %d vf %d = %d\n", gc_versions[i],
				       amdgpu_noretry, vf, adev.gmc.noretry);
			}
}

/* 1 COHERENT, 2 EXT_COHERENT, 4 UNCACHED */
static uint32_t alloc_flags(int grain)
{
	return (grain & 1 ? KFD_IOC_ALLOC_MEM_FLAGS_COHERENT : 0) | (grain & 2 ? BIT(24) : 0) |
	       (grain & 4 ? KFD_IOC_ALLOC_MEM_FLAGS_UNCACHED : 0);
}

static uint64_t pte_of(struct amdgpu_device *adev, struct amdgpu_bo *bo, int valid, int from,
		       const uint32_t *vm_mtypes)
{
	uint64_t pte = valid ? AMDGPU_PTE_VALID : 0;
	/* KFD asks as get_pte_flags() says, a render node's client for an MTYPE. */
#if LINUX >= 700
	uint32_t vm_flags = from ? vm_mtypes[from - 1] : AMDGPU_VM_MTYPE_DEFAULT;

	gmc_v10_0_get_vm_pte(adev, NULL, bo, vm_flags, &pte);
#else
	struct amdgpu_bo_va bo_va = { .base = { bo } };
	struct amdgpu_bo_va_mapping mapping = { .bo_va = &bo_va };

	mapping.flags = from ? amdgpu_gem_va_map_flags(adev, vm_mtypes[from - 1]) :
			       get_pte_flags(adev, bo->kfd_bo);
	gmc_v10_0_get_vm_pte(adev, &mapping, &pte);
#endif
	return pte;
}

static void buffers(int parameter, uint32_t gc)
{
	static const uint32_t vm_mtypes[] = { AMDGPU_VM_MTYPE_DEFAULT, AMDGPU_VM_MTYPE_NC,
					      AMDGPU_VM_MTYPE_WC, AMDGPU_VM_MTYPE_CC,
					      AMDGPU_VM_MTYPE_UC, AMDGPU_VM_MTYPE_RW };
	struct amdgpu_device adev, other;
	struct ttm_device bdev, there;

	amdgpu_rdna_noncoherent = parameter;
	adev = other = device(gc, NULL);
	bdev.adev = &adev;
	there.adev = &other;
	/*
	 * from 0 is KFD itself; place -1 is a buffer that has none; kind is VRAM, GTT, ...
	 * An entry that is not valid is being cleared: amdgpu_vm_bo_update() then may be without the
	 * reservation, and somebody else may be moving the buffer.
	 */
	for (int grain = 0; grain < 8; grain++)
	for (int kfd = 0; kfd <= 1; kfd++)
	for (int here = 0; here <= 1; here++)
	for (int place = -1; place <= 8; place++)
	for (int kind = 0; kind < 5; kind++)
	for (int valid = 0; valid <= 1; valid++)
	for (int from = !kfd; from <= COUNT(vm_mtypes); from++) {
		struct ttm_resource resource = { (uint32_t)place };
		struct ttm_resource *moving = (struct ttm_resource *)-64;
		struct dma_resv resv = { valid };
		struct amdgpu_bo bo = {
			.tbo = { here ? &bdev : &there,
				 !valid ? moving : place < 0 ? NULL : &resource, { &resv } }
		};
		struct kgd_mem mem = { &bo, alloc_flags(grain) | 1U << kind };

		bo.kfd_bo = kfd ? &mem : NULL;
#if LINUX >= 612
		bo.flags = (grain & 1 ? AMDGPU_GEM_CREATE_COHERENT : 0) |
			   (grain & 2 ? AMDGPU_GEM_CREATE_EXT_COHERENT : 0) |
			   (grain & 4 ? AMDGPU_GEM_CREATE_UNCACHED : 0);
#endif
		printf("buffer gc %x parameter %d grain %d kfd %d here %d place %d kind %d valid %d from %d = %llx\n",
		       gc, parameter, grain, kfd, here, place, kind, valid, from,
		       (unsigned long long)pte_of(&adev, &bo, valid, from, vm_mtypes));
	}
}

static void ranges(int parameter, uint32_t gc)
{
	struct amdgpu_device adev, other;
	struct kfd_dev dev = { .adev = &adev }, another = { .adev = &other };

	amdgpu_rdna_noncoherent = parameter;
	adev = device(gc, &dev);
	other = device(gc, &another);
	for (uint32_t flags = 0; flags < 256; flags++)
	for (int here = 0; here <= 1; here++)
	for (int domain = 0; domain <= 1; domain++) {
		struct ttm_device bdev = { here ? &adev : &other };
		struct amdgpu_bo bo = { .tbo = { .bdev = &bdev } };
		struct svm_range_bo svm_bo = { here ? &dev : &another, &bo };
		struct svm_range range = { flags, domain ? &svm_bo : NULL };
		uint64_t pte;

#if LINUX >= 700
		pte = svm_range_get_pte_flags(&dev, NULL, &range, domain);
#elif LINUX >= 612
		pte = svm_range_get_pte_flags(&dev, &range, domain);
#else
		pte = svm_range_get_pte_flags(&adev, &range, domain);
#endif
		printf("range gc %x parameter %d flags %x here %d vram %d = %llx\n", gc, parameter,
		       flags, here, domain, (unsigned long long)pte);
	}
}

static void defaults(int parameter)
{
	/* Up to three GPUs, each one of these or none. */
	static const uint32_t kinds[] = { 0, IP_VERSION(10, 1, 10), IP_VERSION(10, 3, 6),
					  IP_VERSION(11, 0, 0), IP_VERSION(9, 4, 3) };

	amdgpu_rdna_noncoherent = parameter;
	for (int all = 0; all < 5 * 5 * 5; all++) {
		int gpus[3] = { all % 5, all / 5 % 5, all / 25 };
		struct amdgpu_device adev[3];
		struct kfd_dev dev[3];
		struct kfd_process_device pdd[3];
		struct kfd_process process = { .n_pdds = 0 };
		int32_t location, prefetch;
		uint8_t granularity;
		uint32_t flags = 0;

		for (int i = 0; i < 3; i++) {
			if (!gpus[i])
				continue;
			adev[i] = device(kinds[gpus[i]], &dev[i]);
			dev[i].adev = &adev[i];
			pdd[i].dev = &dev[i];
			process.pdds[process.n_pdds++] = &pdd[i];
		}
#if LINUX < 612 && defined(STOCK)
		svm_range_set_default_attributes(&location, &prefetch, &granularity, &flags);
#else
		svm_range_set_default_attributes(&process.svms, &location, &prefetch, &granularity,
						 &flags);
#endif
		printf("default parameter %d gpus %x-%x-%x = %x\n", parameter, kinds[gpus[0]],
		       kinds[gpus[1]], kinds[gpus[2]], flags);
	}
}

int main(void)
{
	noretry();
	for (int p = 0; p < COUNT(parameters); p++) {
		/* gmc_v10_0.c serves no other GPUs; the MTYPE of others is not looked at. */
		buffers(parameters[p], IP_VERSION(10, 1, 10));
		buffers(parameters[p], IP_VERSION(10, 3, 6));
		for (int i = 0; i < COUNT(gc_versions); i++)
			ranges(parameters[p], gc_versions[i]);
		defaults(parameters[p]);
	}
	return 0;
}
