/* What the programs of the robustness tests do with a GPU: three allocations, each of a size
 * by which the test finds it in the log of the simulator, whichever thread or process made it. */
#pragma once

#include <hip/hip_runtime_api.h>
#include <stdio.h>
#include <string.h>

enum {
	IMPLICIT = (4 << 20) + (1 << 12), /* hipHostMalloc with flags 0 */
	EXPLICIT = (4 << 20) + (2 << 12), /* hipHostMalloc with hipHostMallocCoherent */
	MANAGED = (4 << 20) + (3 << 12), /* hipMallocManaged */
};

/* 0, or the error of one of the three; the flags that the program reads back are part of it. */
static inline int use_gpu_quietly(void)
{
	void *p = NULL;
	unsigned flags = 1;
	int status = hipHostMalloc(&p, IMPLICIT, hipHostMallocDefault);
	if (status)
		return status;
	memset(p, 1, IMPLICIT);
	status = hipHostGetFlags(&flags, p);
	if (status || flags)
		return status ? status : -1;
	status = hipHostFree(p);
	if (status)
		return status;
	status = hipHostMalloc(&p, EXPLICIT, hipHostMallocCoherent);
	if (status)
		return status;
	memset(p, 1, EXPLICIT);
	status = hipHostFree(p);
	if (status)
		return status;
	status = hipMallocManaged(&p, MANAGED, hipMemAttachGlobal);
	if (status)
		return status;
	memset(p, 1, MANAGED);
	return hipFree(p);
}

/* The same, with a line on standard output. */
static inline int use_gpu(const char *who)
{
	int status = use_gpu_quietly();
	printf("%s: %d\n", who, status);
	fflush(stdout);
	return status;
}
