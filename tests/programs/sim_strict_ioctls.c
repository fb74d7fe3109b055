/* What a client without ROCm's libraries leaves at its exit.
 *   sim_strict_ioctls clean|leak|child */
#include <sys/wait.h>
#include "sim_ioctls.h"

int main(int argc, char **argv)
{
	uint64_t page = 0, handle = 0;
	const char *mode = argc > 1 ? argv[1] : "";
	open_gpu();
	EXPECT(alloc(0x700000000000, 32768, GTT, 0, gpu, &page), 0);
	struct kfd_ioctl_create_event_args event = { .event_page_offset = page };
	EXPECT(ioctl(kfd, AMDKFD_IOC_CREATE_EVENT, &event), 0);
	EXPECT(alloc(0x700000100000, 12288, GTT, 0, gpu, &handle), 0);
	if (!strcmp(mode, "child")) {
		pid_t child = fork();
		if (child == 0)
			exit(0); /* with handlers */
		int status = -1;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	if (strcmp(mode, "leak"))
		EXPECT(release(handle), 0);
	return finish();
}
