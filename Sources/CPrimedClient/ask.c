/* Place: from the cache, or sent to primed. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The smallest struct sizes that are accepted. */
#define QUERY_SIZE     (offsetof(struct primed_query, client_pidfd) + sizeof(int))
#define PLACEMENT_SIZE (offsetof(struct primed_placement, verdicts) + sizeof(void *))

bool primed_take_query(struct primed_query *full, const struct primed_query *query)
{
	if (query->size < QUERY_SIZE)
		return false;
	if (query->size == sizeof(*full)) {
		*full = *query;
	} else {
		*full = (struct primed_query){0};
		memcpy(full, query, query->size < sizeof(*full) ? query->size : sizeof(*full));
	}
	if (!full->has_modifier)
		full->modifier = 0;
	return full->n_candidates <= PRIMED_MAX_CANDIDATES &&
	       (full->candidates || !full->n_candidates);
}

/* The query as it is sent, and its key. */
static int prepare(const struct primed_client *c, const struct primed_query *query,
		   struct primed_query *full, struct key *key)
{
	if (!primed_take_query(full, query) || !full->n_planes ||
	    full->n_planes > PRIMED_MAX_PLANES)
		return primed_fail(EINVAL);
	if (!full->primary_device)
		full->primary_device = c->options.default_device;
	return primed_key_of(full, key);
}

/* Returns 1. */
static int give(struct primed_placement *now, const struct primed_placement *placement)
{
	size_t size = now->size;

	if (size == sizeof(*now)) {
		*now = *placement;
		return 1;
	}
	memcpy(now, placement, size < sizeof(*now) ? size : sizeof(*now));
	now->size = size;
	return 1;
}

/* Appends a caller to those that wait for the answer. */
static bool add_waiter(struct place *p, const struct waiter *waiter)
{
	struct waiter **link = &p->waiters, *w;

	while (*link)
		link = &(*link)->next;
	if (!(w = malloc(sizeof(*w))))
		return false;
	*w = *waiter;
	w->next = NULL;
	*link = w;
	return true;
}

static struct place *find_under_way(const struct primed_client *c, const struct key *key)
{
	for (struct question *q = c->questions; q; q = q->next)
		if (q->kind == &primed_place_kind && q->epoch == c->epoch &&
		    primed_is_same_key(&((struct place *)q)->key, key))
			return (struct place *)q;
	return NULL;
}

/* Sends a question. `waiter`: NULL if no caller waits for the answer. Returns a negative errno:
 * EBUSY and ENOMEM are reported to the caller, every other one means that the bus is lost. */
static int begin(struct primed_client *c, const struct primed_query *query, const struct key *key,
		 const struct waiter *waiter)
{
	struct place *p = NULL;
	sd_bus_message *call;
	int r;

	if (!query->fresh && (p = find_under_way(c, key)))
		return !waiter || add_waiter(p, waiter) ? 0 : -ENOMEM;
	if ((r = primed_write_place(c->bus, query, false, &call)) < 0)
		return r;
	if (!(p = calloc(1, sizeof(*p))) || (waiter && !add_waiter(p, waiter))) {
		free(p);
		sd_bus_message_unref(call);
		return -ENOMEM;
	}
	p->question.kind = &primed_place_kind;
	p->key = *key;
	p->fallback = query->primary_device;
	p->target = query->usage & PRIMED_USAGE_SCANOUT ? query->target_device : 0;
	p->verdicts = query->verdicts;
	p->behind = !waiter;
	p->has_candidates = query->candidates != NULL;
	p->n_candidates = query->n_candidates;
	if (query->candidates)
		memcpy(p->candidates, query->candidates,
		       query->n_candidates * sizeof(*p->candidates));
	return primed_begin_question(c, &p->question, call);
}

/* Repeats a question whose answer was not settled, or had none, after the cached answer was
 * given. If that fails, it is tried again after the same time. */
static void ask_again(struct primed_client *c, const struct primed_query *query,
		      struct cached *known)
{
	struct key key = known->key;

	known->due = primed_now_ms() + c->options.timeout +
		     (known->placement.is_default ? known->pause : known->placement.recheck);
	begin(c, query, &key, NULL);
}

/* While primed hangs, callers get the default at once; one question at a time finds out whether
 * it still hangs. */
static int give_while_it_hangs(struct primed_client *c, const struct primed_query *query,
			       const struct key *key, struct primed_placement *now)
{
	struct primed_placement none = primed_default(query->primary_device, ETIMEDOUT);

	primed_keep_default(c, key, &none);
	if (!c->n_questions)
		begin(c, query, key, NULL);
	return give(now, &none);
}

static int place(struct primed_client *c, const struct primed_query *query,
		 struct primed_placement *now, const struct waiter *waiter)
{
	struct primed_placement none;
	struct cached *known;
	struct primed_query full;
	struct key key;
	int r;

	if (now->size < PLACEMENT_SIZE)
		return primed_fail(EINVAL);
	if (prepare(c, query, &full, &key) < 0)
		return -1;
	if (c->state != ABSENT && !full.fresh &&
	    (known = primed_cache_find(&c->cache, &key, c->generation))) {
		if (known->due && primed_now_ms() >= known->due)
			ask_again(c, &full, known);
		return give(now, &known->placement);
	}
	r = -ENOTCONN;
	if (c->state != ABSENT) {
		if (!primed_are_buffers(&full))
			return primed_fail(EBADF);
		if (c->hangs)
			return give_while_it_hangs(c, &full, &key, now);
		r = begin(c, &full, &key, waiter);
	}
	if (r == 0)
		return 0;
	if (r == -EBUSY || r == -ENOMEM)
		return primed_fail(-r);
	none = primed_default(full.primary_device, ENOTCONN);
	return give(now, &none);
}

int primed_client_place(struct primed_client *c, const struct primed_query *query,
			struct primed_placement *now, primed_placed placed, void *data)
{
	struct waiter waiter = {.placed = placed, .fence = -1, .data = data};

	return place(c, query, now, &waiter);
}

int primed_client_place_fd(struct primed_client *c, const struct primed_query *query,
			   struct primed_placement *now, int *fd, void *data)
{
	struct waiter waiter = {.data = data};
	int r, error;

	if ((waiter.fence = primed_move_fd(c, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) < 0)
		return primed_fail(-waiter.fence);
	if ((*fd = fcntl(waiter.fence, F_DUPFD_CLOEXEC, c->options.first_fd)) >= 0 &&
	    (r = place(c, query, now, &waiter)) == 0)
		return 0;
	error = errno;
	r = *fd < 0 ? -1 : r;
	if (*fd >= 0)
		close(*fd);
	close(waiter.fence);
	*fd = -1;
	errno = error;
	return r;
}

int primed_client_peek(struct primed_client *c, const struct primed_query *query,
		       struct primed_placement *now)
{
	const struct cached *known;
	struct primed_query full;
	struct key key;

	if (now->size < PLACEMENT_SIZE)
		return primed_fail(EINVAL);
	if (prepare(c, query, &full, &key) < 0)
		return -1;
	known = full.fresh ? NULL : primed_cache_find(&c->cache, &key, c->generation);
	if (!known || (known->due && primed_now_ms() >= known->due))
		return 0;
	return give(now, &known->placement);
}
