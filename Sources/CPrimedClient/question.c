/* Questions in progress: those that wait to be sent, and those that wait for their reply. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

static void enlist(struct primed_client *c, struct question *q)
{
	struct question **link = &c->questions;

	while (*link)
		link = &(*link)->next;
	*link = q;
	c->n_questions++;
}

static void delist(struct question *q)
{
	struct primed_client *c = q->client;
	struct question **link = &c->questions;

	while (*link != q)
		link = &(*link)->next;
	*link = q->next;
	c->n_questions--;
}

static void dispose(struct question *q)
{
	sd_bus_slot_unref(q->slot);
	sd_bus_message_unref(q->call);
	if (q->kind->dispose)
		q->kind->dispose(q);
	free(q);
}

/* The callback may ask and cancel, which changes the list. */
static void end(struct question *q, sd_bus_message *reply, int error)
{
	delist(q);
	q->kind->ended(q, reply, error);
	dispose(q);
}

/* A question that gets no reply shows that primed hangs; the others then need not find out. */
static void judge(struct primed_client *c, const struct question *q, bool is_silent)
{
	if (is_silent && !c->hangs && c->last_answer <= q->sent_at) {
		c->hangs = true;
		c->owes_change = true;
		primed_log(c, LOG_WARNING, "primed has not answered for %u ms", c->options.timeout);
	}
	if (is_silent)
		return;
	c->last_answer = primed_now_ms();
	if (c->hangs) {
		c->hangs = false;
		c->owes_change = false;
		primed_cache_drop(&c->cache, 0);
		primed_log(c, LOG_INFO, "primed answers again");
		primed_tell_changed(c, 0);
	}
}

static int on_reply(sd_bus_message *reply, void *data, sd_bus_error *ignored)
{
	struct question *q = data;
	struct primed_client *c = q->client;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	int code = error ? primed_error_of(reply) : 0;

	(void)ignored;
	/* A bus says NoReply of a peer that has gone. */
	if (code == ETIMEDOUT)
		code = ENOTCONN;
	if (code)
		primed_log(c, LOG_WARNING, "primed: %s: %s", error->name,
			   error->message ? error->message : "");
	if (code != ENOTCONN)
		judge(c, q, false);
	end(q, code ? NULL : reply, code);
	return 0;
}

static int transmit(struct question *q)
{
	struct primed_client *c = q->client;
	int r;

	q->sent_at = primed_now_ms();
	r = sd_bus_call_async(c->bus, &q->slot, q->call, on_reply, q, 0);
	q->call = sd_bus_message_unref(q->call);
	return r;
}

int primed_begin_question(struct primed_client *c, struct question *q, sd_bus_message *call)
{
	int r;

	q->client = c;
	q->call = call;
	q->asked_at = primed_now_ms();
	q->epoch = c->epoch;
	q->next = NULL;
	if (c->n_questions >= QUESTIONS_LIMIT)
		r = -EBUSY;
	else if (c->state == ABSENT)
		r = -ENOTCONN;
	else
		r = c->state == READY ? transmit(q) : 0;
	if (r < 0) {
		dispose(q);
		return r;
	}
	enlist(c, q);
	primed_arm(c);
	return 0;
}

static struct question *first_unsent(const struct primed_client *c)
{
	struct question *q = c->questions;

	while (q && !q->call)
		q = q->next;
	return q;
}

void primed_send_questions(struct primed_client *c)
{
	struct question *q;
	int r;

	while (c->state == READY && (q = first_unsent(c))) {
		q->epoch = c->epoch;
		if ((r = transmit(q)) < 0)
			end(q, NULL, -r);
	}
}

void primed_end_questions(struct primed_client *c, int error)
{
	while (c->questions)
		end(c->questions, NULL, error);
}

/* The list is in the order in which the questions were asked. */
void primed_expire_questions(struct primed_client *c)
{
	uint64_t now = primed_now_ms();
	struct question *q;

	while ((q = c->questions) && now >= q->asked_at + c->options.timeout) {
		if (!q->call)
			judge(c, q, true);
		end(q, NULL, ETIMEDOUT);
	}
}

unsigned int primed_client_cancel(struct primed_client *c, const void *data)
{
	unsigned int count = 0;

	for (struct question *q = c->questions; q; q = q->next)
		count += q->kind->cancel(q, data);
	return count;
}
