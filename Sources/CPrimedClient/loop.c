/* The client's fd, callbacks and log. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Makes the epoll fd readable at `usec` of CLOCK_MONOTONIC, which may be past; UINT64_MAX:
 * never. */
static void wake_at(struct primed_client *c, uint64_t usec)
{
	struct itimerspec at = {0};

	if (usec != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(usec / 1000000);
		at.it_value.tv_nsec = (long)(usec % 1000000) * 1000 + 1;
	}
	timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static uint64_t sooner(uint64_t usec, uint64_t ms)
{
	return ms * 1000 < usec ? ms * 1000 : usec;
}

void primed_arm(struct primed_client *c)
{
	struct epoll_event event = {0};
	uint64_t until = UINT64_MAX, others;
	int events;

	if (c->bus && (events = sd_bus_get_events(c->bus)) >= 0) {
		event.events = (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0);
		epoll_ctl(c->epoll, EPOLL_CTL_MOD, sd_bus_get_fd(c->bus), &event);
		if (sd_bus_get_timeout(c->bus, &others) > 0)
			until = others;
	}
	if (c->questions)
		until = sooner(until, c->questions->asked_at + c->options.timeout);
	if (!c->bus)
		until = sooner(until, c->retry_at);
	if (c->state == CONNECTING)
		until = sooner(until, c->give_up_at);
	wake_at(c, until);
}

int primed_move_fd(const struct primed_client *c, int fd)
{
	int high, error;

	if (fd < 0)
		return -errno;
	if (fd >= c->options.first_fd)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, c->options.first_fd);
	error = errno;
	close(fd);
	return high < 0 ? -error : high;
}

/* A line that equals the last one is not logged again. */
void primed_log(struct primed_client *c, int priority, const char *format, ...)
{
	char text[sizeof(c->logged)];
	va_list words;

	if (!c->options.on_log || c->closing)
		return;
	va_start(words, format);
	vsnprintf(text, sizeof(text), format, words);
	va_end(words);
	if (strcmp(text, c->logged) == 0)
		return;
	memcpy(c->logged, text, sizeof(text));
	c->options.on_log(priority, text, c->options.data);
}

void primed_tell_changed(struct primed_client *c, uint64_t buffer)
{
	if (c->options.on_changed && !c->closing)
		c->options.on_changed(buffer, c->options.data);
}

void primed_forget_all(struct primed_client *c)
{
	c->epoch++;
	c->generation = 0;
	primed_cache_clear(&c->cache);
}
