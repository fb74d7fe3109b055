/* A setuid program: the loader takes no library from the user's LD_PRELOAD. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	char line[4096];
	int loaded = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof line, maps))
		loaded |= strstr(line, "librdnafix") != NULL;
	printf("user %d as %d, maps %s, library %s\n", getuid(), geteuid(),
	       maps ? "read" : "unreadable", loaded ? "loaded" : "not loaded");
	return 0;
}
