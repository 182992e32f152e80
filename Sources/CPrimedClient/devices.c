/* primed's devices, from its ObjectManager: a number may be that of a card or of a render node. */
#define _GNU_SOURCE
#include "internal.h"

#include <string.h>

static const struct device *find(const struct devices *devices, dev_t number)
{
	for (unsigned int i = 0; i < devices->count; i++)
		if (devices->list[i].render == number || devices->list[i].primary == number)
			return &devices->list[i];
	return NULL;
}

bool primed_is_same_device(const struct devices *devices, dev_t a, dev_t b)
{
	const struct device *device;

	if (!a || !b)
		return false;
	return a == b || ((device = find(devices, a)) && device == find(devices, b));
}

bool primed_honours_no_move(const struct devices *devices, dev_t number)
{
	const struct device *device = number ? find(devices, number) : NULL;

	return device && device->honours_no_move;
}

static int read_number(sd_bus_message *m, dev_t *number)
{
	uint64_t value;
	int r = sd_bus_message_read(m, "v", "t", &value);

	*number = r < 0 ? 0 : value;
	return r;
}

static int read_property(sd_bus_message *m, struct device *device)
{
	const char *name, *word;
	int r = sd_bus_message_read(m, "s", &name);

	if (r < 0)
		return r;
	if (strcmp(name, "RenderDevice") == 0)
		return read_number(m, &device->render);
	if (strcmp(name, "PrimaryDevice") == 0)
		return read_number(m, &device->primary);
	if (strcmp(name, "NoMove") != 0)
		return sd_bus_message_skip(m, "v");
	if ((r = sd_bus_message_read(m, "v", "s", &word)) >= 0)
		device->honours_no_move = strcmp(word, "honoured") == 0;
	return r;
}

static int read_interface(sd_bus_message *m, struct devices *devices)
{
	struct device device = {0};
	const char *name;
	int r;

	if ((r = sd_bus_message_read(m, "s", &name)) < 0)
		return r;
	if (strcmp(name, PRIMED_BUS_NAME ".Device") != 0)
		return sd_bus_message_skip(m, "a{sv}");
	if ((r = sd_bus_message_enter_container(m, 'a', "{sv}")) < 0)
		return r;
	while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0)
		if ((r = read_property(m, &device)) < 0 ||
		    (r = sd_bus_message_exit_container(m)) < 0)
			return r;
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r >= 0 && devices->count < DEVICES_LIMIT)
		devices->list[devices->count++] = device;
	return r;
}

static int read_object(sd_bus_message *m, struct devices *devices)
{
	int r;

	if ((r = sd_bus_message_skip(m, "o")) < 0 ||
	    (r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}")) < 0)
		return r;
	while ((r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0)
		if ((r = read_interface(m, devices)) < 0 ||
		    (r = sd_bus_message_exit_container(m)) < 0)
			return r;
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

int primed_read_devices(sd_bus_message *reply, struct devices *devices)
{
	int r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");

	devices->count = 0;
	if (r < 0)
		return r;
	while ((r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0)
		if ((r = read_object(reply, devices)) < 0 ||
		    (r = sd_bus_message_exit_container(reply)) < 0)
			return r;
	return r;
}
