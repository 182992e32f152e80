/* client_driver ADDRESS DEFAULT TIMEOUT: the client library by hand, for test_client_library.py. Reads a
 * command a line, and prints a line for everything that comes of it:
 *
 *   ask NAME     asks about the simulated buffer NAME   NAME DEVICE ACCESS asked|known|default
 *   peek NAME    the cache only                         NAME DEVICE ACCESS known, or NAME none
 *   insist NAME  asks, and again in the callback        as ask
 *   file PID FD  asks about an fd of another process    file DEVICE ... as ask, or file error ERRNO
 *   end          closes the client                      what waited; then "fds N": left open beyond the start
 *
 * and "changed" at on_changed, "lost" when the bus is lost. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <primed-client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 64

static struct buffer {
	char name[32];
	int fd;
	bool insist;
} buffers[MOST];

static struct primed_client *client;

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static struct buffer *find(const char *name)
{
	char label[64];

	for (int i = 0; i < MOST; i++) {
		if (strcmp(buffers[i].name, name) == 0)
			return &buffers[i];
		if (buffers[i].name[0])
			continue;
		snprintf(buffers[i].name, sizeof(buffers[i].name), "%s", name);
		snprintf(label, sizeof(label), "primed:%s", name);
		buffers[i].fd = memfd_create(label, MFD_CLOEXEC);
		return &buffers[i];
	}
	abort();
}

static void print(const struct buffer *buffer, const struct primed_placement *p, const char *source)
{
	printf("%s %llu %u %s\n", buffer->name, (unsigned long long)p->device, p->access,
	       p->is_default ? "default" : source);
}

static void ask(struct buffer *buffer);

static void placed(const struct primed_placement *placement, void *data)
{
	struct buffer *buffer = data;

	print(buffer, placement, "asked");
	if (buffer->insist)
		ask(buffer);
}

static struct primed_query query(const struct buffer *buffer)
{
	return (struct primed_query){.planes = &buffer->fd, .n_planes = 1};
}

static void ask(struct buffer *buffer)
{
	struct primed_query q = query(buffer);
	struct primed_placement now;
	int r = primed_client_place(client, &q, &now, placed, buffer);

	if (r < 0)
		printf("%s error %d\n", buffer->name, errno);
	else if (r > 0)
		print(buffer, &now, "known");
}

static void peek(struct buffer *buffer)
{
	struct primed_query q = query(buffer);
	struct primed_placement now;

	if (primed_client_peek(client, &q, &now) > 0)
		print(buffer, &now, "known");
	else
		printf("%s none\n", buffer->name);
}

/* Taken without opening it. */
static void ask_about_file(const char *pid, const char *fd)
{
	static struct buffer file = {.name = "file"};
	int process = (int)syscall(SYS_pidfd_open, atoi(pid), 0);

	file.fd = (int)syscall(SYS_pidfd_getfd, process, atoi(fd), 0);
	ask(&file);
	close(process);
	close(file.fd);
}

static void changed(void *data)
{
	(void)data;
	printf("changed\n");
}

/* Returns whether to go on. */
static bool obey(char *line)
{
	char *command = strtok(line, " \n"), *name = strtok(NULL, " \n");

	if (!command || !name)
		return false;
	if (strcmp(command, "file") == 0) {
		ask_about_file(name, strtok(NULL, " \n"));
		return true;
	}
	find(name)->insist = strcmp(command, "insist") == 0;
	if (strcmp(command, "peek") == 0)
		peek(find(name));
	else
		ask(find(name));
	return true;
}

static void run(void)
{
	char line[128];

	for (;;) {
		struct pollfd waits[] = {{.fd = primed_client_get_fd(client), .events = POLLIN},
					 {.fd = 0, .events = POLLIN}};

		if (poll(waits, 2, -1) < 0)
			return;
		if (waits[0].revents && primed_client_dispatch(client) < 0)
			printf("lost\n");
		if (waits[1].revents && (!fgets(line, sizeof(line), stdin) || !obey(line)))
			return;
	}
}

int main(int count, char **words)
{
	int before = count_fds();

	if (count != 4)
		return 2;
	struct primed_client_options options = {
		.address = words[1],
		.default_device = strtoull(words[2], NULL, 10),
		.timeout = (uint32_t)atoi(words[3]),
		.on_changed = changed,
	};

	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	client = primed_client_open(&options);
	if (!client)
		return 1;
	run();
	primed_client_close(client);
	for (int i = 0; i < MOST && buffers[i].name[0]; i++)
		close(buffers[i].fd);
	printf("fds %d\n", count_fds() - before);
	return 0;
}
