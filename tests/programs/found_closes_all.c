/* Closes descriptors that it does not know, from FIRST to LAST, opens a file of its own, which
 * becomes the first of them, and goes on with the GPU. */
#include "robust.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 5)
		return 20;
	int first = atoi(argv[2]);
	int used_before = !strcmp(argv[4], "used");
	void *p = NULL;
	if (used_before && hipHostMalloc(&p, IMPLICIT, hipHostMallocDefault))
		return 21;
	for (int fd = first; fd <= atoi(argv[3]); fd++)
		close(fd);
	int file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	/* A log may have had any of them. */
	for (int fd = file; fd >= 0 && fd < first + 20;)
		fd = dup(file);
	if (file != first || write(file, "data\n", 5) != 5)
		return 22;
	for (int i = 0; i < 3; i++) {
		int status = hipHostMalloc(&p, IMPLICIT, hipHostMallocDefault);
		printf("allocated: %d\n", status);
		printf("freed: %d\n", hipHostFree(p));
	}
	return 0;
}
