/* The client: one connection, what is under way on it, and one epoll fd over its socket and its timer. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Below the 128 replies that a bus lets a connection wait for. */
#define QUESTIONS_LIMIT 100
#define DEFAULT_TIMEOUT 500
/* Milliseconds between two tries to connect. */
#define RECONNECT_AFTER 1000

struct question {
	struct primed_client *client;
	struct question *next, **link;
	sd_bus_slot *slot;
	struct key key;
	/* For an answer that does not come. */
	dev_t fallback;
	/* When it was asked: an answer to something asked before a change is not kept. */
	uint64_t epoch;
	primed_placed placed;
	void *data;
};

struct primed_client {
	struct primed_client_options options;
	char *address;
	sd_bus *bus;
	int epoll, timer;
	struct question *questions;
	unsigned int n_questions;
	/* The generation whose answers hold; 0: not known yet. */
	uint64_t generation;
	/* Counts changes beside those of the generation. */
	uint64_t epoch;
	/* Matches that are in force, of 3: without them no answer may be kept. */
	int listening;
	uint64_t tried;
	struct cache cache;
};

static uint64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct primed_placement default_placement(dev_t device)
{
	return (struct primed_placement){
		.device = device,
		.access = PRIMED_ACCESS_MAY_MOVE,
		.is_default = true,
	};
}

static void forget_all(struct primed_client *c)
{
	c->epoch++;
	c->generation = 0;
	primed_cache_clear(&c->cache);
}

static void tell_changed(struct primed_client *c)
{
	if (c->options.on_changed)
		c->options.on_changed(c->options.data);
}

/* --- questions ---------------------------------------------------------------------------------- */

/* Calls back with `placement`, or with the default where it is NULL. */
static void end_question(struct question *q, const struct primed_placement *placement)
{
	struct primed_client *c = q->client;
	struct primed_placement fallback = default_placement(q->fallback);
	primed_placed placed = q->placed;
	void *data = q->data;

	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	c->n_questions--;
	sd_bus_slot_unref(q->slot);
	free(q);
	placed(placement ? placement : &fallback, data);
}

static void end_all_questions(struct primed_client *c)
{
	while (c->questions)
		end_question(c->questions, NULL);
}

static int on_reply(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct question *q = data;
	struct primed_client *c = q->client;
	struct primed_placement placement;

	(void)error;
	if (primed_read_placement(reply, &placement) < 0) {
		end_question(q, NULL);
		return 0;
	}
	if (c->listening == 3 && q->epoch == c->epoch && placement.generation >= c->generation) {
		c->generation = placement.generation;
		primed_cache_store(&c->cache, &q->key, &placement);
	}
	end_question(q, &placement);
	return 0;
}

/* --- what primed tells ---------------------------------------------------------------------------- */

static int on_invalidated(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;

	(void)error;
	if (sd_bus_message_read(signal, "t", &c->generation) < 0)
		forget_all(c);
	tell_changed(c);
	return 0;
}

static int on_placement_changed(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	uint64_t buffer;

	(void)error;
	c->epoch++;
	if (sd_bus_message_read(signal, "t", &buffer) < 0)
		forget_all(c);
	else
		primed_cache_drop(&c->cache, buffer);
	tell_changed(c);
	return 0;
}

static int on_owner_changed(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	const char *name, *old, *new;

	(void)error;
	if (sd_bus_message_read(signal, "sss", &name, &old, &new) < 0)
		return 0;
	forget_all(data);
	if (*new)
		tell_changed(data);
	return 0;
}

static int on_listening(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;

	(void)error;
	if (!sd_bus_message_is_method_error(reply, NULL))
		c->listening++;
	return 0;
}

static int listen_to_primed(struct primed_client *c)
{
	static const char broker[] = "org.primed.Broker1", path[] = "/org/primed/Broker1";
	int r;

	if ((r = sd_bus_match_signal_async(c->bus, NULL, broker, path, broker, "PlacementsInvalidated",
					   on_invalidated, on_listening, c)) < 0 ||
	    (r = sd_bus_match_signal_async(c->bus, NULL, broker, path, broker, "PlacementChanged",
					   on_placement_changed, on_listening, c)) < 0)
		return r;
	return sd_bus_add_match_async(
		c->bus, NULL,
		"type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
		"interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.primed.Broker1'",
		on_owner_changed, on_listening, c);
}

/* --- the connection ------------------------------------------------------------------------------- */

/* Has the epoll fd wake for what sd-bus waits for now. */
static void arm(struct primed_client *c)
{
	struct itimerspec at = {0};
	struct epoll_event event = {0};
	uint64_t until;
	int events;

	if (!c->bus || (events = sd_bus_get_events(c->bus)) < 0)
		return;
	event.events = (events & POLLIN ? EPOLLIN : 0) | (events & POLLOUT ? EPOLLOUT : 0);
	epoll_ctl(c->epoll, EPOLL_CTL_MOD, sd_bus_get_fd(c->bus), &event);
	if (sd_bus_get_timeout(c->bus, &until) > 0 && until != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(until / 1000000);
		at.it_value.tv_nsec = (long)(until % 1000000) * 1000 + 1;
	}
	timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
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
	if (!c->bus)
		return;
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, sd_bus_get_fd(c->bus), NULL);
	end_all_questions(c);
	c->bus = sd_bus_close_unref(c->bus);
	c->listening = 0;
	forget_all(c);
}

static int reconnect(struct primed_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if (c->tried && monotonic_ms() - c->tried < RECONNECT_AFTER)
		return -ENOTCONN;
	c->tried = monotonic_ms();
	if ((r = open_bus(c->address, &c->bus)) < 0)
		return r;
	if ((r = listen_to_primed(c)) < 0 ||
	    (r = epoll_ctl(c->epoll, EPOLL_CTL_ADD, sd_bus_get_fd(c->bus), &event) < 0 ? -errno : 0) < 0) {
		c->bus = sd_bus_close_unref(c->bus);
		return r;
	}
	arm(c);
	return 0;
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
		r = reconnect(c);
	if (r < 0) {
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

int primed_client_dispatch(struct primed_client *c)
{
	uint64_t expired;
	int r = 0;

	if (read(c->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		return -1;
	while (c->bus && (r = sd_bus_process(c->bus, NULL)) > 0)
		continue;
	if (r < 0) {
		disconnect(c);
		tell_changed(c);
		errno = ECONNRESET;
		return -1;
	}
	arm(c);
	return 0;
}

/* --- asking --------------------------------------------------------------------------------------- */

static int ask(struct primed_client *c, const struct primed_query *query, struct question *q)
{
	sd_bus_message *call;
	int r = primed_write_place(c->bus, query, &call);

	if (r < 0)
		return r;
	r = sd_bus_call_async(c->bus, &q->slot, call, on_reply, q, (uint64_t)c->options.timeout * 1000);
	sd_bus_message_unref(call);
	return r;
}

static void enlist(struct primed_client *c, struct question *q)
{
	q->next = c->questions;
	q->link = &c->questions;
	if (q->next)
		q->next->link = &q->next;
	c->questions = q;
	c->n_questions++;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

int primed_client_place(struct primed_client *c, const struct primed_query *query,
			struct primed_placement *now, primed_placed placed, void *data)
{
	const struct primed_placement *known;
	struct primed_query full = *query;
	struct question *q;
	struct key key;
	int r;

	if (!query->n_planes || query->n_planes > PRIMED_MAX_PLANES)
		return fail(EINVAL);
	if (!full.primary_device)
		full.primary_device = c->options.default_device;
	if (primed_key_of(&full, &key) < 0)
		return -1;
	if (!full.fresh && (known = primed_cache_find(&c->cache, &key, c->generation))) {
		*now = *known;
		return 1;
	}
	if (!c->bus && reconnect(c) < 0) {
		*now = default_placement(full.primary_device);
		return 1;
	}
	if (c->n_questions >= QUESTIONS_LIMIT)
		return fail(EBUSY);
	if (!(q = malloc(sizeof(*q))))
		return fail(ENOMEM);
	*q = (struct question){.client = c, .key = key, .fallback = full.primary_device, .epoch = c->epoch,
				.placed = placed, .data = data};
	if ((r = ask(c, &full, q)) < 0) {
		free(q);
		if (r == -ENOMEM)
			return fail(ENOMEM);
		/* The bus is lost, as the next dispatch finds out. */
		*now = default_placement(full.primary_device);
		return 1;
	}
	enlist(c, q);
	arm(c);
	return 0;
}
