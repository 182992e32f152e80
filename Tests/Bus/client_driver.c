/* client_driver ADDRESS DEFAULT TIMEOUT [FIRST_FD]: the client library by hand, for test_client_library.py. Reads a
 * command a line, and prints a line for everything that comes of it:
 *
 *   ask NAME [HINT...]     asks about the simulated buffer NAME   NAME DEVICE ACCESS asked|known|default ERROR
 *   peek NAME [HINT...]    the cache only                         NAME DEVICE ACCESS known, or NAME none
 *   insist NAME            asks, and again in the callback        as ask
 *   times N NAME [HINT...] asks N times, handling what comes      times N
 *   fence NAME             asks, waiting for an fd                NAME readable, and as ask
 *   cancel NAME            takes back what was asked              NAME cancelled COUNT
 *   access DEVICE NAME [HINT...]                                  NAME access ACCESS CAN, none or ERROR
 *   home NAME              of the answer in the cache             NAME home DEVICE MEMORY
 *   advise USER...         each DEVICE:USE                        advice DEVICE MEMORY ACCESS..., or ERROR
 *   explain NAME           the text, a line each                  explained ERROR
 *   import NODE NAME       primed_prime_fd_to_handle_no_move      NAME imported HANDLE, or ERROR
 *   file PID FD            asks about an fd of another process    file DEVICE ... as ask, or file error ERROR
 *   fds                    the lowest fd beyond 2                lowest N
 *   stall                  neither reads nor handles anything for two timeouts
 *   end                    closes the client                      what waited; then "fds N": left open beyond the
 *                                                                 start
 *
 * and "changed" at on_changed, "lost" when the bus is lost, "log TEXT" if LOG is in the environment. HINTs:
 * candidates=N,N... verdicts target=N usage=BITS format=N modifier=N pidfd wake fresh client=PID */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
	int fd, fence;
	bool insist;
	struct primed_query query;
	dev_t candidates[8];
} buffers[MOST];

static struct primed_client *client;
static bool quiet;
static int timeout;

static int count_fds(int *lowest)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int count = 0;

	*lowest = 1 << 30;
	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		count++;
		if (entry->d_name[0] != '.' && fd > 2 && fd != dirfd(dir) && fd < *lowest)
			*lowest = fd;
	}
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
		buffers[i].fence = -1;
		return &buffers[i];
	}
	abort();
}

static void print(const struct buffer *buffer, const struct primed_placement *p, const char *source)
{
	if (quiet)
		return;
	printf("%s %llu %u %s", buffer->name, (unsigned long long)p->device, p->access,
	       p->is_default ? "default" : source);
	if (p->is_default)
		printf(" %s", strerrorname_np(p->error));
	printf("\n");
}

static void ask(struct buffer *buffer);

static void placed(const struct primed_placement *placement, void *data)
{
	struct buffer *buffer = data;

	print(buffer, placement, "asked");
	if (buffer->insist)
		ask(buffer);
}

static void read_hint(struct buffer *buffer, const char *word)
{
	struct primed_query *q = &buffer->query;
	const char *value = strchr(word, '=');

	if (strncmp(word, "candidates=", 11) == 0) {
		q->candidates = buffer->candidates;
		for (char *at = (char *)value + 1; *at; at += *at == ',')
			buffer->candidates[q->n_candidates++] = strtoull(at, &at, 10);
	} else if (strcmp(word, "verdicts") == 0) {
		q->verdicts = true;
	} else if (strncmp(word, "target=", 7) == 0) {
		q->target_device = strtoull(value + 1, NULL, 10);
	} else if (strncmp(word, "usage=", 6) == 0) {
		q->usage = (uint32_t)atoi(value + 1);
	} else if (strncmp(word, "format=", 7) == 0) {
		q->format = (uint32_t)atoi(value + 1);
	} else if (strncmp(word, "modifier=", 9) == 0) {
		q->modifier = strtoull(value + 1, NULL, 10);
		q->has_modifier = true;
	} else if (strncmp(word, "client=", 7) == 0) {
		q->client = atoi(value + 1);
	} else if (strcmp(word, "pidfd") == 0) {
		q->client_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	} else if (strcmp(word, "wake") == 0) {
		q->wake = true;
	} else if (strcmp(word, "fresh") == 0) {
		q->fresh = true;
	} else {
		abort();
	}
}

/* The buffer that the rest of the line names, with its hints. */
static struct buffer *read_buffer(void)
{
	char *name = strtok(NULL, " \n"), *word;
	struct buffer *buffer = name ? find(name) : NULL;

	if (!buffer)
		abort();
	buffer->insist = false;
	buffer->query = (struct primed_query)PRIMED_QUERY_INIT;
	buffer->query.planes = &buffer->fd;
	buffer->query.n_planes = 1;
	while ((word = strtok(NULL, " \n")))
		read_hint(buffer, word);
	return buffer;
}

static void ask(struct buffer *buffer)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	int r = primed_client_place(client, &buffer->query, &now, placed, buffer);

	if (r < 0)
		printf("%s error %s\n", buffer->name, strerrorname_np(errno));
	else if (r > 0)
		print(buffer, &now, "known");
	if (buffer->query.client_pidfd)
		close(buffer->query.client_pidfd);
	buffer->query.client_pidfd = 0;
}

static void peek(struct buffer *buffer)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;

	if (primed_client_peek(client, &buffer->query, &now) > 0)
		print(buffer, &now, "known");
	else
		printf("%s none\n", buffer->name);
}

static void print_home(const struct buffer *buffer)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;

	primed_client_peek(client, &buffer->query, &now);
	printf("%s home %llu %u\n", buffer->name, (unsigned long long)now.home, now.home_memory);
}

static void print_access(dev_t device, struct buffer *buffer)
{
	uint32_t access, can;
	int r = primed_client_access(client, &buffer->query, device, &access, &can);

	if (r > 0)
		printf("%s access %u %u\n", buffer->name, access, can);
	else
		printf("%s access %s\n", buffer->name, r == 0 ? "none" : strerrorname_np(errno));
}

static void ask_times(int count, struct buffer *buffer)
{
	quiet = true;
	for (int i = 0; i < count; i++) {
		ask(buffer);
		primed_client_dispatch(client);
	}
	quiet = false;
	printf("times %d\n", count);
}

static void ask_with_fence(struct buffer *buffer)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	int r = primed_client_place_fd(client, &buffer->query, &now, &buffer->fence, buffer);

	if (r < 0)
		printf("%s error %s\n", buffer->name, strerrorname_np(errno));
	else if (r > 0)
		print(buffer, &now, "known");
}

static void advised(const struct primed_advice *advice, void *data)
{
	(void)data;
	printf("advice");
	if (advice->error)
		printf(" %s", strerrorname_np(advice->error));
	for (unsigned int i = 0; i < advice->n_places; i++) {
		const struct primed_place *place = advice->places[i];

		printf(" %llu %u", (unsigned long long)place->device, place->memory);
		for (unsigned int j = 0; j < place->n_accesses; j++)
			printf(" %u", place->accesses[j]);
	}
	printf("\n");
}

static void advise(void)
{
	struct primed_user users[16];
	unsigned int count = 0;
	char *word, *rest;

	while ((word = strtok(NULL, " \n")) && count < 16) {
		users[count].device = strtoull(word, &rest, 10);
		users[count++].use = (uint32_t)atoi(rest + 1);
	}
	if (primed_client_advise(client, users, count, NULL, advised, users) < 0)
		printf("advice %s\n", strerrorname_np(errno));
}

static void explained(const char *text, int error, void *data)
{
	(void)data;
	if (text)
		fputs(text, stdout);
	printf("explained %s\n", error ? strerrorname_np(error) : "0");
}

static void import(const char *path, struct buffer *buffer)
{
	int node = open(path, O_PATH | O_CLOEXEC);
	uint32_t handle;

	if (primed_prime_fd_to_handle_no_move(client, node, buffer->fd, &handle) == 0)
		printf("%s imported %u\n", buffer->name, handle);
	else
		printf("%s import %s\n", buffer->name, strerrorname_np(errno));
	close(node);
}

/* Taken without opening it. */
static void ask_about_file(const char *pid, const char *fd)
{
	static struct buffer file = {.name = "file", .query = PRIMED_QUERY_INIT};
	int process = (int)syscall(SYS_pidfd_open, atoi(pid), 0);

	file.fd = (int)syscall(SYS_pidfd_getfd, process, atoi(fd), 0);
	file.query.planes = &file.fd;
	file.query.n_planes = 1;
	ask(&file);
	close(process);
	close(file.fd);
}

static void changed(uint64_t buffer, void *data)
{
	(void)data;
	if (buffer)
		printf("changed %llu\n", (unsigned long long)buffer);
	else
		printf("changed\n");
}

static void logged(int priority, const char *text, void *data)
{
	(void)priority;
	(void)data;
	printf("log %s\n", text);
}

/* Returns whether to go on. */
static bool obey(char *line)
{
	char *command = strtok(line, " \n"), *word;

	if (!command || strcmp(command, "end") == 0)
		return false;
	if (strcmp(command, "ask") == 0) {
		ask(read_buffer());
	} else if (strcmp(command, "peek") == 0) {
		peek(read_buffer());
	} else if (strcmp(command, "insist") == 0) {
		struct buffer *buffer = read_buffer();

		buffer->insist = true;
		ask(buffer);
	} else if (strcmp(command, "times") == 0) {
		int count = atoi(strtok(NULL, " \n"));

		ask_times(count, read_buffer());
	} else if (strcmp(command, "fence") == 0) {
		ask_with_fence(read_buffer());
	} else if (strcmp(command, "cancel") == 0) {
		struct buffer *buffer = read_buffer();

		printf("%s cancelled %u\n", buffer->name, primed_client_cancel(client, buffer));
	} else if (strcmp(command, "access") == 0) {
		dev_t device = strtoull(strtok(NULL, " \n"), NULL, 10);

		print_access(device, read_buffer());
	} else if (strcmp(command, "home") == 0) {
		print_home(read_buffer());
	} else if (strcmp(command, "advise") == 0) {
		advise();
	} else if (strcmp(command, "explain") == 0) {
		if (primed_client_explain(client, &read_buffer()->query, explained, NULL) < 0)
			printf("explained %s\n", strerrorname_np(errno));
	} else if (strcmp(command, "import") == 0) {
		word = strtok(NULL, " \n");
		import(word, read_buffer());
	} else if (strcmp(command, "file") == 0) {
		word = strtok(NULL, " \n");
		ask_about_file(word, strtok(NULL, " \n"));
	} else if (strcmp(command, "stall") == 0) {
		poll(NULL, 0, 2 * timeout);
	} else if (strcmp(command, "fds") == 0) {
		int lowest;

		count_fds(&lowest);
		printf("lowest %d\n", lowest);
	} else {
		abort();
	}
	return true;
}

/* What waits for an fd: its answer is there. */
static void look_at_fences(void)
{
	for (int i = 0; i < MOST && buffers[i].name[0]; i++) {
		struct pollfd wait = {.fd = buffers[i].fence, .events = POLLIN};

		if (wait.fd < 0 || poll(&wait, 1, 0) != 1)
			continue;
		close(buffers[i].fence);
		buffers[i].fence = -1;
		printf("%s readable\n", buffers[i].name);
		ask(&buffers[i]);
	}
}

static void run(void)
{
	char line[512];

	for (;;) {
		struct pollfd waits[] = {{.fd = primed_client_get_fd(client), .events = POLLIN},
					 {.fd = 0, .events = POLLIN}};

		if (poll(waits, 2, -1) < 0)
			return;
		if (waits[0].revents && primed_client_dispatch(client) < 0)
			printf("lost\n");
		look_at_fences();
		if (waits[1].revents && (!fgets(line, sizeof(line), stdin) || !obey(line)))
			return;
	}
}

int main(int count, char **words)
{
	int lowest, before = count_fds(&lowest);
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;

	if (count < 4)
		return 2;
	options.address = words[1];
	options.default_device = strtoull(words[2], NULL, 10);
	options.timeout = (uint32_t)(timeout = atoi(words[3]));
	options.first_fd = count > 4 ? atoi(words[4]) : 0;
	options.on_changed = changed;
	if (getenv("LOG"))
		options.on_log = logged;

	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	client = primed_client_open(&options);
	if (!client)
		return 1;
	run();
	primed_client_close(client);
	for (int i = 0; i < MOST && buffers[i].name[0]; i++) {
		close(buffers[i].fd);
		if (buffers[i].fence >= 0)
			close(buffers[i].fence);
	}
	printf("fds %d\n", count_fds(&lowest) - before);
	return 0;
}
