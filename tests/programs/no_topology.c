/* Makes the KFD topology unreadable. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

DIR *opendir(const char *path)
{
	static DIR *(*real)(const char *);
	if (!real)
		real = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
	if (strstr(path, "/kfd/topology")) {
		errno = EACCES;
		return NULL;
	}
	return real(path);
}
