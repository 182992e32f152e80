/* The connection: made without blocking, and again after it is lost. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

/* Milliseconds between two attempts to connect, doubled at each. */
#define RETRY_FIRST 500
#define RETRY_LAST  32000

#define SYSTEM_BUS "unix:path=/run/dbus/system_bus_socket"

/* Parses the address of a plain socket; false: it is of another kind that sd-bus knows. */
static bool parse(const char *address, struct sockaddr_un *to, socklen_t *length)
{
	static const char path[] = "unix:path=", abstract[] = "unix:abstract=";
	bool is_abstract = strncmp(address, abstract, strlen(abstract)) == 0;
	const char *name = address + strlen(is_abstract ? abstract : path);
	size_t size;

	if ((!is_abstract && strncmp(address, path, strlen(path)) != 0) || strpbrk(name, ";%"))
		return false;
	size = strcspn(name, ",");
	if (size + is_abstract >= sizeof(to->sun_path))
		return false;
	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(to->sun_path + is_abstract, name, size);
	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
	return true;
}

/* The number of a socket that sd-bus opens can't be chosen, so the socket is made here. */
static int set_socket(struct primed_client *c, sd_bus *bus, const struct sockaddr_un *to,
		      socklen_t length)
{
	int fd = primed_move_fd(c, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	int r = fd;

	if (fd >= 0 && connect(fd, (const struct sockaddr *)to, length) < 0)
		r = -errno;
	if (r >= 0)
		r = sd_bus_set_fd(bus, fd, fd);
	if (r < 0 && fd >= 0)
		close(fd);
	return r;
}

static int set_address(struct primed_client *c, sd_bus *bus)
{
	const char *address = c->address;
	struct sockaddr_un to;
	socklen_t length;

	if (!address)
		address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
	if (!address)
		address = SYSTEM_BUS;
	if (c->options.first_fd && parse(address, &to, &length))
		return set_socket(c, bus, &to, length);
	return sd_bus_set_address(bus, address);
}

/* sd-bus handles its timeouts before it reads: a program that dispatches seldom would lose a reply
 * that has arrived. So sd-bus has none here; the client has its own for questions and for the
 * connection. */
static int open_bus(struct primed_client *c, sd_bus **bus)
{
	int r;

	if ((r = sd_bus_new(bus)) < 0)
		return r;
	if ((r = set_address(c, *bus)) < 0 || (r = sd_bus_set_bus_client(*bus, 1)) < 0 ||
	    (r = sd_bus_negotiate_fds(*bus, 1)) < 0 ||
	    (r = sd_bus_set_method_call_timeout(*bus, UINT64_MAX)) < 0 || (r = sd_bus_start(*bus)) < 0)
		*bus = sd_bus_unref(*bus);
	return r;
}

/* sd_bus_close_unref, which basu does not have. */
static sd_bus *close_bus(sd_bus *bus)
{
	sd_bus_close(bus);
	return sd_bus_unref(bus);
}

void primed_disconnect(struct primed_client *c, int error)
{
	sd_bus *bus = c->bus;

	if (bus) {
		epoll_ctl(c->epoll, EPOLL_CTL_DEL, sd_bus_get_fd(bus), NULL);
		primed_log(c, LOG_WARNING, "the bus is lost");
	}
	/* A caller that asks again in its callback gets the default. */
	c->bus = NULL;
	c->retry_at = primed_now_ms() + RETRY_FIRST;
	c->listening = 0;
	c->broken = false;
	c->listing = c->lists_again = false;
	c->devices.count = 0;
	primed_forget_all(c);
	primed_become_absent(c, error);
	close_bus(bus);
}

static int try_to_connect(struct primed_client *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	if ((r = open_bus(c, &c->bus)) < 0)
		return r;
	if ((r = primed_listen(c)) < 0 ||
	    (r = epoll_ctl(c->epoll, EPOLL_CTL_ADD, sd_bus_get_fd(c->bus), &event) < 0 ? -errno
										       : 0) < 0)
		c->bus = close_bus(c->bus);
	return r;
}

/* Connects if the time for the next attempt has come. */
int primed_connect(struct primed_client *c)
{
	uint64_t now = primed_now_ms();
	int r;

	if (now < c->retry_at)
		return -ENOTCONN;
	if ((r = try_to_connect(c)) < 0) {
		primed_log(c, LOG_NOTICE, "no bus: %s", strerror(-r));
		primed_become_absent(c, ENOTCONN);
	}
	c->retry_after = c->retry_after ? c->retry_after * 2 : RETRY_FIRST;
	if (c->retry_after > RETRY_LAST)
		c->retry_after = RETRY_LAST;
	c->retry_at = now + c->retry_after;
	primed_arm(c);
	return r;
}
