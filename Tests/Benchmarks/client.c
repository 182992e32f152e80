/* client ADDRESS COUNT: what an answer from the client library's cache costs, beside a bare fstat of the same
 * fd; prints both medians of 31 turns, in picoseconds a call. */
#define _GNU_SOURCE
#include <poll.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define TURNS 31

static int waiting;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void placed(const struct primed_placement *placement, void *data)
{
	(void)placement;
	(void)data;
	waiting = 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *times)
{
	qsort(times, TURNS, sizeof(*times), by_value);
	return times[TURNS / 2];
}

static int learn(struct primed_client *client, const struct primed_query *query)
{
	struct primed_placement p;

	waiting = 1;
	if (primed_client_place(client, query, &p, placed, NULL) != 0)
		return -1;
	while (waiting) {
		struct pollfd wait = {.fd = primed_client_get_fd(client), .events = POLLIN};

		if (poll(&wait, 1, -1) < 0 || primed_client_dispatch(client) < 0)
			return -1;
	}
	return 0;
}

int main(int words, char **word)
{
	if (words != 3)
		return 2;
	struct primed_client_options options = {.address = word[1], .default_device = 57984, .timeout = 60000};
	struct primed_client *client = primed_client_open(&options);
	int fd = memfd_create("primed:game", MFD_CLOEXEC);
	struct primed_query query = {.planes = &fd, .n_planes = 1, .usage = PRIMED_USAGE_SAMPLE,
				     .format = 0x34325258, .modifier = 1};
	uint64_t count = strtoull(word[2], NULL, 10), cached[TURNS], bare[TURNS], began;
	struct primed_placement p;
	struct stat s;

	if (!client || learn(client, &query) < 0)
		return 1;
	for (int turn = 0; turn < TURNS; turn++) {
		began = now();
		for (uint64_t i = 0; i < count; i++)
			if (fstat(fd, &s) < 0)
				return 1;
		bare[turn] = (now() - began) * 1000 / count;
		began = now();
		for (uint64_t i = 0; i < count; i++)
			if (primed_client_place(client, &query, &p, placed, NULL) != 1 || p.is_default)
				return 1;
		cached[turn] = (now() - began) * 1000 / count;
	}
	printf("%llu %llu\n", (unsigned long long)median(cached), (unsigned long long)median(bare));
	primed_client_close(client);
	return 0;
}
