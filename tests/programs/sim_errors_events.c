/* Wrong arguments of the event requests, limits and the event page: as kfd_events.c of Linux
 * 6.12 has them. A child process tries each kind of page. */
#include <sys/wait.h>
#include "sim_ioctls.h"

static int create(uint32_t type, uint64_t page, uint32_t *id)
{
	struct kfd_ioctl_create_event_args args = {
		.event_page_offset = page, .event_type = type, .auto_reset = 1,
	};
	int result = ioctl(kfd, AMDKFD_IOC_CREATE_EVENT, &args);
	if (result == 0 && id)
		*id = args.event_id;
	return result;
}

static int with_id(unsigned long request, uint32_t id)
{
	struct kfd_ioctl_set_event_args args = { .event_id = id };
	return ioctl(kfd, request, &args);
}
#define SET(id) with_id(AMDKFD_IOC_SET_EVENT, id)
#define RESET(id) with_id(AMDKFD_IOC_RESET_EVENT, id)
#define DESTROY(id) with_id(AMDKFD_IOC_DESTROY_EVENT, id)

static uint32_t wait_result;

static int wait_for(const void *data, uint32_t count, int all)
{
	struct kfd_ioctl_wait_events_args args = {
		.events_ptr = (uintptr_t)data, .num_events = count, .wait_for_all = all,
	};
	int result = ioctl(kfd, AMDKFD_IOC_WAIT_EVENTS, &args);
	wait_result = args.wait_result;
	return result;
}

static void requests(void)
{
	uint32_t id = 0, memory = 0;
	EXPECT(SET(4000), EINVAL);
	EXPECT(RESET(4000), EINVAL);
	EXPECT(DESTROY(4000), EINVAL);
	EXPECT(DESTROY(0), EINVAL); /* kfd_event_init_process keeps id 0 */
	EXPECT(ioctl(kfd, AMDKFD_IOC_SET_EVENT, NULL), EFAULT);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, 0, &id), 0);
	EXPECT(DESTROY(id), 0);
	EXPECT(DESTROY(id), EINVAL);
	EXPECT(SET(id), EINVAL);
	/* Only a signal event can be set from the host; any unknown type is "another" event. */
	for (uint32_t type = 1; type < 20; type++) {
		EXPECT(create(type, 0, &memory), 0);
		CHECK((memory >= 0x40000000) == (type != KFD_IOC_EVENT_DEBUG_EVENT));
		EXPECT(SET(memory), EINVAL);
		EXPECT(RESET(memory), EINVAL);
		EXPECT(DESTROY(memory), 0);
	}
}

static void waits(void)
{
	struct kfd_event_data *data = pages(2 * 4096);
	const unsigned room = 4096 / sizeof *data;
	uint32_t id = 0;
	CHECK(munmap((char *)data + 4096, 4096) == 0);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, 0, &id), 0);
	data[0].event_id = id;
	data[1].event_id = 4000;
	EXPECT(wait_for(data, 1, 0), 0);
	CHECK(wait_result == KFD_IOC_WAIT_RESULT_TIMEOUT);
	EXPECT(wait_for(NULL, 0, 0), 0); /* nothing to wait for */
	CHECK(wait_result == KFD_IOC_WAIT_RESULT_COMPLETE);
	EXPECT(wait_for(NULL, 1, 0), EFAULT);
	CHECK(wait_result == KFD_IOC_WAIT_RESULT_FAIL);
	EXPECT(wait_for(data, 2, 0), EINVAL);
	CHECK(wait_result == KFD_IOC_WAIT_RESULT_FAIL);
	EXPECT(wait_for(data, ~0u, 0), ENOMEM);
	/* The list is read one by one: what is wrong first is told. */
	EXPECT(wait_for(data, room + 1, 0), EINVAL);
	for (unsigned i = 0; i < room; i++)
		data[i].event_id = id;
	EXPECT(wait_for(data, room + 1, 0), EFAULT);
	/* A failed wait has taken the signal of an auto-reset event (init_event_waiter). */
	EXPECT(SET(id), 0);
	data[1].event_id = 4000;
	EXPECT(wait_for(data, 2, 0), EINVAL);
	EXPECT(wait_for(data, 1, 0), 0);
	CHECK(wait_result == KFD_IOC_WAIT_RESULT_TIMEOUT);
	EXPECT(DESTROY(id), 0);
}

/* How many signal events there can be, and whether the lowest free id is given out. */
static unsigned limit(void)
{
	uint32_t id = 0, last = 0;
	unsigned count = 0;
	while (create(KFD_IOC_EVENT_SIGNAL, 0, &id) == 0) {
		last = id;
		if (++count > 10000)
			break;
	}
	CHECK(errno == ENOSPC);
	EXPECT(create(KFD_IOC_EVENT_MEMORY, 0, &id), 0); /* needs no slot */
	EXPECT(DESTROY(7), 0);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, 0, &id), 0);
	CHECK(id == 7);
	for (id = 1; id <= last; id++)
		EXPECT(DESTROY(id), 0);
	return count;
}

/* The kernel's own page: 256 slots, more when user space maps more (kfd_event_mmap). */
static void own_page(void)
{
	const off_t offset = (off_t)(2ull << 62);
	CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, kfd, offset) == MAP_FAILED);
	CHECK(errno == EINVAL); /* there is no page before the first event */
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, 0, NULL), 0);
	EXPECT(DESTROY(1), 0);
	CHECK(limit() == 255);
	CHECK(mmap(NULL, 65536, PROT_READ, MAP_SHARED, kfd, offset) == MAP_FAILED);
	CHECK(errno == EINVAL);
	CHECK(mmap(NULL, 32768, PROT_READ, MAP_SHARED, kfd, offset) != MAP_FAILED);
	CHECK(limit() == 4095);
	/* A page of user space comes too late now. */
	uint64_t handle = 0;
	EXPECT(alloc(0x700000000000, 32768, GTT, 0, gpu, &handle), 0);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, handle, NULL), EINVAL);
	EXPECT(release(handle), 0);
}

/* A page that user space brings: kfd_kmap_event_page, kfd_event_page_set. */
static void brought_page(void)
{
	uint64_t small = 0, user = 0, page = 0;
	EXPECT(alloc(0x700000000000, 32768 - 4096, GTT, 0, gpu, &small), 0);
	EXPECT(alloc(0x700000100000, 32768, USERPTR, (uintptr_t)pages(32768), gpu, &user), 0);
	EXPECT(alloc(0x700000200000, 32768, GTT, 0, gpu, &page), 0);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, 0x1234, NULL), EINVAL);   /* no GPU in it */
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, page + 99, NULL), EINVAL); /* no buffer */
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, small, NULL), EINVAL);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, user, NULL), EINVAL);
	uint32_t id = 0;
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, page, &id), 0);
	CHECK(id == 1);
	EXPECT(create(KFD_IOC_EVENT_SIGNAL, page, NULL), EINVAL); /* once only */
	EXPECT(release(page), EPERM); /* it lives as long as the process */
	EXPECT(DESTROY(id), 0);
	CHECK(limit() == 4095);
	EXPECT(release(page), EPERM);
	EXPECT(release(small), 0);
	EXPECT(release(user), 0);
}

/* A process has one page, so each kind has a process. */
static void in_child(void (*part)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		open_gpu();
		part();
		fflush(stdout);
		_exit(failures != 0);
	}
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(status == 0);
}

int main(void)
{
	in_child(own_page);
	in_child(brought_page);
	open_gpu();
	requests();
	waits();
	return finish();
}
