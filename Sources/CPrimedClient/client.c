/* The client: one connection, what is under way on it, and one epoll fd over its socket and its timer.
 *
 * sd-bus leaves it to the bus to check a match's sender, and no bus checks the sender of what is sent to one
 * connection alone: each signal's sender is looked at here, so that nobody but primed can call answers
 * in question. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Below the 128 replies that a bus lets a connection wait for. */
#define QUESTIONS_LIMIT 100
#define DEFAULT_TIMEOUT 500
/* Milliseconds between two tries to connect: twice as many at each. */
#define RETRY_FIRST 500
#define RETRY_LAST 32000
/* Messages handled in one go, so that nobody's signals keep the caller's loop from its own work. */
#define DISPATCH_LIMIT 128
/* What has to be known before an answer may be kept: three matches in force, and primed's unique name. */
#define LISTENING 4
#define DRIVER "org.freedesktop.DBus"

struct question {
	struct primed_client *client;
	struct question *next, **link;
	sd_bus_slot *slot;
	struct key key;
	/* For an answer that does not come. */
	dev_t fallback;
	/* When it was asked: an answer to something asked before a change is not kept. */
	uint64_t epoch;
	/* NULL: asked again behind an answer that has been given. */
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
	/* Of LISTENING. */
	int listening;
	/* primed's unique name; "": it does not run, or is not known yet. */
	char owner[256];
	uint64_t retry_at, retry_after;
	bool closing;
	struct cache cache;
};

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
	if (placed)
		placed(placement ? placement : &fallback, data);
}

static void end_all_questions(struct primed_client *c)
{
	while (c->questions)
		end_question(c->questions, NULL);
}

static bool is_same(const struct primed_placement *a, const struct primed_placement *b)
{
	return a->device == b->device && a->access == b->access && a->confidence == b->confidence;
}

/* Keeps an answer. Returns whether it is another one than was given before. */
static bool keep(struct primed_client *c, const struct question *q, const struct primed_placement *placement)
{
	const struct cached *known;
	bool differs;

	if (c->listening != LISTENING || q->epoch != c->epoch || placement->generation < c->generation)
		return false;
	c->generation = placement->generation;
	known = primed_cache_find(&c->cache, &q->key, c->generation);
	differs = known && !is_same(&known->placement, placement);
	primed_cache_store(&c->cache, &q->key, placement);
	return differs;
}

static int on_reply(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct question *q = data;
	struct primed_client *c = q->client;
	struct primed_placement placement;
	bool told = !q->placed, changed = false;
	int r = primed_read_placement(reply, &placement);

	(void)error;
	if (r >= 0)
		changed = keep(c, q, &placement);
	end_question(q, r < 0 ? NULL : &placement);
	if (told && changed)
		tell_changed(c);
	return 0;
}

/* --- what primed tells ---------------------------------------------------------------------------- */

static bool is_from(sd_bus_message *m, const char *name)
{
	const char *sender = sd_bus_message_get_sender(m);

	return sender && strcmp(sender, name) == 0;
}

static int on_invalidated(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	uint64_t generation;

	(void)error;
	if (!is_from(signal, c->owner))
		return 0;
	if (sd_bus_message_read(signal, "t", &generation) < 0)
		forget_all(c);
	else if (generation > c->generation)
		c->generation = generation;
	tell_changed(c);
	return 0;
}

static int on_placement_changed(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	uint64_t buffer;

	(void)error;
	if (!is_from(signal, c->owner))
		return 0;
	c->epoch++;
	if (sd_bus_message_read(signal, "t", &buffer) < 0)
		forget_all(c);
	else
		primed_cache_drop(&c->cache, buffer);
	tell_changed(c);
	return 0;
}

static void set_owner(struct primed_client *c, const char *owner)
{
	c->owner[0] = '\0';
	strncat(c->owner, owner, sizeof(c->owner) - 1);
}

static int on_owner_changed(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	const char *name, *old, *new;

	(void)error;
	if (!is_from(signal, DRIVER) || sd_bus_message_read(signal, "sss", &name, &old, &new) < 0)
		return 0;
	set_owner(c, new);
	forget_all(c);
	if (*new)
		tell_changed(c);
	return 0;
}

static int on_owner(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	const char *owner;

	(void)error;
	/* An error: it does not run yet. */
	if (sd_bus_message_is_method_error(reply, NULL))
		owner = "";
	else if (sd_bus_message_read(reply, "s", &owner) < 0)
		return 0;
	set_owner(c, owner);
	c->listening++;
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
	if ((r = sd_bus_add_match_async(
		     c->bus, NULL,
		     "type='signal',sender='" DRIVER "',path='/org/freedesktop/DBus',interface='" DRIVER "',"
		     "member='NameOwnerChanged',arg0='org.primed.Broker1'",
		     on_owner_changed, on_listening, c)) < 0)
		return r;
	return sd_bus_call_method_async(c->bus, NULL, DRIVER, "/org/freedesktop/DBus", DRIVER, "GetNameOwner",
					on_owner, c, "s", broker);
}

/* --- the connection ------------------------------------------------------------------------------- */

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
static void arm(struct primed_client *c)
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
	set_owner(c, "");
	forget_all(c);
	end_all_questions(c);
	sd_bus_close_unref(bus);
}

static int try_to_connect(struct primed_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if ((r = open_bus(c->address, &c->bus)) < 0)
		return r;
	if ((r = listen_to_primed(c)) < 0 ||
	    (r = epoll_ctl(c->epoll, EPOLL_CTL_ADD, sd_bus_get_fd(c->bus), &event) < 0 ? -errno : 0) < 0)
		c->bus = sd_bus_close_unref(c->bus);
	return r;
}

/* Connects if it is time to try again. */
static int reconnect(struct primed_client *c)
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
	arm(c);
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

int primed_client_dispatch(struct primed_client *c)
{
	uint64_t expired;

	if (read(c->timer, &expired, sizeof(expired)) < 0 && errno != EAGAIN)
		return -1;
	if (!c->bus) {
		if (reconnect(c) >= 0)
			tell_changed(c);
		return 0;
	}
	if (process(c) < 0) {
		disconnect(c);
		arm(c);
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

/* 0, or a negative errno: EBUSY and ENOMEM are the caller's to know, all else is a bus that is lost. */
static int begin_question(struct primed_client *c, const struct primed_query *query, const struct key *key,
			  primed_placed placed, void *data)
{
	struct question *q;
	int r;

	if (c->closing || (!c->bus && reconnect(c) < 0))
		return -ENOTCONN;
	if (c->n_questions >= QUESTIONS_LIMIT)
		return -EBUSY;
	if (!(q = malloc(sizeof(*q))))
		return -ENOMEM;
	*q = (struct question){.client = c, .key = *key, .fallback = query->primary_device, .epoch = c->epoch,
			       .placed = placed, .data = data};
	if ((r = ask(c, query, q)) < 0) {
		free(q);
		return r;
	}
	enlist(c, q);
	arm(c);
	return 0;
}

/* An answer that was not settled is given once more, and asked for again behind it; should that fail, it is
 * tried again after as long. */
static void ask_again(struct primed_client *c, const struct primed_query *query, struct cached *known)
{
	known->due = primed_now_ms() + known->placement.recheck + c->options.timeout;
	begin_question(c, query, &known->key, NULL, NULL);
}

/* The query as it is sent, and its key. */
static int prepare(const struct primed_client *c, const struct primed_query *query, struct primed_query *full,
		   struct key *key)
{
	if (!query->n_planes || query->n_planes > PRIMED_MAX_PLANES)
		return fail(EINVAL);
	*full = *query;
	if (!full->primary_device)
		full->primary_device = c->options.default_device;
	return primed_key_of(full, key);
}

int primed_client_peek(struct primed_client *c, const struct primed_query *query, struct primed_placement *now)
{
	const struct cached *known;
	struct primed_query full;
	struct key key;

	if (prepare(c, query, &full, &key) < 0)
		return -1;
	known = full.fresh ? NULL : primed_cache_find(&c->cache, &key, c->generation);
	if (!known || (known->due && primed_now_ms() >= known->due))
		return 0;
	*now = known->placement;
	return 1;
}

int primed_client_place(struct primed_client *c, const struct primed_query *query,
			struct primed_placement *now, primed_placed placed, void *data)
{
	struct cached *known;
	struct primed_query full;
	struct key key;
	int r;

	if (prepare(c, query, &full, &key) < 0)
		return -1;
	if (!full.fresh && (known = primed_cache_find(&c->cache, &key, c->generation))) {
		*now = known->placement;
		if (known->due && primed_now_ms() >= known->due)
			ask_again(c, &full, known);
		return 1;
	}
	if ((r = begin_question(c, &full, &key, placed, data)) == 0)
		return 0;
	if (r == -EBUSY || r == -ENOMEM)
		return fail(-r);
	/* The next dispatch finds out that the bus is lost. */
	*now = default_placement(full.primary_device);
	return 1;
}
