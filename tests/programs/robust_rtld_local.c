/* The GPU is used by a library that came by dlopen(RTLD_LOCAL): RTLD_NEXT finds no HIP. */
#include "robust_open.h"

int main(int argc, char **argv)
{
	extension_t extension = extension_of(argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL);
	return extension ? extension("local") : 20;
}
