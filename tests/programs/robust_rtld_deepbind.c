/* The GPU is used by a library that came by dlopen(RTLD_DEEPBIND): it sees its own HIP first. */
#define _GNU_SOURCE
#include "robust_open.h"

int main(int argc, char **argv)
{
	void *handle = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND) : NULL;
	extension_t extension = extension_of(handle);
	if (!extension)
		return 20;
	printf("extension gave %d\n", extension("deepbind"));
	return 0;
}
