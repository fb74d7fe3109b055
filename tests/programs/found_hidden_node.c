/* Makes the properties of the topology's second GPU unreadable, as the kernel does in a
 * container that was given only the first. Not by fopen: ROCr 5.2 does not survive that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

/* The simulated GPU may be about to make the file. */
static int hidden(const char *path, int flags)
{
	if (!path || flags & O_CREAT || !strstr(path, "/topology/nodes/2/properties"))
		return 0;
	errno = EPERM;
	return 1;
}

#define OPENS(name)                                                                       \
	int name(const char *path, int flags, ...)                                        \
	{                                                                                 \
		va_list more;                                                             \
		va_start(more, flags);                                                    \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;         \
		va_end(more);                                                             \
		int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);            \
		return hidden(path, flags) ? -1 : real(path, flags, mode);                       \
	}

#define OPENS_AT(name)                                                                    \
	int name(int dir, const char *path, int flags, ...)                               \
	{                                                                                 \
		va_list more;                                                             \
		va_start(more, flags);                                                    \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;         \
		va_end(more);                                                             \
		int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, #name);       \
		return hidden(path, flags) ? -1 : real(dir, path, flags, mode);                  \
	}

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
