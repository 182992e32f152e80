/* The D-Bus interfaces as sd-bus tables: one row a member, in the order of dbus/. The
 * handlers are Swift, in Sources/Bus. */
#include "CBus.h"

#include <stddef.h>

/* By default sd-bus accepts calls of privileged callers only; here the bus policy decides who may call. */
#define OPEN SD_BUS_VTABLE_UNPRIVILEGED
#define CONSTANT SD_BUS_VTABLE_PROPERTY_CONST
#define INVALIDATES SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

#define PLACEMENT_RESULT \
	SD_BUS_RESULT("t", device, "u", access, "u", confidence, "t", buffer, "t", generation, \
		      "a{sv}", details)

static const sd_bus_vtable broker_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD_WITH_ARGS("Place", SD_BUS_ARGS("ah", planes, "a{sv}", hints), PLACEMENT_RESULT,
				primed_bus_place, OPEN),
	SD_BUS_METHOD_WITH_ARGS("PlaceMany", SD_BUS_ARGS("a(aha{sv})", items),
				SD_BUS_RESULT("a(tuutta{sv})", answers), primed_bus_place_many, OPEN),
	SD_BUS_METHOD_WITH_ARGS("Advise", SD_BUS_ARGS("a(tu)", users, "a{sv}", hints),
				SD_BUS_RESULT("a(tsau)", places, "t", generation, "a{sv}", details),
				primed_bus_advise, OPEN),
	SD_BUS_METHOD_WITH_ARGS("SetDefaults", SD_BUS_ARGS("a{sv}", hints), SD_BUS_NO_RESULT,
				primed_bus_set_defaults, OPEN),
	SD_BUS_METHOD_WITH_ARGS("ReleaseDevice", SD_BUS_ARGS("t", device, "s", why),
				SD_BUS_RESULT("h", guard), primed_bus_release_device, OPEN),
	SD_BUS_PROPERTY("Version", "s", primed_bus_get_broker, 0, CONSTANT),
	SD_BUS_PROPERTY("Generation", "t", primed_bus_get_broker, 0, CHANGES),
	SD_BUS_PROPERTY("PrimaryDevice", "t", primed_bus_get_broker, 0, CHANGES),
	SD_BUS_PROPERTY("NoMove", "s", primed_bus_get_broker, 0, CHANGES),
	SD_BUS_PROPERTY("Evidence", "as", primed_bus_get_broker, 0, CHANGES),
	SD_BUS_PROPERTY("Pairs", "a(ssssssss)", primed_bus_get_broker, 0, INVALIDATES),
	SD_BUS_PROPERTY("Statistics", "a{st}", primed_bus_get_broker, 0, 0),
	SD_BUS_SIGNAL_WITH_ARGS("PlacementsInvalidated",
				SD_BUS_ARGS("t", generation, "at", devices), 0),
	SD_BUS_SIGNAL_WITH_ARGS("PlacementChanged",
				SD_BUS_ARGS("t", buffer, "t", device, "u", access, "u", confidence), 0),
	SD_BUS_SIGNAL_WITH_ARGS("DeviceReleasing", SD_BUS_ARGS("t", device), 0),
	SD_BUS_VTABLE_END
};

static const sd_bus_vtable device_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("RenderNode", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("PrimaryNode", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("RenderDevice", "t", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("PrimaryDevice", "t", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("Driver", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("DriverVersion", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Vendor", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Model", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Bus", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("SysfsPath", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("StableId", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Seat", "s", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("BootVGA", "b", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Primary", "b", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("DedicatedMemory", "t", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("DedicatedMemoryEstimated", "b", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Power", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("NoMove", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("Import", "b", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("Export", "b", primed_bus_get_device, 0, CONSTANT),
	SD_BUS_PROPERTY("Role", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("Connectors", "as", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("ConnectedConnectors", "as", primed_bus_get_device, 0, CHANGES),
	SD_BUS_PROPERTY("State", "s", primed_bus_get_device, 0, CHANGES),
	SD_BUS_VTABLE_END
};

static const sd_bus_vtable log_control_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", primed_bus_get_log, primed_bus_set_log, 0, 0),
	SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", primed_bus_get_log, primed_bus_set_log, 0, 0),
	SD_BUS_PROPERTY("SyslogIdentifier", "s", primed_bus_get_log, 0, 0),
	SD_BUS_VTABLE_END
};

const sd_bus_vtable *primed_broker_vtable(void) { return broker_vtable; }
const sd_bus_vtable *primed_device_vtable(void) { return device_vtable; }
const sd_bus_vtable *primed_log_control_vtable(void) { return log_control_vtable; }
