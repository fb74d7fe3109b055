/* Threads that used the GPU end while the process is in exit(), where the report is written. */
#include "robust.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 16 };
static pthread_barrier_t used, exiting;

static void *work(void *unused)
{
	(void)unused;
	use_gpu_quietly();
	pthread_barrier_wait(&used);
	pthread_barrier_wait(&exiting);
	return NULL;
}

/* Runs before the handlers that were registered when the GPU was first used. */
static void let_them_end(void)
{
	pthread_barrier_wait(&exiting);
}

int main(void)
{
	pthread_barrier_init(&used, NULL, THREADS + 1);
	pthread_barrier_init(&exiting, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, work, NULL);
		pthread_detach(thread);
	}
	pthread_barrier_wait(&used);
	atexit(let_them_end);
	puts("exiting");
	exit(5);
}
