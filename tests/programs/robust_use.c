/* A program that uses the GPU and does nothing else. */
#include "robust.h"

int main(void)
{
	return use_gpu("program");
}
