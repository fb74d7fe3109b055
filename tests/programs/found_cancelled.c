/* A thread for which a cancellation is pending calls HIP, and then ends by it. */
#include <hip/hip_runtime_api.h>
#include <pthread.h>
#include <stdio.h>

static int allocated = -1, freed = -1;

static void *thread(void *arg)
{
	void *p = NULL;
	(void)arg;
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
	pthread_cancel(pthread_self());
	allocated = hipHostMalloc(&p, 4 << 20, hipHostMallocDefault);
	freed = hipHostFree(p);
	pthread_testcancel();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t id;
	void *result = NULL, *p = NULL;
	(void)argv;
	hipInit(0);
	hipMalloc(&p, 4096);
	/* Everything that is read at the first call has been, or not. */
	if (argc > 1)
		hipHostMalloc(&p, 4096, hipHostMallocDefault);
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, &result);
	printf("%s, %d %d\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled", allocated, freed);
	printf("afterwards %d\n", hipHostMalloc(&p, 4 << 20, hipHostMallocDefault));
	return 0;
}
