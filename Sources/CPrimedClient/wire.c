/* Encoding and decoding of Place and Advise. */
#define _GNU_SOURCE
#include "hints.h"
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* primed's answer names each device it knows once; a longer one is refused. */
#define VERDICTS_LIMIT 256

/* Begins the value of a hint; `name` and `type` are a macro of hints.h. */
static int open_hint(sd_bus_message *call, const char *name, const char *type)
{
	int r;

	if ((r = sd_bus_message_open_container(call, 'e', "sv")) < 0 ||
	    (r = sd_bus_message_append(call, "s", name)) < 0)
		return r;
	return sd_bus_message_open_container(call, 'v', type);
}

static int append_usage(sd_bus_message *call, uint32_t usage)
{
	static const char *const words[] = {"sample", "scanout", "capture"};
	int r;

	if (!usage)
		return 0;
	if ((r = open_hint(call, PRIMED_HINT_USAGE)) < 0 ||
	    (r = sd_bus_message_open_container(call, 'a', "s")) < 0)
		return r;
	for (int i = 0; i < 3; i++)
		if (usage & 1u << i && (r = sd_bus_message_append(call, "s", words[i])) < 0)
			return r;
	for (int i = 0; i < 3; i++)
		if ((r = sd_bus_message_close_container(call)) < 0)
			return r;
	return 0;
}

static int append_device(sd_bus_message *call, const char *name, const char *type, dev_t device)
{
	return device ? sd_bus_message_append(call, "{sv}", name, type, (uint64_t)device) : 0;
}

static int append_flag(sd_bus_message *call, const char *name, const char *type, bool flag)
{
	return flag ? sd_bus_message_append(call, "{sv}", name, type, 1) : 0;
}

static int append_candidates(sd_bus_message *call, const struct primed_query *query)
{
	uint64_t numbers[PRIMED_MAX_CANDIDATES];
	int r;

	if (!query->candidates)
		return 0;
	for (unsigned int i = 0; i < query->n_candidates; i++)
		numbers[i] = query->candidates[i];
	if ((r = open_hint(call, PRIMED_HINT_CANDIDATES)) < 0 ||
	    (r = sd_bus_message_append_array(call, 't', numbers,
					     query->n_candidates * sizeof(*numbers))) < 0 ||
	    (r = sd_bus_message_close_container(call)) < 0)
		return r;
	return sd_bus_message_close_container(call);
}

/* The hints that Place and Advise share. */
static int append_layout(sd_bus_message *call, const struct primed_query *query)
{
	int r;

	if (query->format &&
	    (r = sd_bus_message_append(call, "{sv}", PRIMED_HINT_FORMAT, query->format)) < 0)
		return r;
	if (query->has_modifier &&
	    (r = sd_bus_message_append(call, "{sv}", PRIMED_HINT_MODIFIER, query->modifier)) < 0)
		return r;
	return append_candidates(call, query);
}

static int append_client(sd_bus_message *call, const struct primed_query *query)
{
	if (query->client_pidfd > 0)
		return sd_bus_message_append(call, "{sv}", PRIMED_HINT_CLIENT_FD, query->client_pidfd);
	if (query->client)
		return sd_bus_message_append(call, "{sv}", PRIMED_HINT_CLIENT, (uint32_t)query->client);
	return 0;
}

static int append_hints(sd_bus_message *call, const struct primed_query *query, bool explain)
{
	int r;

	if ((r = sd_bus_message_open_container(call, 'a', "{sv}")) < 0 ||
	    (r = append_device(call, PRIMED_HINT_SAMPLING_DEVICE, query->sampling_device)) < 0 ||
	    (r = append_device(call, PRIMED_HINT_TARGET_DEVICE, query->target_device)) < 0 ||
	    (r = append_device(call, PRIMED_HINT_PRIMARY_DEVICE, query->primary_device)) < 0 ||
	    (r = append_usage(call, query->usage)) < 0 || (r = append_layout(call, query)) < 0 ||
	    (r = append_client(call, query)) < 0 ||
	    (r = append_flag(call, PRIMED_HINT_VERDICTS, query->verdicts)) < 0 ||
	    (r = append_flag(call, PRIMED_HINT_WAKE, query->wake)) < 0 ||
	    (r = append_flag(call, PRIMED_HINT_FRESH, query->fresh)) < 0 ||
	    (r = append_flag(call, PRIMED_HINT_EXPLAIN, explain)) < 0)
		return r;
	return sd_bus_message_close_container(call);
}

/* Without auto-start: primed is started once for a connection (listen.c), not by every call. */
int primed_new_call(sd_bus *bus, const char *member, sd_bus_message **call)
{
	int r = sd_bus_message_new_method_call(bus, call, PRIMED_BUS_NAME, PRIMED_BUS_PATH,
					       PRIMED_BUS_NAME, member);

	if (r >= 0)
		sd_bus_message_set_auto_start(*call, 0);
	return r;
}

static int finish(int r, sd_bus_message **call)
{
	if (r < 0)
		*call = sd_bus_message_unref(*call);
	return r;
}

int primed_write_place(sd_bus *bus, const struct primed_query *query, bool explain,
		       sd_bus_message **call)
{
	int r = primed_new_call(bus, "Place", call);

	if (r < 0)
		return r;
	if ((r = sd_bus_message_open_container(*call, 'a', "h")) >= 0) {
		for (unsigned int i = 0; i < query->n_planes && r >= 0; i++)
			r = sd_bus_message_append(*call, "h", query->planes[i]);
		if (r >= 0 && (r = sd_bus_message_close_container(*call)) >= 0)
			r = append_hints(*call, query, explain);
	}
	return finish(r, call);
}

int primed_write_advise(sd_bus *bus, const struct primed_user *users, unsigned int n_users,
			const struct primed_query *hints, sd_bus_message **call)
{
	static const struct primed_query none;
	int r = primed_new_call(bus, "Advise", call);

	if (r < 0)
		return r;
	if ((r = sd_bus_message_open_container(*call, 'a', "(tu)")) >= 0) {
		for (unsigned int i = 0; i < n_users && r >= 0; i++)
			r = sd_bus_message_append(*call, "(tu)", (uint64_t)users[i].device,
						  users[i].use);
		if (r >= 0 && (r = sd_bus_message_close_container(*call)) >= 0 &&
		    (r = sd_bus_message_open_container(*call, 'a', "{sv}")) >= 0 &&
		    (r = append_layout(*call, hints ? hints : &none)) >= 0)
			r = sd_bus_message_close_container(*call);
	}
	return finish(r, call);
}

/* sd-bus does not know primed's own errors. */
int primed_error_of(sd_bus_message *reply)
{
	static const struct {
		const char *name;
		int error;
	} known[] = {
		{PRIMED_BUS_NAME ".Error.LimitsExceeded", ENOBUFS},
		{PRIMED_BUS_NAME ".Error.InvalidArgument", EINVAL},
		{PRIMED_BUS_NAME ".Error.NotDmaBuf", EBADF},
		{PRIMED_BUS_NAME ".Error.TooManyPlanes", EINVAL},
		{PRIMED_BUS_NAME ".Error.UnknownDevice", ENODEV},
		{"org.freedesktop.DBus.Error.LimitsExceeded", ENOBUFS},
		{"org.freedesktop.DBus.Error.ServiceUnknown", ENOTCONN},
		{"org.freedesktop.DBus.Error.NameHasNoOwner", ENOTCONN},
		{"org.freedesktop.DBus.Error.NoReply", ETIMEDOUT},
		{"org.freedesktop.DBus.Error.UnknownMethod", ENOTSUP},
	};
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	for (size_t i = 0; error && error->name && i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(error->name, known[i].name) == 0)
			return known[i].error;
	return sd_bus_message_get_errno(reply);
}

/* Replaces *verdicts. */
static int read_verdicts(sd_bus_message *reply, struct primed_verdicts **verdicts)
{
	struct primed_verdicts *all;
	uint64_t device;
	uint32_t access, can;
	int r;

	if ((r = sd_bus_message_enter_container(reply, 'v', "a(tuu)")) < 0 ||
	    (r = sd_bus_message_enter_container(reply, 'a', "(tuu)")) < 0)
		return r;
	while ((r = sd_bus_message_read(reply, "(tuu)", &device, &access, &can)) > 0) {
		unsigned int count = *verdicts ? (*verdicts)->count : 0;

		if (count == VERDICTS_LIMIT)
			return -EBADMSG;
		if (!(all = realloc(*verdicts, sizeof(*all) + (count + 1) * sizeof(*all->list))))
			return -ENOMEM;
		all->supported = true;
		all->count = count + 1;
		all->list[count] = (struct verdict){.device = device, .access = access, .can = can};
		*verdicts = all;
	}
	if (r >= 0 && !*verdicts && (*verdicts = calloc(1, sizeof(**verdicts))))
		(*verdicts)->supported = true;
	if (r < 0 || (r = sd_bus_message_exit_container(reply)) < 0)
		return r;
	return sd_bus_message_exit_container(reply);
}

static uint32_t memory_of(const char *word)
{
	return strcmp(word, "dedicated") == 0 ? PRIMED_MEMORY_DEDICATED
	       : strcmp(word, "system") == 0  ? PRIMED_MEMORY_SYSTEM
					      : PRIMED_MEMORY_UNKNOWN;
}

static int read_detail(sd_bus_message *reply, struct primed_placement *placement,
		       struct primed_verdicts **verdicts)
{
	const char *key, *word;
	uint64_t home;
	int r;

	if ((r = sd_bus_message_read(reply, "s", &key)) < 0)
		return r;
	if (strcmp(key, "recheck") == 0)
		return sd_bus_message_read(reply, "v", "u", &placement->recheck);
	if (strcmp(key, "verdicts") == 0 && !*verdicts)
		return read_verdicts(reply, verdicts);
	if (strcmp(key, "home") == 0) {
		if ((r = sd_bus_message_read(reply, "v", "t", &home)) >= 0)
			placement->home = home;
		return r;
	}
	if (strcmp(key, "home-memory") == 0) {
		if ((r = sd_bus_message_read(reply, "v", "s", &word)) >= 0)
			placement->home_memory = memory_of(word);
		return r;
	}
	return sd_bus_message_skip(reply, "v");
}

static int read_answer(sd_bus_message *reply, struct primed_placement *placement,
		       struct primed_verdicts **verdicts)
{
	uint64_t device;
	int r;

	if ((r = sd_bus_message_read(reply, "tuutt", &device, &placement->access,
				     &placement->confidence, &placement->buffer,
				     &placement->generation)) < 0 ||
	    (r = sd_bus_message_enter_container(reply, 'a', "{sv}")) < 0)
		return r;
	if (!placement->buffer)
		return -EBADMSG;
	placement->device = device;
	while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0)
		if ((r = read_detail(reply, placement, verdicts)) < 0 ||
		    (r = sd_bus_message_exit_container(reply)) < 0)
			return r;
	return r;
}

int primed_read_placement(sd_bus_message *reply, bool wants_verdicts,
			  struct primed_placement *placement)
{
	struct primed_verdicts *verdicts = NULL;
	int r;

	*placement = (struct primed_placement)PRIMED_PLACEMENT_INIT;
	if ((r = read_answer(reply, placement, &verdicts)) >= 0 && wants_verdicts && !verdicts &&
	    !(verdicts = calloc(1, sizeof(*verdicts))))
		r = -ENOMEM;
	if (r < 0 || !wants_verdicts) {
		free(verdicts);
		verdicts = NULL;
	}
	placement->verdicts = verdicts;
	return r;
}
