/* readme ADDRESS PRIMARY BUFFER: runs the code for a compositor without the library, of the library's README. The test
 * puts it into readme-place.h (the functions) and readme-defaults.h (the call that names the default). Prints the
 * device, 0 for none. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <systemd/sd-bus.h>

static int answered;

static void use_device(void *buffer, uint64_t device)
{
	printf("%s %llu\n", (char *) buffer, (unsigned long long) device);
	answered = 1;
}

#include "readme-place.h"

static void name_default(sd_bus *bus, dev_t primary)
{
#include "readme-defaults.h"
}

int main(int argc, char **argv)
{
	sd_bus *bus = NULL;
	char name[64];
	int fd, r;

	if (argc != 4 || sd_bus_new(&bus) < 0 || sd_bus_set_address(bus, argv[1]) < 0 ||
	    sd_bus_set_bus_client(bus, 1) < 0 || sd_bus_negotiate_fds(bus, 1) < 0 || sd_bus_start(bus) < 0)
		return 1;
	name_default(bus, strtoull(argv[2], NULL, 10));
	snprintf(name, sizeof(name), "primed:%s", argv[3]);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0 || place(bus, &fd, 1, 0, argv[3]) < 0)
		return 1;
	while (!answered) {
		r = sd_bus_process(bus, NULL);
		if (r < 0 || (r == 0 && sd_bus_wait(bus, UINT64_MAX) < 0))
			return 1;
	}
	sd_bus_flush_close_unref(bus);
	return 0;
}
