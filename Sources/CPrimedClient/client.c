/* The client: one connection, and one epoll fd over its socket and its timer. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT 500
/* Milliseconds between two tries to connect: twice as many at each. */
#define RETRY_FIRST 500
#define RETRY_LAST 32000
/* Messages handled in one go, so that nobody's signals keep the caller's loop from its own work. */
#define DISPATCH_LIMIT 128

/* Has the epoll fd wake at `usec` of CLOCK_MONOTONIC, which may be past; UINT64_MAX: never. */
static void wake_at(struct primed_client *c, uint64_t usec)
{
	struct itimerspec at = {0};

	if (usec != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(usec / 1000000);
		at.it_value.tv_nsec = (long)(usec % 1000000) * 1000 + 1;
	}
	timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Has the epoll fd wake for what sd-bus waits for now, or for the next try to connect. */
void primed_arm(struct primed_client *c)
{
	struct epoll_event event = {0};
	uint64_t until;
	int events;

	if (!c->bus) {
		wake_at(c, c->retry_at * 1000);
		return;
	}
	if ((events = sd_bus_get_events(c->bus)) < 0)
		return;
	event.events = (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0);
	epoll_ctl(c->epoll, EPOLL_CTL_MOD, sd_bus_get_fd(c->bus), &event);
	wake_at(c, sd_bus_get_timeout(c->bus, &until) > 0 ? until : UINT64_MAX);
}

static int open_bus(const char *address, sd_bus **bus)
{
	int r;

	if (!address)
		return sd_bus_open_system(bus);
	if ((r = sd_bus_new(bus)) < 0)
		return r;
	if ((r = sd_bus_set_address(*bus, address)) < 0 || (r = sd_bus_set_bus_client(*bus, 1)) < 0 ||
	    (r = sd_bus_negotiate_fds(*bus, 1)) < 0 || (r = sd_bus_start(*bus)) < 0)
		*bus = sd_bus_unref(*bus);
	return r;
}

static void disconnect(struct primed_client *c)
{
	sd_bus *bus = c->bus;

	if (!bus)
		return;
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, sd_bus_get_fd(bus), NULL);
	/* Who is called back now and asks again gets the default. */
	c->bus = NULL;
	c->retry_at = primed_now_ms() + RETRY_FIRST;
	c->listening = 0;
	primed_set_owner(c, "");
	primed_forget_all(c);
	primed_end_questions(c);
	sd_bus_close_unref(bus);
}

static int try_to_connect(struct primed_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if ((r = open_bus(c->address, &c->bus)) < 0)
		return r;
	if ((r = primed_listen(c)) < 0 ||
	    (r = epoll_ctl(c->epoll, EPOLL_CTL_ADD, sd_bus_get_fd(c->bus), &event) < 0 ? -errno : 0) < 0)
		c->bus = sd_bus_close_unref(c->bus);
	return r;
}

/* Connects if it is time to try again. */
int primed_reconnect(struct primed_client *c)
{
	uint64_t now = primed_now_ms();
	int r;

	if (now < c->retry_at)
		return -ENOTCONN;
	r = try_to_connect(c);
	c->retry_after = c->retry_after ? c->retry_after * 2 : RETRY_FIRST;
	if (c->retry_after > RETRY_LAST)
		c->retry_after = RETRY_LAST;
	c->retry_at = now + c->retry_after;
	primed_arm(c);
	return r;
}

struct primed_client *primed_client_open(const struct primed_client_options *options)
{
	struct primed_client *c = calloc(1, sizeof(*c));
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if (!c)
		return NULL;
	c->options = *options;
	if (!c->options.timeout)
		c->options.timeout = DEFAULT_TIMEOUT;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = c->epoll < 0 || c->timer < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &event) < 0 ? -errno : 0;
	if (r == 0 && options->address && !(c->address = strdup(options->address)))
		r = -ENOMEM;
	if (r == 0)
		r = primed_reconnect(c);
	/* Until the bus has let us in. */
	if (r >= 0)
		r = sd_bus_get_unique_name(c->bus, &(const char *){NULL});
	if (r < 0) {
		primed_client_close(c);
		errno = -r;
		return NULL;
	}
	/* What sd-bus waits for is another thing now than when it was told to connect. */
	primed_arm(c);
	return c;
}

void primed_client_close(struct primed_client *c)
{
	if (!c)
		return;
	c->closing = true;
	disconnect(c);
	if (c->timer >= 0)
		close(c->timer);
	if (c->epoll >= 0)
		close(c->epoll);
	free(c->address);
	free(c);
}

int primed_client_get_fd(const struct primed_client *c)
{
	return c->epoll;
}

static int process(struct primed_client *c)
{
	int r = 0;

	for (int i = 0; i < DISPATCH_LIMIT && c->bus; i++)
		if ((r = sd_bus_process(c->bus, NULL)) <= 0)
			break;
	/* It works: should it break, the first try comes soon. */
	if (c->listening == LISTENING)
		c->retry_after = 0;
	return r;
}

bool primed_is_connected(struct primed_client *c)
{
	return c->bus && sd_bus_is_ready(c->bus) > 0;
}

int primed_client_dispatch(struct primed_client *c)
{
	bool was_connected = primed_is_connected(c);
	uint64_t expired;

	if (read(c->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		return -1;
	if (!c->bus) {
		primed_reconnect(c);
		return 0;
	}
	if (process(c) < 0) {
		disconnect(c);
		primed_arm(c);
		primed_tell_changed(c);
		errno = ECONNRESET;
		return -1;
	}
	if (!was_connected && primed_is_connected(c))
		primed_tell_changed(c);
	primed_arm(c);
	return 0;
}
