/* Without a bus a client opens at once, gives the default for a buffer, and refuses other files. */
#define _GNU_SOURCE
#include <errno.h>
#include <primed-client.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                 \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static void placed(const struct primed_placement *placement, void *data)
{
	(void)placement;
	*(int *)data += 1;
}

int main(void)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct primed_query query = PRIMED_QUERY_INIT;
	struct primed_client *client;
	int calls = 0, buffer = memfd_create("primed:game", MFD_CLOEXEC), fd, closed = dup(buffer);
	uint32_t access, can;

	options.address = "unix:path=/nonexistent/bus";
	options.default_device = makedev(226, 128);
	client = primed_client_open(&options);
	CHECK(client && primed_client_get_fd(client) >= 0 && primed_client_dispatch(client) == 0);

	query.planes = &buffer;
	query.n_planes = 1;
	query.verdicts = true;
	CHECK(primed_client_place(client, &query, &now, placed, &calls) == 1);
	CHECK(now.is_default && now.error == ENOTCONN && now.device == options.default_device &&
	      !calls);
	CHECK(primed_client_place_fd(client, &query, &now, &fd, NULL) == 1 && fd == -1);
	CHECK(primed_client_access(client, &query, options.default_device, &access, &can) == 0);
	CHECK(primed_client_cancel(client, &calls) == 0);

	query.n_planes = 0;
	CHECK(primed_client_place(client, &query, &now, placed, &calls) == -1 && errno == EINVAL);
	query.n_planes = 1;
	query.size = 8;
	CHECK(primed_client_place(client, &query, &now, placed, &calls) == -1 && errno == EINVAL);
	query.size = sizeof(query);
	close(closed);
	query.planes = &closed;
	CHECK(primed_client_place(client, &query, &now, placed, &calls) == -1 && errno == EBADF);
	primed_client_close(client);
	return 0;
}
