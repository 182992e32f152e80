/* place ADDRESS DEFAULT [BUFFER...]: a compositor's loop in small. Asks about each simulated buffer twice, and
 * prints a line an answer: buffer, device, access, and where it came from. On real hardware the fds come
 * from zwp_linux_dmabuf_v1; an empty ADDRESS is the system bus. */
#define _GNU_SOURCE
#include <poll.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int waiting;

static void print(const char *name, const struct primed_placement *p, const char *source)
{
	printf("%s %llu %u %s\n", name, (unsigned long long)p->device, p->access,
	       p->is_default ? "default" : source);
}

static void placed(const struct primed_placement *placement, void *name)
{
	print(name, placement, "asked");
	waiting--;
}

static int run(struct primed_client *client)
{
	while (waiting) {
		struct pollfd wait = {.fd = primed_client_get_fd(client), .events = POLLIN};

		if (poll(&wait, 1, -1) < 0 || primed_client_dispatch(client) < 0) {
			perror("place");
			return -1;
		}
	}
	return 0;
}

static int make_buffer(const char *name)
{
	char label[64];

	snprintf(label, sizeof(label), "primed:%s", name);
	return memfd_create(label, MFD_CLOEXEC);
}

static int ask(struct primed_client *client, char *name, int fd)
{
	struct primed_query query = PRIMED_QUERY_INIT;
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	int r;

	query.planes = &fd;
	query.n_planes = 1;
	r = primed_client_place(client, &query, &now, placed, name);
	if (r < 0)
		perror(name);
	else if (r > 0)
		print(name, &now, "cached");
	else
		waiting++;
	return r < 0 ? -1 : run(client);
}

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;

	options.address = *words[1] ? words[1] : NULL;
	options.default_device = strtoull(words[2], NULL, 10);
	options.timeout = 5000;
	struct primed_client *client = primed_client_open(&options);

	if (!client) {
		perror("primed_client_open");
		return 1;
	}
	for (int i = 3; i < count; i++) {
		int fd = make_buffer(words[i]);

		if (ask(client, words[i], fd) < 0 || ask(client, words[i], fd) < 0)
			return 1;
		close(fd);
	}
	primed_client_close(client);
	return 0;
}
