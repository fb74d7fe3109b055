/* Two libraries in one process, each with a copy of libamdhip64 of its own. */
#include "robust_open.h"

int main(int argc, char **argv)
{
	for (int round = 0; round < 2; round++)
		for (int i = 1; i < argc; i++) {
			extension_t extension = extension_of(dlopen(argv[i], RTLD_NOW | RTLD_LOCAL));
			if (!extension || extension("copy"))
				return 20;
		}
	return 0;
}
