/* fork without exec: before the first use of the GPU, or after it. */
#include "robust.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int in_child(const char *who)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		use_gpu(who);
		/* HIP's own exit handlers are not made for a forked child. */
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("child ended with %d\n", status);
	fflush(stdout);
	return status;
}

int main(int argc, char **argv)
{
	int after = argc > 1 && !strcmp(argv[1], "after");
	if (after && use_gpu("parent, first"))
		return 1;
	return in_child("child") || in_child("second child") || use_gpu("parent") ? 1 : 0;
}
