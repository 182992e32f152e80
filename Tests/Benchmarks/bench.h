/* What the programs here share: the clock, errors, a bus, buffers, the middle of many times. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <systemd/sd-bus.h>
#include <time.h>

static inline uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(1);
}

/* Ends the program with the message of an error reply. */
static inline void check_reply(sd_bus_message *reply)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	if (!error)
		return;
	fprintf(stderr, "%s\n", error->message);
	exit(1);
}

static inline sd_bus *connect_to(const char *address)
{
	sd_bus *bus;

	check(sd_bus_new(&bus), "bus");
	check(sd_bus_set_address(bus, address), "address");
	check(sd_bus_set_bus_client(bus, 1), "client");
	check(sd_bus_negotiate_fds(bus, 1), "fds");
	check(sd_bus_start(bus), "start");
	return bus;
}

/* What a simulated machine takes for its buffer b`number`. */
static inline int simulated_buffer(unsigned number)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "primed:b%u", number);
	fd = memfd_create(name, MFD_CLOEXEC);
	check(fd, "memfd");
	return fd;
}

static inline int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The one that `part` of 100 are not above. */
static inline unsigned long long percentile(uint64_t *times, size_t count, unsigned part)
{
	qsort(times, count, sizeof(*times), by_value);
	return times[count * part / 100];
}

#endif
