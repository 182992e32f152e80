/* Questions: from the cache, or under way on the bus. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

/* Below the 128 replies that a bus lets a connection wait for. */
#define QUESTIONS_LIMIT 100

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

static struct primed_placement default_placement(dev_t device)
{
	return (struct primed_placement){
		.device = device,
		.access = PRIMED_ACCESS_MAY_MOVE,
		.is_default = true,
	};
}

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

void primed_end_questions(struct primed_client *c)
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
		primed_tell_changed(c);
	return 0;
}

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

	if (c->closing || (!c->bus && primed_reconnect(c) < 0) || !primed_is_connected(c))
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
	primed_arm(c);
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
	if (!primed_are_buffers(&full))
		return fail(EBADF);
	if ((r = begin_question(c, &full, &key, placed, data)) == 0)
		return 0;
	if (r == -EBUSY || r == -ENOMEM)
		return fail(-r);
	/* The next dispatch finds out that the bus is lost. */
	*now = default_placement(full.primary_device);
	return 1;
}
