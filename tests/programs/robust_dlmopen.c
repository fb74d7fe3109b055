/* A second HIP in a link-map namespace of its own, where nothing is preloaded, beside the
 * program's. */
#define _GNU_SOURCE
#include "robust.h"
#include "robust_open.h"

int main(int argc, char **argv)
{
	void *handle = argc > 1 ? dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW) : NULL;
	extension_t extension = extension_of(handle);
	if (!extension)
		return 20;
	printf("extension gave %d\n", extension("namespace"));
	return use_gpu("program");
}
