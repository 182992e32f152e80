/* What primed and the bus tell without being asked.
 *
 * sd-bus leaves it to the bus to check a match's sender, and no bus checks the sender of what is sent to one
 * connection alone: each signal's sender is looked at here, so that nobody but primed can call answers
 * in question. */
#define _GNU_SOURCE
#include "internal.h"

#include <string.h>

#define DRIVER "org.freedesktop.DBus"

void primed_forget_all(struct primed_client *c)
{
	c->epoch++;
	c->generation = 0;
	primed_cache_clear(&c->cache);
}

void primed_tell_changed(struct primed_client *c)
{
	if (c->options.on_changed)
		c->options.on_changed(c->options.data);
}

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
		primed_forget_all(c);
	else if (generation > c->generation)
		c->generation = generation;
	primed_tell_changed(c);
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
		primed_forget_all(c);
	else
		primed_cache_drop(&c->cache, buffer);
	primed_tell_changed(c);
	return 0;
}

void primed_set_owner(struct primed_client *c, const char *owner)
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
	primed_set_owner(c, new);
	primed_forget_all(c);
	if (*new)
		primed_tell_changed(c);
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
	primed_set_owner(c, owner);
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

int primed_listen(struct primed_client *c)
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
