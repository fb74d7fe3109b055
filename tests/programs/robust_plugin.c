/* A plugin with state of its own, which a program unloads to be rid of. */
#include "robust.h"

int extension(const char *who);

__attribute__((constructor)) static void loaded(void)
{
	puts("plugin loaded");
}

__attribute__((destructor)) static void unloaded(void)
{
	puts("plugin unloaded");
}

int extension(const char *who)
{
	static int uses;
	printf("use %d\n", ++uses);
	return use_gpu(who);
}
