/* Events wake everyone who waits, and stay signaled only if nobody does. */
#include "sim_kfd.h"
#include <pthread.h>
#include <sys/syscall.h>

static uint32_t create(int auto_reset)
{
	struct kfd_ioctl_create_event_args args = { .auto_reset = auto_reset };
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_EVENT, &args), 0);
	return args.event_id;
}

static void set(uint32_t id)
{
	struct kfd_ioctl_set_event_args args = { .event_id = id };
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_EVENT, &args), 0);
}

/* Waits for events; gives the result, or -errno. */
static int wait_for(uint32_t *ids, uint32_t count, int all, uint32_t timeout, uint64_t age)
{
	struct kfd_event_data data[4];
	memset(data, 0, sizeof data);
	for (uint32_t i = 0; i < count; i++) {
		data[i].event_id = ids[i];
		memcpy(&data[i], &age, sizeof age); /* last_event_age is the first field */
	}
	struct kfd_ioctl_wait_events_args args = {
		.events_ptr = (uintptr_t)data, .num_events = count, .wait_for_all = all,
		.timeout = timeout,
	};
	return ioctl(kfd, AMDKFD_IOC_WAIT_EVENTS, &args) < 0 ? -errno : (int)args.wait_result;
}

struct waiter {
	pthread_t thread;
	volatile int tid; /* 0 until it is about to wait */
	uint32_t event;
};

static void *wait_in_thread(void *data)
{
	struct waiter *waiter = data;
	waiter->tid = syscall(SYS_gettid);
	return (void *)(intptr_t)wait_for(&waiter->event, 1, 1, 20000, 0);
}

static int sleeps(struct waiter *waiter)
{
	char path[64], state = 0;
	if (!waiter->tid)
		return 0;
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiter->tid);
	FILE *file = fopen(path, "r");
	int found = file && fscanf(file, "%*d %*s %c", &state) == 1;
	if (file)
		fclose(file);
	return found && state == 'S';
}

/* Starts threads that wait for an event, and returns when all of them do: a thread that is
 * still on its way would be a different test. Twice, because the first look at one may be
 * old when the last one is looked at. */
static void start(struct waiter *waiters, int count, uint32_t event)
{
	for (int i = 0; i < count; i++) {
		waiters[i] = (struct waiter){ .event = event };
		pthread_create(&waiters[i].thread, NULL, wait_in_thread, &waiters[i]);
	}
	for (int seen = 0; seen < 2 * count;) {
		seen = sleeps(&waiters[seen % count]) ? seen + 1 : 0;
		if (!seen)
			usleep(200);
	}
}

static int result(struct waiter *waiter)
{
	void *result;
	pthread_join(waiter->thread, &result);
	return (int)(intptr_t)result;
}

int main(void)
{
	enum { COMPLETE, TIMEOUT };
	open_gpu();
	uint32_t automatic = create(1), manual = create(0);

	/* Set before the wait: an auto-reset event satisfies one wait, a manual one all. */
	set(automatic);
	CHECK(wait_for(&automatic, 1, 1, 0, 0) == COMPLETE);
	CHECK(wait_for(&automatic, 1, 1, 0, 0) == TIMEOUT);
	set(manual);
	CHECK(wait_for(&manual, 1, 1, 0, 0) == COMPLETE);
	CHECK(wait_for(&manual, 1, 1, 0, 0) == COMPLETE);
	struct kfd_ioctl_reset_event_args reset = { .event_id = manual };
	EXPECT(ioctl(kfd, AMDKFD_IOC_RESET_EVENT, &reset), 0);
	CHECK(wait_for(&manual, 1, 1, 0, 0) == TIMEOUT);

	/* Any and all. */
	uint32_t both[2] = { automatic, manual };
	set(manual);
	CHECK(wait_for(both, 2, 0, 0, 0) == COMPLETE);
	CHECK(wait_for(both, 2, 1, 0, 0) == TIMEOUT);
	set(automatic);
	CHECK(wait_for(both, 2, 1, 0, 0) == COMPLETE);

	/* Two threads wait for one auto-reset event: a single set wakes both. */
	for (int round = 0; round < 50; round++) {
		uint32_t event = create(1);
		struct waiter waiters[2];
		start(waiters, 2, event);
		set(event);
		CHECK(result(&waiters[0]) == COMPLETE);
		CHECK(result(&waiters[1]) == COMPLETE);
		CHECK(wait_for(&event, 1, 1, 0, 0) == TIMEOUT);
		struct kfd_ioctl_destroy_event_args destroy = { .event_id = event };
		EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_EVENT, &destroy), 0);
	}

	/* Destroying an event ends a wait for it with EIO. */
	uint32_t doomed = create(0);
	struct waiter waiter;
	start(&waiter, 1, doomed);
	struct kfd_ioctl_destroy_event_args destroy = { .event_id = doomed };
	EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_EVENT, &destroy), 0);
	CHECK(result(&waiter) == -EIO);

	/* An age that is not the event's own means that something was missed. */
	uint32_t aged = create(1);
	CHECK(wait_for(&aged, 1, 1, 0, 1) == TIMEOUT);
	set(aged);
	CHECK(wait_for(&aged, 1, 1, 0, 1) == COMPLETE);
	CHECK(wait_for(&aged, 1, 1, 0, 1) == COMPLETE);
	CHECK(wait_for(&aged, 1, 1, 0, 2) == TIMEOUT);
	return finish();
}
