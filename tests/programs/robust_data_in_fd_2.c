/* Standard error is closed, so that the first file that is opened becomes descriptor 2. */
#include "robust.h"
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int file = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	if (file != 2 || write(file, "data\n", 5) != 5)
		return 20;
	return use_gpu("program");
}
