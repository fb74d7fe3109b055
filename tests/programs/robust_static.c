/* A static executable: the loader, and with it LD_PRELOAD, plays no part. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	puts(getenv("LD_PRELOAD") ? "inherited" : "nothing preloaded");
	return 9;
}
