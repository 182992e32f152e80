/* What an fd is, asked without asking its file system. */
#define _GNU_SOURCE
#include "CShims.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool look(int fd, struct statx *s)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, s) == 0;
}

int primed_identity(int fd, dev_t *device, ino_t *inode)
{
	struct statx s;

	if (!look(fd, &s))
		return -1;
	*device = makedev(s.stx_dev_major, s.stx_dev_minor);
	*inode = s.stx_ino;
	return 0;
}

bool primed_has_no_type(int fd)
{
	struct statx s;

	return look(fd, &s) && !(s.stx_mode & S_IFMT);
}
