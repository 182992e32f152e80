/* load ADDRESS NAME place|ping COUNT WINDOW [BUFFERS]: asks COUNT times with WINDOW questions under way, and
 * prints the median time of a question, in nanoseconds (with a window: the time of all, by COUNT).
 * About the buffer `game`; or with BUFFERS about 64 of `b0`, `b1`, ..., spread evenly, in turns.
 *
 * load ADDRESS NAME fill COUNT WINDOW: asks once about each of `b0`, `b1`, ... */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

static sd_bus *bus;
static const char *name;
static int pings, fills, fds[64], buffers, asked, answered;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "load: %s: %s\n", what, strerror(-r));
	exit(1);
}

static int on_answer(sd_bus_message *m, void *data, sd_bus_error *error)
{
	(void)data;
	(void)error;
	if (sd_bus_message_is_method_error(m, NULL))
		check(-EBADMSG, sd_bus_message_get_error(m)->message);
	answered++;
	return 0;
}

static int make(int number)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "primed:b%d", number);
	fd = memfd_create(name, MFD_CLOEXEC);
	check(fd, "memfd");
	return fd;
}

static void ask(void)
{
	sd_bus_message *m;
	int fd = fills ? make(asked) : fds[buffers ? asked % 64 : 0];

	if (pings) {
		check(sd_bus_message_new_method_call(bus, &m, name, "/org/primed/Broker1",
						     "org.freedesktop.DBus.Peer", "Ping"), "Ping");
	} else {
		check(sd_bus_message_new_method_call(bus, &m, name, "/org/primed/Broker1",
						     "org.primed.Broker1", "Place"), "Place");
		check(sd_bus_message_append(m, "aha{sv}", 1, fd, 3, "primary-device", "t", (uint64_t)57984,
					    "format", "u", 0x34325258u, "modifier", "t", (uint64_t)0), "hints");
	}
	check(sd_bus_call_async(bus, NULL, m, on_answer, NULL, 0), "call");
	sd_bus_message_unref(m);
	if (fills)
		close(fd);
	asked++;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int words, char **word)
{
	if (words != 6 && words != 7)
		return 2;
	int count = atoi(word[4]), window = atoi(word[5]);
	uint64_t *times = calloc((size_t)count, sizeof(*times)), begin, first;

	name = word[2];
	pings = !strcmp(word[3], "ping");
	fills = !strcmp(word[3], "fill");
	buffers = words == 7 ? atoi(word[6]) : 0;
	for (int i = 0; buffers && i < 64; i++)
		fds[i] = make((int)((long)buffers * i / 64));
	if (!buffers)
		fds[0] = memfd_create("primed:game", MFD_CLOEXEC);
	check(sd_bus_new(&bus), "bus");
	check(sd_bus_set_address(bus, word[1]), "address");
	check(sd_bus_set_bus_client(bus, 1), "client");
	check(sd_bus_negotiate_fds(bus, 1), "fds");
	check(sd_bus_start(bus), "start");
	first = now();
	while (answered < count) {
		begin = now();
		int before = answered;
		while (asked < count && asked - answered < window)
			ask();
		while (answered == before) {
			int r = sd_bus_process(bus, NULL);
			check(r, "process");
			if (r == 0)
				check(sd_bus_wait(bus, UINT64_MAX), "wait");
		}
		times[before] = now() - begin;
	}
	if (window > 1) {
		printf("%llu\n", (unsigned long long)((now() - first) / (unsigned)count));
		return 0;
	}
	qsort(times, (size_t)count, sizeof(*times), by_value);
	printf("%llu\n", (unsigned long long)times[count / 2]);
	return 0;
}
