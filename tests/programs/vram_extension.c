/* A library that Python opens for itself alone, as it does PyTorch's: how many tenths of device
 * 0 it can allocate, and the last error after that. */
#include <hip/hip_runtime_api.h>

int tenths(int *error)
{
	size_t total = 0;
	int count = 0;
	void *p;
	if (hipDeviceTotalMem(&total, 0) != hipSuccess)
		return -1;
	while (count < 11 && hipMalloc(&p, total / 10) == hipSuccess)
		count++;
	*error = hipGetLastError();
	return count;
}
