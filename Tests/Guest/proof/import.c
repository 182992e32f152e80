/*
 * An import, in a process of its own: some drivers make who touches an imported buffer die of SIGBUS, some hang.
 *
 * The process lives as long as the import. It answers each byte on its socket with an errno: the first without
 * being asked, for the import; each other after it has copied the pixels.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include "proof.h"

#define HANGS 10000 /* milliseconds */

static int import_here(const char *node, int dmabuf)
{
	int drm = open(node, O_RDWR | O_CLOEXEC);
	uint32_t handle;

	if (drm < 0)
		return errno;
	/* Who opens a card first is its master. */
	if (drmGetNodeTypeFromFd(drm) == DRM_NODE_PRIMARY)
		drmDropMaster(drm);
	return drmPrimeFDToHandle(drm, dmabuf, &handle) ? errno : 0;
}

static int copy_pixels(int dmabuf, const struct layout *layout, uint8_t *to)
{
	size_t length = layout->offset + (size_t)layout->stride * layout->height;
	struct dma_buf_sync sync = {DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START};
	uint8_t *from = mmap(NULL, length, PROT_READ, MAP_SHARED, dmabuf, 0);

	if (from == MAP_FAILED)
		return errno;
	ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
	for (int y = 0; y < layout->height; y++)
		memcpy(to + 4 * (size_t)layout->width * y, from + layout->offset + (size_t)layout->stride * y,
		       4 * (size_t)layout->width);
	sync.flags = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END;
	ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
	munmap(from, length);
	return 0;
}

static void serve(int connection, int dmabuf, const char *node, const struct layout *layout, uint8_t *pixels)
{
	enum { SOCKET = 3, DMABUF, FIRST_OTHER };
	int result;
	char request;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What else the compositor has open, other buffers say, must not live as long as this import. */
	dmabuf = fcntl(dmabuf, F_DUPFD, 100);
	dup2(connection, SOCKET);
	dup2(dmabuf, DMABUF);
	close_range(FIRST_OTHER, ~0U, 0);
	result = import_here(node, DMABUF);
	while (write(SOCKET, &result, sizeof(result)) == sizeof(result) && !result &&
	       read(SOCKET, &request, 1) == 1)
		result = copy_pixels(DMABUF, layout, pixels);
	_exit(0);
}

static int answer(struct import *import)
{
	struct pollfd ready = {.fd = import->socket, .events = POLLIN};
	int result;

	if (poll(&ready, 1, HANGS) == 0)
		result = ETIMEDOUT;
	else if (read(import->socket, &result, sizeof(result)) != sizeof(result))
		result = EIO;
	if (result)
		import_end(import);
	return result;
}

int import_begin(struct import *import, const struct device *device, int dmabuf, const struct layout *layout)
{
	int sockets[2];

	*import = (struct import){.length = 4 * (size_t)layout->width * layout->height};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return errno;
	import->pixels = mmap(NULL, import->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (import->pixels == MAP_FAILED)
		abort();
	import->socket = sockets[0];
	import->process = fork();
	if (import->process == 0)
		serve(sockets[1], dmabuf, device->node, layout, import->pixels);
	close(sockets[1]);
	return answer(import);
}

int import_read(struct import *import)
{
	if (!import->process)
		return ENODEV;
	if (write(import->socket, "", 1) != 1)
		return EIO;
	return answer(import);
}

void import_end(struct import *import)
{
	if (!import->process)
		return;
	close(import->socket);
	kill(import->process, SIGKILL);
	waitpid(import->process, NULL, 0);
	import->process = 0;
	/* The pixels stay for who draws them still. */
}
