/* The simulated files through every libc function that ROCm, and others, use on them. */
#include "sim_kfd.h"
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NODE "/sys/class/kfd/kfd/topology/nodes/1"

static int contains(FILE *file, const char *text)
{
	char buffer[8192];
	if (!file)
		return 0;
	size_t size = fread(buffer, 1, sizeof buffer - 1, file);
	buffer[size] = 0;
	return strstr(buffer, text) != NULL;
}

static int is_device(const struct stat *st, unsigned major, unsigned minor)
{
	return S_ISCHR(st->st_mode) && major(st->st_rdev) == major && minor(st->st_rdev) == minor;
}

/* What binaries that were built with a glibc before 2.33 call. */
int __xstat(int version, const char *path, struct stat *st);
int __lxstat(int version, const char *path, struct stat *st);
int __fxstat(int version, int fd, struct stat *st);

int main(void)
{
	void *volatile nowhere = NULL; /* volatile: the compiler must not see the NULL */
	struct stat st;
	struct statx stx;
	char buffer[PATH_MAX];

	FILE *file = fopen(NODE "/properties", "r");
	CHECK(contains(file, "gfx_target_version 100300\n"));
	file = freopen(NODE "/gpu_id", "r", file);
	CHECK(contains(file, "\n"));
	fclose(file);
	EXPECT(fopen(NODE "/properties", "w") ? 0 : -1, EACCES);
	EXPECT(open(NODE "/properties", O_RDWR), EACCES);
	EXPECT(open(NODE "/nothing", O_RDONLY), ENOENT);
	EXPECT(access(NODE "/nothing", R_OK), ENOENT);
	EXPECT(access(NODE "/properties", R_OK), 0);
	EXPECT(access("/dev/kfd", R_OK | W_OK), 0);
	EXPECT(faccessat(AT_FDCWD, "/dev/dri/renderD128", R_OK, 0), 0);
	EXPECT(eaccess("/dev/kfd", R_OK), 0);

	EXPECT(stat("/dev/kfd", &st), 0);
	CHECK(S_ISCHR(st.st_mode));
	EXPECT(stat("/dev/dri/renderD128", &st), 0);
	CHECK(is_device(&st, 226, 128));
	EXPECT(lstat("/dev/dri/card0", &st), 0);
	CHECK(is_device(&st, 226, 0));
	EXPECT(__xstat(1, "/dev/dri/renderD128", &st), 0);
	CHECK(is_device(&st, 226, 128));
	EXPECT(__lxstat(1, "/sys/class/kfd/kfd", &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	EXPECT(__xstat(9, "/dev/kfd", &st), EINVAL);
	EXPECT(statx(AT_FDCWD, "/dev/dri/renderD128", 0, STATX_ALL, &stx), 0);
	CHECK(S_ISCHR(stx.stx_mode) && stx.stx_rdev_major == 226 && stx.stx_rdev_minor == 128);
	EXPECT(stat("/sys/dev/char/226:128/device/drm", &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	EXPECT(stat("/dev/dri/renderD999", &st), ENOENT);
	EXPECT(stat("/dev/kfd", nowhere), EFAULT);

	int fd = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	EXPECT(fstat(fd, &st), 0);
	CHECK(is_device(&st, 226, 128));
	EXPECT(__fxstat(1, fd, &st), 0);
	CHECK(is_device(&st, 226, 128));
	EXPECT(statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &stx), 0);
	CHECK(S_ISCHR(stx.stx_mode));
	EXPECT(fstat(-100 /* AT_FDCWD */, &st), EBADF);

	/* Duplicates are the device, too; a number that was reused is not. */
	struct kfd_ioctl_get_version_args version;
	int kfd_fd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
	int copies[4] = { dup(kfd_fd), fcntl(kfd_fd, F_DUPFD_CLOEXEC, 100), dup2(kfd_fd, 200),
			  dup3(kfd_fd, 201, O_CLOEXEC) };
	for (int i = 0; i < 4; i++) {
		EXPECT(ioctl(copies[i], AMDKFD_IOC_GET_VERSION, &version), 0);
		CHECK(version.major_version == 1);
		close(copies[i]);
		EXPECT(ioctl(copies[i], AMDKFD_IOC_GET_VERSION, &version), EBADF);
	}
	int null = open("/dev/null", O_RDWR);
	CHECK(dup2(null, kfd_fd) == kfd_fd);
	EXPECT(ioctl(kfd_fd, AMDKFD_IOC_GET_VERSION, &version), ENOTTY);
	EXPECT(fstat(kfd_fd, &st), 0);
	CHECK(is_device(&st, 1, 3));

	int found = 0;
	DIR *directory = opendir("/dev/dri");
	CHECK(directory != NULL);
	for (struct dirent *entry; directory && (entry = readdir(directory));)
		found += !strcmp(entry->d_name, "renderD128") || !strcmp(entry->d_name, "card0");
	CHECK(found == 2);
	/* Relative to a directory of the simulated tree. */
	int relative = openat(dirfd(directory), "renderD128", O_RDWR);
	EXPECT(fstat(relative, &st), 0);
	CHECK(is_device(&st, 226, 128));
	EXPECT(fstatat(dirfd(directory), "card0", &st, 0), 0);
	CHECK(is_device(&st, 226, 0));
	closedir(directory);
	struct dirent **names;
	int count = scandir("/sys/class/kfd/kfd/topology/nodes", &names, NULL, alphasort);
	CHECK(count == 4); /* ., .., 0, 1 */

	CHECK(readlink("/sys/class/kfd/kfd", buffer, sizeof buffer) > 0);
	CHECK(!strncmp(buffer, "../../devices/virtual/kfd/kfd", 29));
	CHECK(realpath("/sys/class/kfd/kfd/topology", buffer) == buffer);
	CHECK(!strcmp(buffer, "/sys/devices/virtual/kfd/kfd/topology"));
	char *allocated = realpath("/sys/class/drm/renderD128/device", NULL);
	CHECK(allocated && !strcmp(allocated, "/sys/devices/pci0000:00/0000:03:00.0"));
	free(allocated);
	CHECK(realpath("/dev/dri/nothing", buffer) == NULL && errno == ENOENT);

	/* Everything else is untouched, errno of a success included. */
	errno = 77;
	CHECK(stat("/", &st) == 0 && S_ISDIR(st.st_mode));
	fd = open("/dev/null", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
	fd = open("/dev/kfd", O_RDWR);
	CHECK(ioctl(fd, AMDKFD_IOC_GET_VERSION, &version) == 0 && close(fd) == 0);
	CHECK(errno == 77);
	EXPECT(open("/nonexistent/file", O_RDONLY), ENOENT);
	EXPECT(open(nowhere, O_RDONLY), EFAULT);
	EXPECT(close(-1), EBADF);
	char temporary[] = "/tmp/sim_filesXXXXXX";
	fd = mkstemp(temporary);
	CHECK(fd >= 0);
	int again = open(temporary, O_RDONLY | O_CREAT, 0640);
	CHECK(again >= 0);
	unlink(temporary);
	fd = open("/tmp", O_TMPFILE | O_RDWR, 0640);
	EXPECT(fstat(fd, &st), 0);
	CHECK((st.st_mode & 0777) == (0640 & ~umask(0)));
	return finish();
}
