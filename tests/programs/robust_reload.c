/* A library that uses HIP is closed and loaded again, three times. */
#include "robust_open.h"

int main(int argc, char **argv)
{
	for (int i = 0; argc > 1 && i < 3; i++) {
		void *handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
		extension_t extension = extension_of(handle);
		if (!extension || extension("loaded"))
			return 20;
		printf("dlclose: %d\n", dlclose(handle));
	}
	return 0;
}
