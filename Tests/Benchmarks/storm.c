/* storm ADDRESS CLIENTS BUFFERS STEPS: what a compositor asks while so many clients resize at once, 60 steps a
 * second: each client comes with so many new buffers a step, the clients one after another within a step. Prints
 * the median of the answers' times and the one that 99 of 100 are within, in nanoseconds. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

#define CLIENTS 64
#define STEP_NS (1000000000u / 60)

static sd_bus *bus;
static uint64_t *times;
static size_t asked, answered;
static pid_t clients[CLIENTS];

/* primed watches who a buffer is of. */
static pid_t make_client(void)
{
	pid_t child = fork();

	check(child, "fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return child;
}

static int on_answer(sd_bus_message *m, void *began, sd_bus_error *error)
{
	uint64_t *time = began;

	(void)error;
	check_reply(m);
	*time = now() - *time;
	answered++;
	return 0;
}

static void ask(int fd, pid_t client)
{
	sd_bus_message *m;

	times[asked] = now();
	check(sd_bus_message_new_method_call(bus, &m, "org.primed.Broker1", "/org/primed/Broker1", "org.primed.Broker1",
					     "Place"), "Place");
	check(sd_bus_message_append(m, "aha{sv}", 1, fd, 4, "primary-device", "t", (uint64_t)57984, "format", "u",
				    0x34325258u, "modifier", "t", (uint64_t)0, "client", "u", (unsigned)client), "hints");
	check(sd_bus_call_async(bus, NULL, m, on_answer, &times[asked], 0), "call");
	sd_bus_message_unref(m);
	asked++;
}

static void process_until(uint64_t then, size_t enough)
{
	while (answered < enough || now() < then) {
		int r = sd_bus_process(bus, NULL);
		uint64_t at = now();

		check(r, "process");
		if (r > 0)
			continue;
		if (answered < asked || at < then)
			check(sd_bus_wait(bus, at < then ? (then - at) / 1000 : UINT64_MAX), "wait");
	}
}

int main(int words, char **word)
{
	if (words != 5)
		return 2;
	unsigned n = (unsigned)atoi(word[2]), buffers = (unsigned)atoi(word[3]), steps = (unsigned)atoi(word[4]);
	int fds[16];
	uint64_t start;

	if (n > CLIENTS || buffers > 16 || !(times = calloc((size_t)n * buffers * steps, sizeof(*times))))
		return 2;
	for (unsigned i = 0; i < n; i++)
		clients[i] = make_client();
	bus = connect_to(word[1]);
	start = now() + STEP_NS;
	for (unsigned turn = 0; turn < n * steps; turn++) {
		for (unsigned i = 0; i < buffers; i++)
			fds[i] = simulated_buffer((unsigned)asked + i);
		process_until(start + (uint64_t)turn * STEP_NS / n, 0);
		for (unsigned i = 0; i < buffers; i++)
			ask(fds[i], clients[turn % n]);
		check(sd_bus_flush(bus), "flush");
		for (unsigned i = 0; i < buffers; i++)
			close(fds[i]);
	}
	process_until(0, asked);
	printf("%llu %llu\n", percentile(times, asked, 50), percentile(times, asked, 99));
	for (unsigned i = 0; i < n; i++)
		kill(clients[i], SIGKILL);
	return 0;
}
