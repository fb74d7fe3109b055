/* A library that uses the GPU for the program that opens it, as a Python extension does. */
#include "robust.h"

int extension(const char *who);

int extension(const char *who)
{
	return use_gpu(who);
}
