/* Opens, uses and closes one plugin after the other, and says where they were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *before = NULL, *p = NULL;
	if (hipHostMalloc(&p, 4096, hipHostMallocCoherent))
		return 20;
	for (int i = 1; i < argc; i++) {
		Dl_info info;
		void *handle = dlopen(argv[i], RTLD_NOW);
		int (*pinned)(void **, size_t) =
			handle ? (int (*)(void **, size_t))dlsym(handle, "pinned") : NULL;
		if (!pinned || !dladdr((void *)pinned, &info))
			return 21;
		printf("plugin %d: %d\n", i, pinned(&p, (4 << 20) + ((size_t)i << 12)));
		if (before)
			puts(before == info.dli_fbase ? "the same address" : "another address");
		before = info.dli_fbase;
		hipHostFree(p);
		dlclose(handle);
	}
	return 0;
}
