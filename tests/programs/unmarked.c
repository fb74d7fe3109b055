/* Allocates pinned and managed memory, and sets no marks. */

#include <hip/hip_runtime_api.h>

int main(void)
{
	void *memory = NULL;
	if (hipHostMalloc(&memory, 4 << 20, 0) != hipSuccess)
		return 1;
	return hipMallocManaged(&memory, 4 << 20, hipMemAttachGlobal) == hipSuccess ? 0 : 2;
}
