/* Place, on the wire. */
#include "internal.h"

#include <errno.h>
#include <string.h>

static int append_usage(sd_bus_message *call, uint32_t usage)
{
	static const char *const words[] = {"sample", "scanout", "capture"};
	int r;

	if ((r = sd_bus_message_open_container(call, 'e', "sv")) < 0 ||
	    (r = sd_bus_message_append(call, "s", "usage")) < 0 ||
	    (r = sd_bus_message_open_container(call, 'v', "as")) < 0 ||
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

static int append_device(sd_bus_message *call, const char *key, dev_t device)
{
	return device ? sd_bus_message_append(call, "{sv}", key, "t", (uint64_t)device) : 0;
}

static int append_hints(sd_bus_message *call, const struct primed_query *query)
{
	int r;

	if ((r = sd_bus_message_open_container(call, 'a', "{sv}")) < 0 ||
	    (r = append_device(call, "sampling-device", query->sampling_device)) < 0 ||
	    (r = append_device(call, "target-device", query->target_device)) < 0 ||
	    (r = append_device(call, "primary-device", query->primary_device)) < 0 ||
	    (query->usage && (r = append_usage(call, query->usage)) < 0))
		return r;
	if (query->format && ((r = sd_bus_message_append(call, "{sv}", "format", "u", query->format)) < 0 ||
			      (r = sd_bus_message_append(call, "{sv}", "modifier", "t", query->modifier)) < 0))
		return r;
	if (query->client &&
	    (r = sd_bus_message_append(call, "{sv}", "client", "u", (uint32_t)query->client)) < 0)
		return r;
	if (query->fresh && (r = sd_bus_message_append(call, "{sv}", "fresh", "b", 1)) < 0)
		return r;
	return sd_bus_message_close_container(call);
}

int primed_write_place(sd_bus *bus, const struct primed_query *query, sd_bus_message **call)
{
	int r = sd_bus_message_new_method_call(bus, call, "org.primed.Broker1", "/org/primed/Broker1",
					       "org.primed.Broker1", "Place");

	if (r < 0)
		return r;
	if ((r = sd_bus_message_open_container(*call, 'a', "h")) >= 0) {
		for (unsigned int i = 0; i < query->n_planes && r >= 0; i++)
			r = sd_bus_message_append(*call, "h", query->planes[i]);
		if (r >= 0 && (r = sd_bus_message_close_container(*call)) >= 0)
			r = append_hints(*call, query);
	}
	if (r < 0)
		*call = sd_bus_message_unref(*call);
	return r;
}

int primed_read_placement(sd_bus_message *reply, struct primed_placement *placement)
{
	uint64_t device;
	const char *key;
	int r;

	if (sd_bus_message_is_method_error(reply, NULL))
		return -sd_bus_message_get_errno(reply);
	*placement = (struct primed_placement){0};
	if ((r = sd_bus_message_read(reply, "tuutt", &device, &placement->access, &placement->confidence,
				     &placement->buffer, &placement->generation)) < 0 ||
	    (r = sd_bus_message_enter_container(reply, 'a', "{sv}")) < 0)
		return r;
	placement->device = device;
	while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		if ((r = sd_bus_message_read(reply, "s", &key)) < 0)
			return r;
		if (strcmp(key, "recheck") == 0)
			r = sd_bus_message_read(reply, "v", "u", &placement->recheck);
		else
			r = sd_bus_message_skip(reply, "v");
		if (r < 0 || (r = sd_bus_message_exit_container(reply)) < 0)
			return r;
	}
	return r;
}
