// fork: a child that uses the GPU first, and a child of a parent that used it already.
//   sim_fork fresh|used
#include <hip/hip_runtime_api.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kfd_ioctl.h>

static int failures;
#define CHECK(condition)                                                              \
	do {                                                                          \
		if (!(condition)) {                                                   \
			printf("line %d: not so: %s (errno %d)\n", __LINE__, #condition, \
			       errno);                                                \
			failures++;                                                   \
		}                                                                     \
	} while (0)

static bool copies()
{
	static unsigned char text[1 << 20], back[1 << 20];
	memset(text, getpid() & 0xff, sizeof text);
	void *p = nullptr;
	return hipMalloc(&p, sizeof text) == hipSuccess &&
	       hipMemcpy(p, text, sizeof text, hipMemcpyHostToDevice) == hipSuccess &&
	       hipMemcpy(back, p, sizeof text, hipMemcpyDeviceToHost) == hipSuccess &&
	       hipFree(p) == hipSuccess && !memcmp(text, back, sizeof text);
}

// Runs a function in a child; gives what it returned.
static int in_child(int (*function)())
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int result = function();
		fflush(stdout);
		_exit(result);
	}
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static int inherited; // a descriptor of /dev/kfd that the parent opened

int main(int argc, char **argv)
{
	kfd_ioctl_get_version_args version = {};
	if (argc > 1 && !strcmp(argv[1], "fresh")) {
		for (int i = 0; i < 3; i++)
			CHECK(in_child([] { return copies() ? 0 : 1; }) == 0);
		CHECK(copies()); // and then the parent
	} else {
		CHECK(copies());
		inherited = open("/dev/kfd", O_RDWR | O_CLOEXEC);
		CHECK(ioctl(inherited, AMDKFD_IOC_GET_VERSION, &version) == 0);
		CHECK(in_child([] {
			      kfd_ioctl_get_version_args version = {};
			      // Only the process that opened it may use it.
			      CHECK(ioctl(inherited, AMDKFD_IOC_GET_VERSION, &version) < 0 && errno == EBADF);
			      int mine = open("/dev/kfd", O_RDWR | O_CLOEXEC);
			      CHECK(ioctl(mine, AMDKFD_IOC_GET_VERSION, &version) == 0);
			      kfd_ioctl_create_event_args event = {};
			      CHECK(ioctl(mine, AMDKFD_IOC_CREATE_EVENT, &event) == 0);
			      CHECK(event.event_id == 1); // none of the parent's are here
			      // HIP of the parent is not usable here, but must fail, not hang.
			      void *p = nullptr;
			      CHECK(hipMalloc(&p, 4 << 20) != hipSuccess);
			      return failures;
		      }) == 0);
		// exec starts over.
		CHECK(in_child([] {
			      execl("/proc/self/exe", "sim_fork", "fresh", (char *)nullptr);
			      return 1;
		      }) == 0);
		CHECK(ioctl(inherited, AMDKFD_IOC_GET_VERSION, &version) == 0);
		CHECK(copies());
	}
	if (!failures)
		puts("OK");
	return failures ? 1 : 0;
}
