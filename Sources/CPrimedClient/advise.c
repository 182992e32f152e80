/* Advise: where a buffer should be allocated. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* Further places are ignored: the best come first. */
#define PLACES_LIMIT (2 * DEVICES_LIMIT)

struct advise {
	struct question question;
	primed_advised advised;
	void *data;
	unsigned int n_users, count;
	struct primed_place places[PLACES_LIMIT];
	const struct primed_place *list[PLACES_LIMIT];
	uint32_t accesses[PLACES_LIMIT][PRIMED_MAX_USERS];
};

static uint32_t memory_of(const char *word)
{
	return strcmp(word, "dedicated") == 0 ? PRIMED_MEMORY_DEDICATED
	       : strcmp(word, "system") == 0  ? PRIMED_MEMORY_SYSTEM
					      : PRIMED_MEMORY_UNKNOWN;
}

/* Called inside the place's struct. */
static int read_place(sd_bus_message *reply, struct advise *a)
{
	struct primed_place *place = &a->places[a->count];
	const void *accesses;
	const char *memory;
	uint64_t device;
	size_t size;
	int r;

	if ((r = sd_bus_message_read(reply, "ts", &device, &memory)) < 0 ||
	    (r = sd_bus_message_read_array(reply, 'u', &accesses, &size)) < 0)
		return r;
	if (size != a->n_users * sizeof(uint32_t))
		return -EBADMSG;
	memcpy(a->accesses[a->count], accesses, size);
	*place = (struct primed_place){
		.size = sizeof(*place),
		.device = device,
		.memory = memory_of(memory),
		.n_accesses = a->n_users,
		.accesses = a->accesses[a->count],
	};
	a->list[a->count++] = place;
	return 0;
}

static int read_places(sd_bus_message *reply, struct advise *a, uint64_t *generation)
{
	int r = sd_bus_message_enter_container(reply, 'a', "(tsau)");

	if (r < 0)
		return r;
	while ((r = sd_bus_message_at_end(reply, 0)) == 0) {
		if (a->count == PLACES_LIMIT)
			return -EBADMSG;
		if ((r = sd_bus_message_enter_container(reply, 'r', "tsau")) < 0 ||
		    (r = read_place(reply, a)) < 0 ||
		    (r = sd_bus_message_exit_container(reply)) < 0)
			return r;
	}
	if (r < 0 || (r = sd_bus_message_exit_container(reply)) < 0)
		return r;
	return sd_bus_message_read(reply, "t", generation);
}

static void on_ended(struct question *q, sd_bus_message *reply, int error)
{
	struct advise *a = (struct advise *)q;
	struct primed_advice advice = {.size = sizeof(advice), .places = a->list};
	int r;

	if (!error && (r = read_places(reply, a, &advice.generation)) < 0) {
		primed_log(q->client, LOG_WARNING, "primed's advice is not to be understood: %s",
			   strerror(-r));
		error = EPROTO;
	}
	advice.error = error;
	advice.n_places = error ? 0 : a->count;
	if (a->advised)
		a->advised(&advice, a->data);
}

static unsigned int on_cancel(struct question *q, const void *data)
{
	struct advise *a = (struct advise *)q;

	if (!a->advised || a->data != data)
		return 0;
	a->advised = NULL;
	return 1;
}

static const struct question_kind kind = {on_ended, on_cancel, NULL};

int primed_client_advise(struct primed_client *c, const struct primed_user *users,
			 unsigned int n_users, const struct primed_query *hints,
			 primed_advised advised, void *data)
{
	struct primed_query full;
	struct advise *a;
	sd_bus_message *call;
	int r;

	if (!n_users || n_users > PRIMED_MAX_USERS || (hints && !primed_take_query(&full, hints)))
		return primed_fail(EINVAL);
	if (c->state == ABSENT)
		return primed_fail(ENOTCONN);
	if ((r = primed_write_advise(c->bus, users, n_users, hints ? &full : NULL, &call)) < 0)
		return primed_fail(-r);
	if (!(a = calloc(1, sizeof(*a)))) {
		sd_bus_message_unref(call);
		return primed_fail(ENOMEM);
	}
	a->question.kind = &kind;
	a->advised = advised;
	a->data = data;
	a->n_users = n_users;
	r = primed_begin_question(c, &a->question, call);
	return r < 0 ? primed_fail(-r) : 0;
}
