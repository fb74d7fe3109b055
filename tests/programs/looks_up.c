/* Opens libamdhip64 with RTLD_LOCAL and takes hipHostMalloc by dlsym, as dlopen-based clients
 * do; also by dlvsym. Allocates with each between marks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

typedef int (*host_malloc)(void **, size_t, unsigned);

static void allocate(const char *name, host_malloc call)
{
	void (*mark)(const char *) = (void (*)(const char *))dlsym(RTLD_DEFAULT, "kfdsim_mark");
	char text[64];
	void *ptr = NULL;
	snprintf(text, sizeof text, "> %s", name);
	if (mark)
		mark(text);
	printf("%s %d\n", name, call ? call(&ptr, 4 << 20, 0) : -1);
	snprintf(text, sizeof text, "< %s = 0", name);
	if (mark)
		mark(text);
}

int main(void)
{
	void *hip = dlopen("libamdhip64.so.5", RTLD_NOW | RTLD_LOCAL);
	if (!hip) {
		printf("%s\n", dlerror());
		return 1;
	}
	allocate("dlsym", (host_malloc)dlsym(hip, "hipHostMalloc"));
	allocate("dlvsym", (host_malloc)dlvsym(hip, "hipHostMalloc", "hip_4.2"));
	printf("missing: %s\n", dlsym(hip, "hipNoSuchFunction") ? "found" : dlerror() ? "not found" : "no error");
	printf("wrong version: %s\n", dlvsym(hip, "hipHostMalloc", "hip_9.9") ? "found" : "not found");
	printf("no library: %s\n", dlsym(dlopen("libdl.so.2", RTLD_NOW), "hipHostMalloc") ? "found" : "not found");
	return 0;
}
