/* File descriptors over a socket, as CBPF.h has it. */
#define _GNU_SOURCE
#include "CBPF.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int primed_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int s;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s >= 0 && connect(s, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int e = errno;

		close(s);
		errno = e;
		return -1;
	}
	return s;
}

int primed_send(int socket, const void *data, size_t size, int fd)
{
	union control control;
	struct iovec vector = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

long primed_receive(int socket, void *data, size_t size, int *fd)
{
	union control control;
	struct iovec vector = { .iov_base = data, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	long length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (length < 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return length;
	memcpy(fd, CMSG_DATA(header), sizeof(int));
	/* There is room for two in `control`, for alignment's sake; more the kernel has not opened here. */
	if (header->cmsg_len > CMSG_LEN(sizeof(int))) {
		int second;

		memcpy(&second, CMSG_DATA(header) + sizeof(int), sizeof(int));
		close(*fd);
		close(second);
		*fd = -1;
	}
	return length;
}
