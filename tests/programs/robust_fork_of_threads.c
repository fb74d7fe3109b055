/* fork while other threads are inside calls of HIP, their first ones with the argument `first`:
 * the child has none of those threads, but a copy of whatever they had locked. For a HIP that
 * has no locks of its own. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int hipHostMalloc(void **, size_t, unsigned);
int hipHostGetFlags(unsigned *, void *);
int hipHostFree(void *);

enum { THREADS = 4, CHILDREN = 25 };

static void call(void)
{
	void *p = NULL;
	unsigned flags = 0;
	hipHostMalloc(&p, 65536, 0);
	hipHostGetFlags(&flags, p);
	hipHostFree(p);
}

static void *work(void *unused)
{
	for (;;)
		call();
	return unused;
}

static void hangs(int unused)
{
	void *frames[32];
	(void)unused;
	backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
	_exit(1);
}

int main(int argc, char **argv)
{
	int well = 0;
	void *frame;
	backtrace(&frame, 1); /* loads what it needs, which the handler must not */
	signal(SIGALRM, hangs);
	if (argc < 2 || strcmp(argv[1], "first"))
		call();
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, work, NULL);
	}
	for (int i = 0; i < CHILDREN; i++) {
		int status = -1;
		pid_t child = fork();
		if (child == 0) {
			alarm(10);
			call();
			_exit(0);
		}
		waitpid(child, &status, 0);
		if (status)
			break;
		well++;
	}
	dprintf(1, "%d children ended well\n", well);
	_exit(0);
}
