/* A library of a program's own that has functions called OnLoad and OnUnload. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

bool OnLoad(void *table, uint64_t version, uint64_t failed, const char *const *names);
void OnUnload(void);

bool OnLoad(void *table, uint64_t version, uint64_t failed, const char *const *names)
{
	printf("its OnLoad: %d %d %d %s\n", table != NULL, (int)version, (int)failed, names[0]);
	return false;
}

void OnUnload(void)
{
	puts("its OnUnload");
}
