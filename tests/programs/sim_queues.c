/* AQL queues, raw: packets are done in order, barriers wait, and after DESTROY_QUEUE nothing
 * touches the ring. */
#include "sim_kfd.h"

struct signal { /* amd_signal_t */
	int64_t kind;
	volatile int64_t value;
	uint64_t mailbox;
	uint32_t event_id, reserved;
	uint64_t start, end, queue;
	uint32_t more[2];
};
_Static_assert(sizeof(struct signal) == 64, "amd_signal_t");

struct packet {
	uint16_t header, reserved;
	uint32_t reserved1;
	uint64_t dependencies[5];
	uint64_t reserved2, completion;
};
_Static_assert(sizeof(struct packet) == 64, "barrier packet");

enum { INVALID = 1, AND = 3, OR = 5, PACKETS = 64 };

static struct packet *ring;
static volatile uint64_t *write_index, *read_index;

static uint32_t create(void)
{
	struct kfd_ioctl_create_queue_args args = {
		.ring_base_address = (uintptr_t)ring,
		.write_pointer_address = (uintptr_t)write_index,
		.read_pointer_address = (uintptr_t)read_index,
		.ring_size = PACKETS * sizeof *ring,
		.gpu_id = gpu,
		.queue_type = KFD_IOC_QUEUE_TYPE_COMPUTE_AQL,
		.queue_percentage = 100,
		.queue_priority = 7,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_QUEUE, &args), 0);
	return args.queue_id;
}

static void destroy(uint32_t id)
{
	struct kfd_ioctl_destroy_queue_args args = { .queue_id = id };
	EXPECT(ioctl(kfd, AMDKFD_IOC_DESTROY_QUEUE, &args), 0);
}

static void barrier(int kind, struct signal *one, struct signal *two, struct signal *completion)
{
	struct packet *packet = &ring[*write_index % PACKETS];
	memset(packet, 0, sizeof *packet);
	packet->dependencies[0] = (uintptr_t)one;
	packet->dependencies[3] = (uintptr_t)two;
	packet->completion = (uintptr_t)completion;
	__atomic_store_n(&packet->header, kind, __ATOMIC_RELEASE);
	__atomic_add_fetch(write_index, 1, __ATOMIC_SEQ_CST);
}

#define EVENT_PAGE 0x200000000ull

/* A buffer for the slots of events, as libhsakmt makes it; gives its handle. */
static uint64_t page(void)
{
	struct kfd_ioctl_alloc_memory_of_gpu_args memory = {
		.va_addr = EVENT_PAGE,
		.size = 32768,
		.gpu_id = gpu,
		.flags = KFD_IOC_ALLOC_MEM_FLAGS_GTT | KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, &memory), 0);
	struct kfd_ioctl_map_memory_to_gpu_args map = {
		.handle = memory.handle, .device_ids_array_ptr = (uintptr_t)&gpu, .n_devices = 1,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_MAP_MEMORY_TO_GPU, &map), 0);
	return memory.handle;
}

/* Whether a signal reaches zero within ten seconds. */
static int completes(struct signal *signal)
{
	for (int i = 0; i < 10000 && signal->value; i++)
		usleep(1000);
	return signal->value == 0;
}

static struct signal *signals; /* one page of them */

static struct signal *reset(int index, int64_t value)
{
	signals[index] = (struct signal){ .kind = 1, .value = value };
	return &signals[index];
}

int main(void)
{
	open_gpu();
	ring = pages(PACKETS * sizeof *ring);
	write_index = pages(4096);
	read_index = write_index + 64;
	signals = gpu_pages(4096);
	for (int i = 0; i < PACKETS; i++)
		ring[i].header = INVALID;

	uint32_t queue = create();
	struct signal *done = reset(0, 1), *first = reset(1, 1), *second = reset(2, 1);
	barrier(AND, NULL, NULL, done);
	CHECK(completes(done));
	CHECK(done->end > done->start && done->start > 0);
	CHECK(*read_index == 1);

	done = reset(0, 1);
	barrier(AND, first, second, done);
	usleep(20000);
	CHECK(done->value == 1); /* neither is zero */
	first->value = 0;
	usleep(20000);
	CHECK(done->value == 1); /* only one is */
	second->value = 0;
	CHECK(completes(done));

	done = reset(0, 1), first = reset(1, 1), second = reset(2, 1);
	barrier(OR, first, second, done);
	usleep(20000);
	CHECK(done->value == 1);
	second->value = 0;
	CHECK(completes(done));

	/* A completion with a mailbox is an interrupt: the mailbox is the event's slot. */
	struct kfd_ioctl_create_event_args event = { .auto_reset = 1, .event_page_offset = page() };
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_EVENT, &event), 0);
	uint64_t mailbox = EVENT_PAGE + 8 * event.event_slot_index;
	done = reset(0, 1);
	done->mailbox = mailbox;
	done->event_id = event.event_id;
	barrier(AND, NULL, NULL, done);
	struct kfd_event_data data = { .event_id = event.event_id };
	struct kfd_ioctl_wait_events_args wait = {
		.events_ptr = (uintptr_t)&data, .num_events = 1, .timeout = 10000,
	};
	EXPECT(ioctl(kfd, AMDKFD_IOC_WAIT_EVENTS, &wait), 0);
	CHECK(wait.wait_result == KFD_IOC_WAIT_RESULT_COMPLETE);
	destroy(queue);

	/* Destroy in the middle of work, then take the memory away at once. */
	for (int round = 0; round < 300; round++) {
		size_t size = PACKETS * sizeof *ring;
		ring = pages(size);
		for (int i = 0; i < PACKETS; i++)
			ring[i].header = INVALID;
		*write_index = *read_index = 0;
		queue = create();
		done = reset(3, PACKETS - 1);
		for (int i = 0; i < PACKETS - 1; i++)
			barrier(AND, NULL, NULL, done);
		if (round % 3)
			usleep(round % 7 * 10);
		destroy(queue);
		CHECK(munmap(ring, size) == 0);
	}
	return finish();
}
