/* Calls functions of a library of its own that have the names of ROCr's tool interface. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

bool OnLoad(void *table, uint64_t version, uint64_t failed, const char *const *names);
void OnUnload(void);

int main(void)
{
	char table[64] = {0};
	const char *names[] = {"name"};
	printf("OnLoad gave %d\n", OnLoad(table, 11, 12, names));
	OnUnload();
	return 0;
}
