/* A plugin with which the stand-in for libamdhip64 comes and goes. */
#include <stddef.h>
#include <stdio.h>

int hipHostMalloc(void **, size_t, unsigned);
int hipHostFree(void *);
int extension(const char *who);

int extension(const char *who)
{
	void *p = NULL;
	int status = hipHostMalloc(&p, 65536, 0);
	printf("%s: %d", who, status);
	status = hipHostFree(p);
	printf(" %d\n", status);
	return status;
}
