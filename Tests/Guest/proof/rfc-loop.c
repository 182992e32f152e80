/*
 * rfc-loop NODE...: the loop that the RFC of DRM_PRIME_FD_TO_HANDLE_NO_MOVE describes for compositors, with the
 * DMA-BUF on standard input. Tries every device with the flag and uses the first that succeeds; else imports without
 * it on the first, the primary one, knowing that the buffer may move.
 *
 * Prints a line: the node, and `in-place` or `may-move`; or `-` if the buffer could not be imported.
 */
#include <drm.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef DRM_PRIME_FD_TO_HANDLE_NO_MOVE
#define DRM_PRIME_FD_TO_HANDLE_NO_MOVE (1 << 0)
#endif

/* Whether it succeeded. The import is the process's, for as long as that lives. */
static int import(const char *node, unsigned int flags)
{
	struct drm_prime_handle prime = {.fd = STDIN_FILENO, .flags = flags};
	int drm = open(node, O_RDWR | O_CLOEXEC);

	ioctl(drm, DRM_IOCTL_DROP_MASTER, 0);
	return drm >= 0 && !ioctl(drm, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);
}

int main(int count, char **nodes)
{
	for (int i = 1; i < count; i++) {
		if (import(nodes[i], DRM_PRIME_FD_TO_HANDLE_NO_MOVE)) {
			printf("%s in-place\n", nodes[i]);
			return 0;
		}
	}
	if (count > 1 && import(nodes[1], 0))
		printf("%s may-move\n", nodes[1]);
	else
		printf("-\n");
	return 0;
}
