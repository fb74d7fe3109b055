/* A thread ends the process: by exit, _exit, abort or exec, as the first argument says. */
#define _GNU_SOURCE
#include "robust.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void *end(void *how)
{
	use_gpu("thread");
	if (!strcmp(how, "exit"))
		exit(3);
	if (!strcmp(how, "_exit"))
		_exit(4);
	if (!strcmp(how, "abort"))
		abort();
	execl("/proc/self/exe", "robust_ends_in_thread", (char *)NULL);
	return NULL;
}

int main(int argc, char **argv)
{
	const struct rlimit no_core = { 0, 0 };
	pthread_t thread;
	if (argc < 2)
		return use_gpu("after exec") ? 1 : 6;
	setrlimit(RLIMIT_CORE, &no_core);
	use_gpu("main");
	pthread_create(&thread, NULL, end, argv[1]);
	for (;;)
		pause();
}
