/* What a queue does with an address that is not there and with a packet that is none: the
 * program is told by an exception event, and the GPU does nothing more for it; and that a queue
 * which is never idle can be destroyed. One case for each process: the argument says which. */
#include <time.h>
#include "sim_kfd.h"

enum { WORDS = 1024, MEMORY = 8, HW_EXCEPTION = 3 };
enum { SDMA_WRITE = 2, SDMA_PTEPDE = 12 };

static uint32_t *ring;
static volatile uint64_t *pointers;
static uint32_t queue;

static volatile uint64_t *create(int type)
{
	ring = pages(WORDS * 4);
	pointers = pages(4096);
	struct kfd_ioctl_create_queue_args args = {
		.ring_base_address = (uintptr_t)ring,
		.write_pointer_address = (uintptr_t)&pointers[0],
		.read_pointer_address = (uintptr_t)&pointers[1],
		.ring_size = WORDS * 4,
		.gpu_id = gpu,
		.queue_type = type,
		.queue_percentage = 100,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_QUEUE, &args), 0);
	queue = args.queue_id;
	uint64_t in_page = args.doorbell_offset & 8191;
	char *doorbells = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, kfd,
			       (off_t)(args.doorbell_offset - in_page));
	CHECK(doorbells != MAP_FAILED);
	return (volatile uint64_t *)(doorbells + in_page);
}

static void destroy(void)
{
	struct kfd_ioctl_destroy_queue_args args = { .queue_id = queue };
	EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_QUEUE, &args), 0);
}

static struct kfd_event_data wait_for(uint32_t kind)
{
	struct kfd_ioctl_create_event_args event = { .event_type = kind, .auto_reset = 1 };
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_EVENT, &event), 0);
	/* The bell rings when the wait is sure to find the event. */
	struct kfd_event_data data = { .event_id = event.event_id };
	struct kfd_ioctl_wait_events_args wait = {
		.events_ptr = (uintptr_t)&data, .num_events = 1, .timeout = 1,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_WAIT_EVENTS, &wait), 0);
	CHECK(wait.wait_result == KFD_IOC_WAIT_RESULT_TIMEOUT);
	return data;
}

static void expect(struct kfd_event_data *data)
{
	struct kfd_ioctl_wait_events_args wait = {
		.events_ptr = (uintptr_t)data, .num_events = 1, .timeout = 10000,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_WAIT_EVENTS, &wait), 0);
	CHECK(wait.wait_result == KFD_IOC_WAIT_RESULT_COMPLETE);
}

/* Nothing runs any more on the GPU, and nothing hangs either. */
static void expect_stopped(void)
{
	uint32_t *target = gpu_pages(4096);
	volatile uint64_t *bell = create(KFD_IOC_QUEUE_TYPE_SDMA);
	memcpy(ring, (uint32_t[]){ SDMA_WRITE, (uintptr_t)target, (uintptr_t)target >> 32, 0, 1 }, 20);
	*bell = 20;
	usleep(50000);
	CHECK(*target == 0 && pointers[1] == 0);
}

static void fault(uint64_t va, int read_only)
{
	volatile uint64_t *bell = create(KFD_IOC_QUEUE_TYPE_COMPUTE);
	struct kfd_event_data data = wait_for(MEMORY);
	memcpy(ring, (uint32_t[]){ 0xc0033700, 5 << 8, va, va >> 32, 1 }, 20); /* WRITE_DATA */
	*bell = 5;
	expect(&data);
	CHECK(data.memory_exception_data.va == (va & ~4095ull));
	CHECK(data.memory_exception_data.gpu_id == gpu);
	CHECK(data.memory_exception_data.failure.NotPresent == !read_only);
	CHECK(data.memory_exception_data.failure.ReadOnly == !!read_only);
	CHECK(pointers[1] == 0);
	expect_stopped();
}

static void unknown(void)
{
	volatile uint64_t *bell = create(KFD_IOC_QUEUE_TYPE_SDMA);
	struct kfd_event_data data = wait_for(HW_EXCEPTION);
	ring[0] = SDMA_PTEPDE;
	*bell = 4;
	expect(&data);
	CHECK(data.hw_exception_data.memory_lost == 1);
	CHECK(data.hw_exception_data.gpu_id == gpu);
	expect_stopped();
}

/* An indirect buffer that goes to itself: never idle, and its queue is destroyed at once. */
static void endless(void)
{
	uint32_t *buffer = gpu_pages(4096);
	const uint32_t low = (uintptr_t)buffer, high = (uintptr_t)buffer >> 32;
	memcpy(buffer, (uint32_t[]){ 0xc0023f00, low, high, 4 | 1 << 20 | 1 << 23 }, 16);
	for (int round = 0; round < 100; round++) {
		volatile uint64_t *bell = create(KFD_IOC_QUEUE_TYPE_COMPUTE);
		memcpy(ring, (uint32_t[]){ 0xc0023f00, low, high, 4 | 1 << 23 }, 16);
		*bell = 4;
		usleep(2000);
		struct timespec before, after;
		clock_gettime(CLOCK_MONOTONIC, &before);
		destroy();
		clock_gettime(CLOCK_MONOTONIC, &after);
		CHECK(after.tv_sec - before.tv_sec < 2);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	open_gpu();
	if (!strcmp(what, "not-mapped"))
		fault((uintptr_t)pages(4096) + 8, 0);
	if (!strcmp(what, "nowhere"))
		fault(0x12345678, 0);
	if (!strcmp(what, "read-only")) {
		void *page = gpu_pages(4096);
		CHECK(mprotect(page, 4096, PROT_READ) == 0);
		fault((uintptr_t)page, 1);
	}
	if (!strcmp(what, "endless"))
		endless();
	if (!strcmp(what, "unknown"))
		unknown();
	return finish();
}
