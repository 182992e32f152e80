/* PRIME imports with the NO_MOVE flag, on kernels with and without it. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "prime.h"

static int import(int drm_fd, int dmabuf_fd, uint32_t flags, uint32_t *handle)
{
	struct prime_handle prime = {.flags = flags, .fd = dmabuf_fd};
	int r;

	do
		r = ioctl(drm_fd, PRIME_FD_TO_HANDLE, &prime);
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r == 0)
		*handle = prime.handle;
	return r;
}

int primed_prime_fd_to_handle_no_move(struct primed_client *c, int drm_fd, int dmabuf_fd,
				      uint32_t *handle)
{
	struct primed_query query = PRIMED_QUERY_INIT;
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct stat node;
	uint32_t access;
	int known;

	if (fstat(drm_fd, &node) < 0)
		return -1;
	if (!S_ISCHR(node.st_mode) || major(node.st_rdev) != DRM_MAJOR)
		return primed_fail(ENOTTY);
	query.planes = &dmabuf_fd;
	query.n_planes = 1;
	query.verdicts = true;
	if ((known = primed_wait_for_access(c, &query, node.st_rdev, &now, &access)) < 0)
		return primed_fail(errno == EBADF ? EBADF : EINVAL);
	if (primed_honours_no_move(&c->devices, node.st_rdev))
		return import(drm_fd, dmabuf_fd, PRIME_NO_MOVE, handle);
	if (!known || (access != PRIMED_ACCESS_NATIVE && access != PRIMED_ACCESS_IN_PLACE))
		return primed_fail(EINVAL);
	return import(drm_fd, dmabuf_fd, 0, handle);
}
