#include "MockUdev.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <umockdev.h>

static UMockdevTestbed *testbed(struct mock_machine *machine)
{
	return (UMockdevTestbed *)machine;
}

struct mock_machine *mock_machine_new(void)
{
	UMockdevTestbed *made = umockdev_testbed_new();

	if (umockdev_in_mock_environment())
		return (struct mock_machine *)made;
	g_object_unref(made);
	return NULL;
}

void mock_machine_free(struct mock_machine *machine)
{
	g_object_unref(machine);
}

bool mock_machine_add(struct mock_machine *machine, const char *description)
{
	GError *error = NULL;

	if (umockdev_testbed_add_from_string(testbed(machine), description, &error))
		return true;
	fprintf(stderr, "umockdev: %s\n", error->message);
	g_error_free(error);
	return false;
}

void mock_machine_remove(struct mock_machine *machine, const char *syspath)
{
	umockdev_testbed_uevent(testbed(machine), syspath, "remove");
	umockdev_testbed_remove_device(testbed(machine), syspath);
}

void mock_machine_set(struct mock_machine *machine, const char *syspath, const char *attribute, const char *value)
{
	umockdev_testbed_set_attribute(testbed(machine), syspath, attribute, value);
}

void mock_machine_event(struct mock_machine *machine, const char *syspath, const char *action)
{
	umockdev_testbed_uevent(testbed(machine), syspath, action);
}

void mock_machine_unbind(struct mock_machine *machine, const char *syspath)
{
	char *root = umockdev_testbed_get_root_dir(testbed(machine));
	char *link = g_build_filename(root, syspath, "driver", NULL);

	g_unlink(link);
	g_free(link);
	g_free(root);
}
