/* Opening, dispatching and closing a client. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <syslog.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT 500
/* The most messages that are handled in one call, so that a flood of signals does not stop the
 * caller's loop. */
#define DISPATCH_LIMIT 128

static int take_options(struct primed_client *c, const struct primed_client_options *options)
{
	size_t size = options->size < sizeof(*options) ? options->size : sizeof(*options);

	if (options->size < offsetof(struct primed_client_options, first_fd))
		return -EINVAL;
	memcpy(&c->options, options, size);
	if (!c->options.timeout)
		c->options.timeout = DEFAULT_TIMEOUT;
	if (c->options.address && !(c->address = strdup(c->options.address)))
		return -ENOMEM;
	c->options.address = NULL;
	return 0;
}

static int begin(struct primed_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if ((r = c->epoll = primed_move_fd(c, epoll_create1(EPOLL_CLOEXEC))) < 0 ||
	    (r = c->timer = primed_move_fd(
		     c, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))) < 0)
		return r;
	if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &event) < 0)
		return -errno;
	c->give_up_at = primed_now_ms() + c->options.timeout;
	r = primed_connect(c);
	/* Other errors may be temporary. */
	return r == -EINVAL || r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : 0;
}

struct primed_client *primed_client_open(const struct primed_client_options *options)
{
	struct primed_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return NULL;
	c->epoll = c->timer = -1;
	if ((r = take_options(c, options)) < 0 || (r = begin(c)) < 0) {
		primed_client_close(c);
		errno = -r;
		return NULL;
	}
	return c;
}

void primed_client_close(struct primed_client *c)
{
	if (!c)
		return;
	c->closing = true;
	primed_disconnect(c, ECANCELED);
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

	for (int i = 0; i < DISPATCH_LIMIT && !c->broken; i++)
		if ((r = sd_bus_process(c->bus, NULL)) <= 0)
			break;
	/* The connection works: if it is lost, the first attempt comes soon. */
	if (c->listening == LISTENING)
		c->retry_after = 0;
	return c->broken ? -ENOBUFS : r;
}

static int lose(struct primed_client *c)
{
	uint64_t pause = c->retry_after;

	primed_disconnect(c, ENOTCONN);
	if (pause)
		c->retry_at = primed_now_ms() + pause;
	primed_arm(c);
	primed_tell_changed(c, 0);
	errno = ECONNRESET;
	return -1;
}

int primed_client_dispatch(struct primed_client *c)
{
	uint64_t expired;

	if (read(c->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		return -1;
	if (!c->bus)
		primed_connect(c);
	else if (process(c) < 0)
		return lose(c);
	primed_expire_questions(c);
	if (c->state == CONNECTING && primed_now_ms() >= c->give_up_at) {
		primed_log(c, LOG_WARNING, "primed is not there after %u ms", c->options.timeout);
		primed_become_absent(c, ETIMEDOUT);
	}
	primed_arm(c);
	return 0;
}

static bool is_readable(const struct primed_client *c, uint64_t timeout)
{
	struct pollfd readable = {.fd = c->epoll, .events = POLLIN};

	return poll(&readable, 1, (int)timeout) > 0;
}

void primed_catch_up(struct primed_client *c)
{
	uint64_t now = primed_now_ms(), until = now + c->options.timeout;
	bool is_connecting = false;

	while (now < until && is_readable(c, is_connecting ? until - now : 0)) {
		if (primed_client_dispatch(c) < 0)
			return;
		is_connecting = c->bus && c->listening < LISTENING;
		now = primed_now_ms();
	}
}
