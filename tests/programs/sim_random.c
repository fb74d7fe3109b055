/* Any bytes as the arguments of any request: an errno or success, never a crash or a hang.
 *   sim_random SEED COUNT */
#include "sim_ioctls.h"

static uint64_t state;

/* xorshift64 */
static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t handles[16];
static char *memory;

/* Half of all values are such that something comes of them. */
static uint64_t value(void)
{
	const uint64_t known[] = {
		0, 1, 2, 7, 100, 4096, 8192, 65536, 1ull << 32, 1ull << 47, ~0ull, gpu,
		(uint64_t)gpu << 32, (uintptr_t)memory, (uintptr_t)memory + 4096,
		(uintptr_t)memory + 8, (uint64_t)kfd, handles[next() % 16], 0x700000000000,
		VRAM | GTT, (uint64_t)USERPTR << 32 | gpu, (uint64_t)gpu | (uint64_t)VRAM << 32,
		(uint64_t)gpu | (uint64_t)GTT << 32, 100ull << 32 | 2, 15,
	};
	return next() % 2 ? known[next() % (sizeof known / sizeof *known)] : next();
}

int main(int argc, char **argv)
{
	state = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 1;
	unsigned count = argc > 2 ? atoi(argv[2]) : 1000, done = 0;
	open_gpu();
	memory = pages(1 << 16);
	for (unsigned i = 0; i < count; i++) {
		union {
			uint64_t words[32];
			struct kfd_ioctl_wait_events_args wait;
			struct kfd_ioctl_alloc_memory_of_gpu_args alloc;
			struct kfd_ioctl_create_queue_args queue;
		} args;
		unsigned nr = next() % 0x29, size = next() % 8 ? 4 + next() % 160 : next() % 256;
		for (unsigned word = 0; word < 32; word++)
			args.words[word] = value();
		if (nr == 0x0c) {
			args.wait.timeout = 0; /* it may wait as long as it is told to */
			size = sizeof args.wait;
		}
		if (nr == 0x16 && next() % 2) {
			size = sizeof args.alloc;
			args.alloc.gpu_id = gpu;
		}
		unsigned long request = _IOC(next() % 4, 'K', nr, size);
		int result = ioctl(kfd, request, next() % 32 ? &args : (void *)value());
		CHECK(result == 0 || (result == -1 && errno > 0 && errno < 525));
		done += result == 0;
		if (nr == 0x16 && result == 0)
			handles[next() % 16] = args.alloc.handle;
	}
	CHECK(done > count / 100); /* not all of it is refused at the door */
	return finish();
}
