/* posix_spawn, by a process that uses the GPU before and afterwards. */
#define _GNU_SOURCE
#include "robust.h"
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1)
		return use_gpu(argv[1]);
	if (use_gpu("parent"))
		return 1;
	int status = 0;
	pid_t child = 0;
	char *arguments[] = { argv[0], "child", NULL };
	if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ))
		return 2;
	waitpid(child, &status, 0);
	printf("child ended with %d\n", status);
	return use_gpu("parent again");
}
