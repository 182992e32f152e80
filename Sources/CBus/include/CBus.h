/* The D-Bus interfaces: vtables in C, since Swift can't import sd-bus's macros; their handlers are Swift,
 * in Sources/Bus, so that only what links the Bus room can link this. */
#pragma once
#include <systemd/sd-bus.h>

const sd_bus_vtable *primed_broker_vtable(void);
const sd_bus_vtable *primed_device_vtable(void);
const sd_bus_vtable *primed_log_control_vtable(void);

#define PRIMED_METHOD(name) \
	int name(sd_bus_message *message, void *userdata, sd_bus_error *error)
#define PRIMED_GETTER(name) \
	int name(sd_bus *bus, const char *path, const char *interface, const char *property, \
		 sd_bus_message *reply, void *userdata, sd_bus_error *error)
#define PRIMED_SETTER(name) \
	int name(sd_bus *bus, const char *path, const char *interface, const char *property, \
		 sd_bus_message *value, void *userdata, sd_bus_error *error)

PRIMED_METHOD(primed_bus_place);
PRIMED_METHOD(primed_bus_place_many);
PRIMED_METHOD(primed_bus_advise);
PRIMED_METHOD(primed_bus_set_defaults);
PRIMED_METHOD(primed_bus_release_device);
PRIMED_GETTER(primed_bus_get_broker);
PRIMED_GETTER(primed_bus_get_device);
PRIMED_GETTER(primed_bus_get_log);
PRIMED_SETTER(primed_bus_set_log);
