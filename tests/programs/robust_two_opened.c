/* Two copies of libamdhip64, opened by their paths and called by address: no symbol of the
 * program binds to either. */
#include "robust.h"
#include <dlfcn.h>

typedef hipError_t (*managed_t)(void **, size_t, unsigned);
typedef hipError_t (*free_t)(void *);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		void *handle = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		if (!handle) {
			puts(dlerror());
			return 1;
		}
		void *p = NULL;
		managed_t managed = (managed_t)dlsym(handle, "hipMallocManaged");
		int status = managed(&p, MANAGED, hipMemAttachGlobal);
		printf("copy %d: %d", i, status);
		printf(" %d\n", ((free_t)dlsym(handle, "hipFree"))(p));
		fflush(stdout);
	}
	return 0;
}
