/* 64 threads that allocate and free at once, from the first use of the GPU on. */
#include "robust.h"
#include <pthread.h>
#include <stdint.h>

enum { THREADS = 64, ROUNDS = 3 };
static pthread_barrier_t start;

static void *work(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&start);
	for (int i = 0; i < ROUNDS; i++) {
		int status = use_gpu_quietly();
		if (status)
			return (void *)(intptr_t)status;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int failed = 0;
	pthread_barrier_init(&start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < THREADS; i++) {
		void *status = NULL;
		pthread_join(threads[i], &status);
		failed += status != NULL;
	}
	printf("%d threads failed\n", failed);
	return failed != 0;
}
