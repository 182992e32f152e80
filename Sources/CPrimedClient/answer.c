/* Handling of Place's answer: caching, and calling back. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

/* Milliseconds until a buffer that was refused is asked about again: the first pause, the factor
 * for each following one, and the longest pause. A buffer that is asked about at each of 1,000
 * frames is sent twice at most. */
#define PAUSE_FIRST  1000
#define PAUSE_FACTOR 32
#define PAUSE_LAST   (PAUSE_FIRST * PAUSE_FACTOR * PAUSE_FACTOR)

struct primed_placement primed_default(dev_t device, int error)
{
	return (struct primed_placement){
		.size = sizeof(struct primed_placement),
		.device = device,
		.access = PRIMED_ACCESS_MAY_MOVE,
		.is_default = true,
		.error = error,
	};
}

/* A primed that is too old to know the hint candidates may answer with any device. */
static bool is_allowed(const struct primed_client *c, const struct place *p, dev_t device)
{
	if (!p->has_candidates || !device || primed_is_same_device(&c->devices, device, p->target))
		return true;
	for (unsigned int i = 0; i < p->n_candidates; i++)
		if (primed_is_same_device(&c->devices, device, p->candidates[i]))
			return true;
	return false;
}

static size_t size_of(const struct primed_verdicts *v)
{
	return sizeof(*v) + v->count * sizeof(*v->list);
}

static bool is_same(const struct primed_placement *a, const struct primed_placement *b)
{
	if (a->device != b->device || a->access != b->access || a->confidence != b->confidence ||
	    a->home != b->home || a->home_memory != b->home_memory || !a->verdicts != !b->verdicts)
		return false;
	return !a->verdicts || (a->verdicts->count == b->verdicts->count &&
				memcmp(a->verdicts, b->verdicts, size_of(a->verdicts)) == 0);
}

static bool is_current(const struct primed_client *c, const struct place *p)
{
	return c->listening == LISTENING && p->question.epoch == c->epoch;
}

/* Caches an answer. Returns whether it differs from the one that was given before. */
static bool keep(struct primed_client *c, const struct place *p,
		 const struct primed_placement *placement)
{
	struct primed_placement copy = *placement;
	const struct cached *known;
	struct primed_verdicts *verdicts = NULL;
	bool differs;

	if (!is_current(c, p) || placement->generation < c->generation)
		return false;
	if (copy.verdicts && !(verdicts = malloc(size_of(copy.verdicts))))
		return false;
	if (verdicts)
		memcpy(verdicts, copy.verdicts, size_of(copy.verdicts));
	copy.verdicts = verdicts;
	c->generation = copy.generation;
	known = primed_cache_find(&c->cache, &p->key, c->generation);
	differs = known && !is_same(&known->placement, &copy);
	primed_cache_store(&c->cache, &p->key, &copy);
	return differs;
}

void primed_keep_default(struct primed_client *c, const struct key *key,
			 const struct primed_placement *placement)
{
	struct cached *known = primed_cache_find(&c->cache, key, c->generation);
	uint32_t pause = PAUSE_FIRST;

	if (known && !known->placement.is_default)
		return;
	if (known && known->pause)
		pause = known->pause < PAUSE_LAST ? known->pause * PAUSE_FACTOR : PAUSE_LAST;
	known = primed_cache_store(&c->cache, key, placement);
	known->pause = pause;
	known->due = primed_now_ms() + pause;
}

static void tell(struct place *p, const struct primed_placement *placement)
{
	struct waiter *w;

	while ((w = p->waiters)) {
		struct waiter told = *w;

		p->waiters = w->next;
		free(w);
		if (told.fence >= 0) {
			/* Neither call can fail: the eventfd is the client's and its counter was
			 * 0. */
			eventfd_write(told.fence, 1);
			close(told.fence);
		} else {
			told.placed(placement, told.data);
		}
	}
}

static void on_ended(struct question *q, sd_bus_message *reply, int error)
{
	struct place *p = (struct place *)q;
	struct primed_client *c = q->client;
	struct primed_placement placement = {0};
	bool changed = false;
	int r;

	if (!error && (r = primed_read_placement(reply, p->verdicts, &placement)) < 0) {
		primed_log(c, LOG_WARNING, "primed's answer is not to be understood: %s",
			   strerror(-r));
		error = EPROTO;
	} else if (!error && !is_allowed(c, p, placement.device)) {
		primed_log(c, LOG_WARNING, "this primed is too old to heed candidates");
		error = ENOTSUP;
	}
	if (!error) {
		changed = keep(c, p, &placement);
	} else {
		free((void *)placement.verdicts);
		placement = primed_default(p->fallback, error);
		if (is_current(c, p) && c->state == READY && error != ENOTCONN)
			primed_keep_default(c, &p->key, &placement);
	}
	tell(p, &placement);
	free((void *)placement.verdicts);
	if (p->behind && changed)
		primed_tell_changed(c, placement.buffer);
}

static unsigned int on_cancel(struct question *q, const void *data)
{
	struct waiter **link = &((struct place *)q)->waiters;
	unsigned int count = 0;

	while (*link) {
		struct waiter *w = *link;

		if (w->data != data) {
			link = &w->next;
			continue;
		}
		*link = w->next;
		if (w->fence >= 0)
			close(w->fence);
		free(w);
		count++;
	}
	return count;
}

static void on_dispose(struct question *q)
{
	struct place *p = (struct place *)q;
	struct waiter *w;

	while ((w = p->waiters)) {
		p->waiters = w->next;
		if (w->fence >= 0)
			close(w->fence);
		free(w);
	}
}

const struct question_kind primed_place_kind = {on_ended, on_cancel, on_dispose};
