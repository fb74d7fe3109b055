/* A copy by the runtime to memory that the GPU has no mapping for: the runtime must end the
 * program with a message; it must not wait for ever, and the copy must not be done. */
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HSA(call)                                                                     \
	do {                                                                          \
		hsa_status_t status_ = (call);                                        \
		if (status_ != HSA_STATUS_SUCCESS) {                                  \
			printf("%d: %s: %#x\n", __LINE__, #call, status_);            \
			exit(2);                                                      \
		}                                                                     \
	} while (0)

static hsa_agent_t gpu;
static hsa_amd_memory_pool_t pool;

static hsa_status_t find_gpu(hsa_agent_t agent, void *data)
{
	hsa_device_type_t type;
	(void)data;
	HSA(hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type));
	if (type != HSA_DEVICE_TYPE_GPU)
		return HSA_STATUS_SUCCESS;
	gpu = agent;
	return HSA_STATUS_INFO_BREAK;
}

static hsa_status_t find_pool(hsa_amd_memory_pool_t found, void *data)
{
	hsa_amd_segment_t segment;
	(void)data;
	HSA(hsa_amd_memory_pool_get_info(found, HSA_AMD_MEMORY_POOL_INFO_SEGMENT, &segment));
	if (segment != HSA_AMD_SEGMENT_GLOBAL)
		return HSA_STATUS_SUCCESS;
	pool = found;
	return HSA_STATUS_INFO_BREAK;
}

int main(void)
{
	HSA(hsa_init());
	hsa_iterate_agents(find_gpu, NULL);
	hsa_amd_agent_iterate_memory_pools(gpu, find_pool, NULL);
	void *from;
	HSA(hsa_amd_memory_pool_allocate(pool, 4096, 0, &from));
	char *to = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hsa_signal_t done;
	HSA(hsa_signal_create(1, 0, NULL, &done));
	HSA(hsa_amd_memory_async_copy(to, gpu, from, gpu, 4096, 0, NULL, done));
	hsa_signal_wait_scacquire(done, HSA_SIGNAL_CONDITION_LT, 1, UINT64_MAX,
				  HSA_WAIT_STATE_BLOCKED);
	puts("the copy has ended");
	return 0;
}
