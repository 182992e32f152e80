/* A service that does nothing: its Ping takes what the bus and the CPU take. */
#include <stdio.h>
#include <systemd/sd-bus.h>

int main(int argc, char **argv)
{
	sd_bus *bus = NULL;

	if (argc != 2 || sd_bus_new(&bus) < 0 || sd_bus_set_address(bus, argv[1]) < 0 ||
	    sd_bus_set_bus_client(bus, 1) < 0 || sd_bus_start(bus) < 0 || sd_bus_request_name(bus, "test.Idle", 0) < 0)
		return 1;
	puts("there");
	fflush(stdout);
	while (sd_bus_process(bus, NULL) >= 0 && sd_bus_wait(bus, UINT64_MAX) >= 0)
		;
	return 0;
}
