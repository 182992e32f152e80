/* umockdev's test bed without GLib's types. One at a time: it is the process's environment. */
#pragma once
#include <stdbool.h>

struct mock_machine;

/* NULL where umockdev's preload library is not in the way of the process's system calls. */
struct mock_machine *mock_machine_new(void);
void mock_machine_free(struct mock_machine *machine);

/* Adds devices in the format of umockdev-record(1); tells the monitors. False: told on stderr. */
bool mock_machine_add(struct mock_machine *machine, const char *description);
/* Removes a device; tells the monitors before. */
void mock_machine_remove(struct mock_machine *machine, const char *syspath);
void mock_machine_set(struct mock_machine *machine, const char *syspath, const char *attribute, const char *value);
/* Sends a uevent as udevd does. */
void mock_machine_event(struct mock_machine *machine, const char *syspath, const char *action);
/* What the kernel does to a device first when its driver leaves it: the driver's link goes, the nodes are still there. */
void mock_machine_unbind(struct mock_machine *machine, const char *syspath);
