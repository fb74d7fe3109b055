/* Opens HIP with RTLD_LOCAL, as Python does, and takes its functions by dlsym and, where there
 * is one, by hipGetProcAddress. Usage: release_opens libamdhip64.so.N */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mark.h"

typedef int (*allocate)(void **, size_t, unsigned);
typedef int (*proc_address)(const char *, void **, int, uint64_t, int *);

static void make(const char *name, allocate call, unsigned flags)
{
	char text[64];
	void *ptr = NULL;
	int code;
	snprintf(text, sizeof text, "> %s", name);
	mark(text);
	code = call ? call(&ptr, 4 << 20, flags) : -1;
	snprintf(text, sizeof text, "< %s = %d", name, code);
	mark(text);
	printf("%s %d\n", name, code);
}

int main(int argc, char **argv)
{
	void *hip = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	proc_address look_up;
	void *found = NULL;
	int status = -1;
	if (!hip) {
		printf("%s\n", dlerror());
		return 1;
	}
	/* The first call of a process starts the runtime. */
	((int (*)(void *))dlsym(hip, "hipFree"))(NULL);
	make("managed by dlsym", (allocate)dlsym(hip, "hipMallocManaged"), 1);
	make("pinned by dlsym", (allocate)dlsym(hip, "hipHostMalloc"), 0);
	look_up = (proc_address)dlsym(hip, "hipGetProcAddress");
	if (look_up && look_up("hipHostMalloc", &found, 600, 0, &status) == 0)
		make("pinned by hipGetProcAddress", (allocate)found, 0);
	return 0;
}
