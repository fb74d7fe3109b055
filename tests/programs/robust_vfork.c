/* vfork and exec, of a process that uses the GPU before and afterwards. */
#define _GNU_SOURCE
#include "robust.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1)
		return use_gpu(argv[1]);
	if (use_gpu("parent"))
		return 1;
	int status = 0;
	pid_t child = vfork();
	if (child == 0) {
		execl("/proc/self/exe", "robust_vfork", "child", (char *)NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	printf("child ended with %d\n", status);
	return use_gpu("parent again");
}
