/* Chooses a grain for a part of a page and then gives access to other bytes of that page. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <stdio.h>

static void mark(const char *text)
{
	void (*to_log)(const char *) = (void (*)(const char *))dlsym(RTLD_DEFAULT, "kfdsim_mark");
	if (to_log)
		to_log(text);
}

static void access_to(const char *name, char *start, size_t size)
{
	char text[64];
	snprintf(text, sizeof text, "> %s", name);
	mark(text);
	int status = hipMemAdvise(start, size, hipMemAdviseSetAccessedBy, 0);
	printf("%s %d\n", name, status);
	snprintf(text, sizeof text, "< %s = %d", name, status);
	mark(text);
}

int main(void)
{
	char *p = NULL;
	printf("managed %d\n", hipMallocManaged((void **)&p, 1 << 20, hipMemAttachGlobal));
	printf("choice %d\n", hipMemAdvise(p, 100, hipMemAdviseUnsetCoarseGrain, 0));
	access_to("behind it", p + 200, 100);
	access_to("the end of the page", p + 4095, 1);
	printf("choice %d\n", hipMemAdvise(p + 12288 + 2048, 100, hipMemAdviseUnsetCoarseGrain, 0));
	access_to("before it", p + 12288, 100);
	access_to("another page", p + 20480, 100);
	return 0;
}
