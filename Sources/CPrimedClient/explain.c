/* Explain: all details of an answer, as text. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

struct explain {
	struct question question;
	primed_explained explained;
	void *data;
};

/* Prints large numbers as device numbers: of the large values only these need another form. */
static void print_number(FILE *text, uint64_t value)
{
	if (major(value) == 226)
		fprintf(text, "226:%u", minor(value));
	else
		fprintf(text, "%" PRIu64, value);
}

static int print_basic(FILE *text, sd_bus_message *m, char type)
{
	union {
		uint8_t y;
		int b;
		uint32_t u;
		uint64_t t;
		const char *s;
	} value = {0};
	int r = sd_bus_message_read_basic(m, type, &value);

	if (r < 0)
		return r;
	switch (type) {
	case 's':
	case 'o':
	case 'g': fputs(value.s, text); break;
	case 'b': fputs(value.b ? "yes" : "no", text); break;
	case 'u': fprintf(text, "%" PRIu32, value.u); break;
	case 't': print_number(text, value.t); break;
	case 'y': fprintf(text, "%u", value.y); break;
	default: fputc('?', text);
	}
	return 0;
}

/* Prints the next value of any type; the members of an array get a line each. */
static int print_value(FILE *text, sd_bus_message *m, int depth)
{
	const char *contents;
	bool first = true;
	char type;
	int r;

	if ((r = sd_bus_message_peek_type(m, &type, &contents)) <= 0)
		return r < 0 ? r : -EBADMSG;
	if (!strchr("avre", type))
		return print_basic(text, m, type);
	if ((r = sd_bus_message_enter_container(m, type, contents)) < 0)
		return r;
	while ((r = sd_bus_message_at_end(m, 0)) == 0) {
		if (type == 'a')
			fprintf(text, "\n%*s", 2 * (depth + 1), "");
		else if (!first)
			fputs(", ", text);
		first = false;
		if ((r = print_value(text, m, depth + (type == 'a'))) < 0)
			return r;
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int print_access(FILE *text, sd_bus_message *m)
{
	static const char *const words[] = {"unknown",	"native", "in-place",
					    "may-move", "moves",  "unreachable"};
	uint32_t access;
	int r = sd_bus_message_read(m, "u", &access);

	if (r >= 0)
		fputs(words[access < sizeof(words) / sizeof(*words) ? access : 0], text);
	return r;
}

static int print_answer(FILE *text, sd_bus_message *m)
{
	static const char *const names[] = {"device", "access", "confidence", "buffer",
					    "generation"};
	static const char types[] = "tuutt";
	int r;

	for (int i = 0; i < 5; i++) {
		fprintf(text, "%s: ", names[i]);
		if ((r = i == 1 ? print_access(text, m) : print_basic(text, m, types[i])) < 0)
			return r;
		fputc('\n', text);
	}
	if ((r = sd_bus_message_enter_container(m, 'a', "{sv}")) < 0)
		return r;
	while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		if ((r = print_basic(text, m, 's')) < 0)
			return r;
		fputs(": ", text);
		if ((r = print_value(text, m, 0)) < 0 || (r = sd_bus_message_exit_container(m)) < 0)
			return r;
		fputc('\n', text);
	}
	return r;
}

static void on_ended(struct question *q, sd_bus_message *reply, int error)
{
	struct explain *e = (struct explain *)q;
	char *text = NULL;
	size_t size;
	FILE *file;

	if (!e->explained)
		return;
	if (!error) {
		if (!(file = open_memstream(&text, &size)))
			error = ENOMEM;
		else if (print_answer(file, reply) < 0)
			error = EPROTO;
		if (file && fclose(file) != 0)
			error = ENOMEM;
	}
	e->explained(error ? NULL : text, error, e->data);
	free(text);
}

static unsigned int on_cancel(struct question *q, const void *data)
{
	struct explain *e = (struct explain *)q;

	if (!e->explained || e->data != data)
		return 0;
	e->explained = NULL;
	return 1;
}

static const struct question_kind kind = {on_ended, on_cancel, NULL};

int primed_client_explain(struct primed_client *c, const struct primed_query *query,
			  primed_explained explained, void *data)
{
	struct primed_query full;
	struct explain *e;
	sd_bus_message *call;
	int r;

	if (!primed_take_query(&full, query) || !full.n_planes || full.n_planes > PRIMED_MAX_PLANES)
		return primed_fail(EINVAL);
	if (!primed_are_buffers(&full))
		return primed_fail(EBADF);
	if (c->state == ABSENT)
		return primed_fail(ENOTCONN);
	if (!full.primary_device)
		full.primary_device = c->options.default_device;
	if ((r = primed_write_place(c->bus, &full, true, &call)) < 0)
		return primed_fail(-r);
	if (!(e = calloc(1, sizeof(*e)))) {
		sd_bus_message_unref(call);
		return primed_fail(ENOMEM);
	}
	*e = (struct explain){.question.kind = &kind, .explained = explained, .data = data};
	r = primed_begin_question(c, &e->question, call);
	return r < 0 ? primed_fail(-r) : 0;
}
