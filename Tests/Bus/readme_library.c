/* readme_library ADDRESS PRIMARY BUFFER: runs README's code for a compositor, which the test puts into
 * readme-library.h. Prints the device. */
#define _GNU_SOURCE
#include <poll.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int answered;

static void use_device(void *buffer, dev_t device)
{
	printf("%s %llu\n", (char *) buffer, (unsigned long long) device);
	answered = 1;
}

static void on_placed(const struct primed_placement *placement, void *buffer)
{
	use_device(buffer, placement->device);
}

static void place(struct primed_client *primed, const int *fds, unsigned int n_planes, pid_t pid, void *buffer)
{
#include "readme-library.h"
}

int main(int argc, char **argv)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	struct primed_client *primed;
	char name[64];
	int fd;

	if (argc != 4)
		return 1;
	options.address = argv[1];
	options.default_device = strtoull(argv[2], NULL, 10);
	primed = primed_client_open(&options);
	snprintf(name, sizeof(name), "primed:%s", argv[3]);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || !primed)
		return 1;
	place(primed, &fd, 1, getpid(), argv[3]);
	while (!answered) {
		struct pollfd readable = {.fd = primed_client_get_fd(primed), .events = POLLIN};

		if (poll(&readable, 1, -1) < 0 || primed_client_dispatch(primed) < 0)
			return 1;
	}
	primed_client_close(primed);
	return 0;
}
