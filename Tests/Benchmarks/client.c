/* client ADDRESS known|refused|absent COUNT: what an answer of the client library costs, beside a bare statx of the
 * same fd; prints both medians of 301 turns, in picoseconds a call. With COUNT 0 it answers 1000 times for callgrind
 * to count what is done in answer(), and in look(). The first question is not measured. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <primed-client.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "bench.h"

#define TURNS 301
#define COUNTED 1000

static struct primed_client *client;
static struct primed_query query = PRIMED_QUERY_INIT;
static int buffer, is_known, is_told;

static void placed(const struct primed_placement *placement, void *data)
{
	(void)placement;
	(void)data;
	is_told = 1;
}

__attribute__((noipa)) static int answer(struct primed_placement *now)
{
	return primed_client_place(client, &query, now, placed, NULL);
}

__attribute__((noipa)) static int look(struct statx *s)
{
	return statx(buffer, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, s);
}

static void learn(void)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;

	if (primed_client_place(client, &query, &now, placed, NULL) != 0)
		return;
	while (!is_told) {
		struct pollfd readable = {.fd = primed_client_get_fd(client), .events = POLLIN};

		if (poll(&readable, 1, -1) < 0 || primed_client_dispatch(client) < 0)
			exit(1);
	}
}

static void answer_often(uint64_t count)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;

	for (uint64_t i = 0; i < count; i++)
		if (answer(&now) != 1 || now.is_default == is_known)
			exit(1);
}

static void look_often(uint64_t count)
{
	struct statx s;

	for (uint64_t i = 0; i < count; i++)
		if (look(&s) < 0)
			exit(1);
}

static uint64_t took(void (*often)(uint64_t), uint64_t count)
{
	uint64_t began = now();

	often(count);
	return (now() - began) * 1000 / count;
}

int main(int words, char **word)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	uint64_t count, ours[TURNS], bare[TURNS];

	if (words != 4)
		return 2;
	options.address = word[1];
	options.default_device = makedev(226, 128);
	options.timeout = 60000;
	is_known = !strcmp(word[2], "known");
	count = strtoull(word[3], NULL, 10);
	buffer = memfd_create("primed:game", MFD_CLOEXEC);
	query.planes = &buffer;
	query.n_planes = 1;
	query.usage = PRIMED_USAGE_SAMPLE;
	query.format = 0x34325258;
	query.modifier = 1;
	client = primed_client_open(&options);
	if (!client)
		return 1;
	learn();
	if (count == 0) {
		answer_often(COUNTED);
		look_often(COUNTED);
		return 0;
	}
	for (int turn = 0; turn < TURNS; turn++) {
		bare[turn] = took(look_often, count);
		ours[turn] = took(answer_often, count);
	}
	printf("%llu %llu\n", percentile(ours, TURNS, 50), percentile(bare, TURNS, 50));
	primed_client_close(client);
	return 0;
}
