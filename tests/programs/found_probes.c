/* Asks the loader whether functions are there, as programs do that can use HIP if it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		void *found = dlsym(RTLD_DEFAULT, argv[i]);
		const char *error = dlerror();
		printf("%s: %s, %s\n", argv[i], found ? "there" : "not there",
		       error ? "an error" : "no error");
	}
	return 0;
}
