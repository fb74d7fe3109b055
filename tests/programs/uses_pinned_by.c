/* Calls the library of pinned_by.c between marks. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

int pinned(void **, size_t);

int main(void)
{
	void (*mark)(const char *) = (void (*)(const char *))dlsym(RTLD_DEFAULT, "kfdsim_mark");
	void *ptr = NULL;
	if (mark)
		mark("> pinned");
	int status = pinned(&ptr, 4 << 20);
	if (mark)
		mark("< pinned = 0");
	printf("%d\n", status);
	return status;
}
