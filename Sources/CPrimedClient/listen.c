/* Signals of primed and of the bus, by which the client knows whether primed runs. sd-bus leaves
 * checking a match's sender to the bus, and no bus checks the sender of a message that is
 * addressed to one connection: the sender of each signal is checked here, so that only primed
 * can invalidate answers. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

static bool is_from(sd_bus_message *m, const char *name)
{
	const char *sender = sd_bus_message_get_sender(m);

	return sender && strcmp(sender, name) == 0;
}

static void list_devices(struct primed_client *c);

static int on_devices(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;

	(void)error;
	c->listing = false;
	if (sd_bus_message_is_method_error(reply, NULL) ||
	    primed_read_devices(reply, &c->devices) < 0)
		c->devices.count = 0;
	if (c->lists_again)
		list_devices(c);
	return 0;
}

/* One such call at a time, for any number of changes. */
static void list_devices(struct primed_client *c)
{
	sd_bus_message *call;

	c->lists_again = c->listing;
	if (c->listing || c->state != READY)
		return;
	if (sd_bus_message_new_method_call(c->bus, &call, PRIMED_BUS_NAME, PRIMED_BUS_PATH,
					   "org.freedesktop.DBus.ObjectManager",
					   "GetManagedObjects") < 0)
		return;
	sd_bus_message_set_auto_start(call, 0);
	c->listing = sd_bus_call_async(c->bus, NULL, call, on_devices, c, 0) >= 0;
	sd_bus_message_unref(call);
}

void primed_become_absent(struct primed_client *c, int error)
{
	c->state = ABSENT;
	c->hangs = false;
	c->owes_change = true;
	c->owner[0] = '\0';
	primed_end_questions(c, error);
}

static void become_ready(struct primed_client *c)
{
	if (c->state == ABSENT)
		primed_log(c, LOG_INFO, "primed is there");
	c->state = READY;
	c->hangs = false;
	c->last_answer = primed_now_ms();
	list_devices(c);
	primed_send_questions(c);
	if (c->owes_change) {
		c->owes_change = false;
		primed_tell_changed(c, 0);
	}
}

static int on_invalidated(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	uint64_t generation;

	(void)error;
	if (!is_from(signal, c->owner))
		return 0;
	if (sd_bus_message_read(signal, "t", &generation) < 0)
		primed_forget_all(c);
	else if (generation > c->generation)
		c->generation = generation;
	/* A question that was refused may be answered now. */
	primed_cache_drop(&c->cache, 0);
	list_devices(c);
	primed_tell_changed(c, 0);
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
	if (sd_bus_message_read(signal, "t", &buffer) < 0) {
		buffer = 0;
		primed_forget_all(c);
	} else {
		primed_cache_drop(&c->cache, buffer);
	}
	primed_tell_changed(c, buffer);
	return 0;
}

static void set_owner(struct primed_client *c, const char *owner)
{
	c->owner[0] = '\0';
	strncat(c->owner, owner, sizeof(c->owner) - 1);
	if (*owner && c->listening == LISTENING)
		become_ready(c);
}

static int on_owner_changed(sd_bus_message *signal, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	const char *name, *old, *new;

	(void)error;
	if (!is_from(signal, PRIMED_DRIVER_NAME) ||
	    sd_bus_message_read(signal, "sss", &name, &old, &new) < 0)
		return 0;
	if (*old) {
		primed_log(c, LOG_WARNING, "primed has gone");
		primed_forget_all(c);
		primed_become_absent(c, ENOTCONN);
	}
	set_owner(c, new);
	return 0;
}

/* If primed was started, its name has an owner by now. */
static int on_started(sd_bus_message *reply, void *data, sd_bus_error *ignored)
{
	struct primed_client *c = data;
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	(void)ignored;
	if (error && c->state == CONNECTING) {
		primed_log(c, LOG_INFO, "primed does not run: %s",
			   error->message ? error->message : error->name);
		primed_become_absent(c, ENOTCONN);
	}
	return 0;
}

static int on_owner(sd_bus_message *reply, void *data, sd_bus_error *error)
{
	struct primed_client *c = data;
	const char *owner;

	(void)error;
	/* An error means that primed does not run yet. */
	if (sd_bus_message_is_method_error(reply, NULL))
		owner = "";
	else if (sd_bus_message_read(reply, "s", &owner) < 0)
		return 0;
	c->listening++;
	set_owner(c, owner);
	if (!*owner)
		return sd_bus_call_method_async(
			c->bus, NULL, PRIMED_DRIVER_NAME, PRIMED_DRIVER_PATH, PRIMED_DRIVER_NAME,
			"StartServiceByName", on_started, c, "su", PRIMED_BUS_NAME, 0);
	return 0;
}

/* Without the matches an answer can't be cached: try again later. */
static int on_listening(sd_bus_message *reply, void *data, sd_bus_error *ignored)
{
	struct primed_client *c = data;
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	(void)ignored;
	if (error) {
		primed_log(c, LOG_WARNING, "the bus refuses to tell about primed: %s",
			   error->message ? error->message : error->name);
		c->broken = true;
	} else {
		c->listening++;
	}
	return 0;
}

int primed_listen(struct primed_client *c)
{
	static const char broker[] = PRIMED_BUS_NAME, path[] = PRIMED_BUS_PATH;
	int r;

	if ((r = sd_bus_match_signal_async(c->bus, NULL, broker, path, broker,
					   "PlacementsInvalidated", on_invalidated, on_listening,
					   c)) < 0 ||
	    (r = sd_bus_match_signal_async(c->bus, NULL, broker, path, broker, "PlacementChanged",
					   on_placement_changed, on_listening, c)) < 0)
		return r;
	if ((r = sd_bus_add_match_async(c->bus, NULL,
					"type='signal',sender='" PRIMED_DRIVER_NAME
					"',path='" PRIMED_DRIVER_PATH "',"
					"interface='" PRIMED_DRIVER_NAME
					"',member='NameOwnerChanged',arg0='" PRIMED_BUS_NAME "'",
					on_owner_changed, on_listening, c)) < 0)
		return r;
	return sd_bus_call_method_async(c->bus, NULL, PRIMED_DRIVER_NAME, PRIMED_DRIVER_PATH,
					PRIMED_DRIVER_NAME, "GetNameOwner", on_owner, c, "s",
					broker);
}
