/* Forks a child that does nothing with the GPU and ends by exit. */
#include "robust.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status = 0;
	void *p = NULL;
	int used = argc > 1 && !strcmp(argv[1], "used");
	if (used && hipHostMalloc(&p, IMPLICIT, hipHostMallocDefault))
		return 20;
	pid_t child = fork();
	if (child == 0)
		exit(0);
	waitpid(child, &status, 0);
	printf("child ended with %d\n", status);
	if (!used && hipHostMalloc(&p, IMPLICIT, hipHostMallocDefault))
		return 20;
	return 0;
}
