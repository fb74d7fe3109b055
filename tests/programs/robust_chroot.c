/* chroot into an empty directory between two uses of the GPU, as a daemon does. */
#define _GNU_SOURCE
#include "robust.h"
#include <unistd.h>

int main(int argc, char **argv)
{
	if (use_gpu("before") || argc < 2 || chroot(argv[1]) || chdir("/"))
		return 20;
	return use_gpu("after");
}
