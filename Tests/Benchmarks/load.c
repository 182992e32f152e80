/* load ADDRESS NAME KIND COUNT WINDOW [OPTION=VALUE]...: asks COUNT times with WINDOW questions under way, and
 * prints the median time of a question, in nanoseconds (with a window: the time of all, by COUNT).
 *
 * KIND: ping; advise; place, verdicts, candidates: of a buffer that is known after the first question; first: of
 * a new buffer each time, made before the clock starts; many: by PlaceMany.
 * Options: buffers=N: 64 of b0 ... bN, spread evenly, in turns, in place of one; items=N: so many buffers at a time,
 * b0, b1, ... (64 at most); from=N: the first new buffer is bN; node=PATH: the new buffers are allocated on this
 * tgpu (Tests/Guest/tgpu), and not simulated. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

#define SPREAD 64

static sd_bus *bus;
static int fds[SPREAD], node = -1;
static unsigned spread = 1, items = 1, from, asked, answered;

static int on_answer(sd_bus_message *m, void *data, sd_bus_error *error)
{
	(void)data;
	(void)error;
	check_reply(m);
	answered++;
	return 0;
}

/* --- buffers --- */

struct create { uint64_t size; uint32_t preferred, handle; };
struct prime { uint32_t handle, flags; int32_t fd; };
struct gem_close { uint32_t handle, pad; };

/* As tgpu_uapi.h has it. */
static int tgpu_buffer(void)
{
	struct create create = {.size = 65536, .preferred = 1};
	struct prime prime = {.flags = O_CLOEXEC, .fd = -1};
	struct gem_close done = {0};

	check(ioctl(node, _IOWR('d', 0x40, struct create), &create) < 0 ? -errno : 0, "create");
	prime.handle = done.handle = create.handle;
	check(ioctl(node, _IOWR('d', 0x2d, struct prime), &prime) < 0 ? -errno : 0, "export");
	ioctl(node, _IOW('d', 0x09, struct gem_close), &done);
	return prime.fd;
}

static int new_buffer(unsigned number) { return node < 0 ? simulated_buffer(number) : tgpu_buffer(); }

/* --- questions --- */

static void hints(sd_bus_message *m)
{
	check(sd_bus_message_append(m, "{sv}{sv}{sv}", "primary-device", "t", (uint64_t)57984, "format", "u",
				    0x34325258u, "modifier", "t", (uint64_t)0), "hints");
}

static void plane(sd_bus_message *m, int fd) { check(sd_bus_message_append(m, "ah", 1, fd), "plane"); }

static void open_hints(sd_bus_message *m) { check(sd_bus_message_open_container(m, 'a', "{sv}"), "hints"); }

static void place(sd_bus_message *m)
{
	plane(m, fds[asked % spread]);
	open_hints(m);
	hints(m);
	sd_bus_message_close_container(m);
}

static void verdicts(sd_bus_message *m)
{
	plane(m, fds[0]);
	open_hints(m);
	hints(m);
	check(sd_bus_message_append(m, "{sv}", "verdicts", "b", 1), "hint");
	sd_bus_message_close_container(m);
}

static void candidates(sd_bus_message *m)
{
	plane(m, fds[0]);
	open_hints(m);
	hints(m);
	check(sd_bus_message_append(m, "{sv}", "candidates", "at", 2, (uint64_t)57984, (uint64_t)57985), "hint");
	sd_bus_message_close_container(m);
}

static void many(sd_bus_message *m)
{
	check(sd_bus_message_open_container(m, 'a', "(aha{sv})"), "items");
	for (unsigned i = 0; i < items; i++) {
		check(sd_bus_message_open_container(m, 'r', "aha{sv}"), "item");
		plane(m, fds[i]);
		open_hints(m);
		hints(m);
		sd_bus_message_close_container(m);
		sd_bus_message_close_container(m);
	}
	sd_bus_message_close_container(m);
}

static void advise(sd_bus_message *m)
{
	check(sd_bus_message_append(m, "a(tu)a{sv}", 2, (uint64_t)57985, 4u, (uint64_t)57984, 1u, 1, "format", "u",
				    0x34325258u), "users");
}

static void nothing(sd_bus_message *m) { (void)m; }

static const struct kind {
	const char *name, *interface, *member;
	void (*append)(sd_bus_message *m);
} kinds[] = {
	{"ping", "org.freedesktop.DBus.Peer", "Ping", nothing},
	{"place", "org.primed.Broker1", "Place", place},
	{"first", "org.primed.Broker1", "Place", place},
	{"verdicts", "org.primed.Broker1", "Place", verdicts},
	{"candidates", "org.primed.Broker1", "Place", candidates},
	{"many", "org.primed.Broker1", "PlaceMany", many},
	{"advise", "org.primed.Broker1", "Advise", advise},
};

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	fprintf(stderr, "load: what is %s?\n", name);
	exit(2);
}

static void ask(const struct kind *kind, const char *name)
{
	sd_bus_message *m;

	check(sd_bus_message_new_method_call(bus, &m, name, "/org/primed/Broker1", kind->interface, kind->member),
	      kind->member);
	kind->append(m);
	check(sd_bus_call_async(bus, NULL, m, on_answer, NULL, UINT64_MAX), "call");
	sd_bus_message_unref(m);
	asked++;
}

static void wait_for_answer(void)
{
	unsigned before = answered;

	while (answered == before) {
		int r = sd_bus_process(bus, NULL);

		check(r, "process");
		if (r == 0)
			check(sd_bus_wait(bus, UINT64_MAX), "wait");
	}
}

static void set_option(const char *word)
{
	const char *value = strchr(word, '=');
	unsigned number = value ? (unsigned)atoi(value + 1) : 0;

	if (!strncmp(word, "buffers=", 8)) {
		spread = SPREAD;
		for (unsigned i = 0; i < SPREAD; i++)
			fds[i] = simulated_buffer((unsigned)((uint64_t)number * i / SPREAD));
	} else if (!strncmp(word, "items=", 6)) {
		items = number < SPREAD ? number : SPREAD;
		for (unsigned i = 0; i < items; i++)
			fds[i] = simulated_buffer(i);
	} else if (!strncmp(word, "from=", 5)) {
		from = number;
	} else if (!strncmp(word, "node=", 5)) {
		check((node = open(value + 1, O_RDWR | O_CLOEXEC)) < 0 ? -errno : 0, value + 1);
	} else {
		fprintf(stderr, "load: what is %s?\n", word);
		exit(2);
	}
}

int main(int words, char **word)
{
	if (words < 6)
		return 2;
	const struct kind *kind = find_kind(word[3]);
	unsigned count = (unsigned)atoi(word[4]), window = (unsigned)atoi(word[5]);
	uint64_t *times = calloc(count, sizeof(*times)), first;
	int is_first = !strcmp(kind->name, "first");

	fds[0] = memfd_create("primed:game", MFD_CLOEXEC);
	for (int i = 6; i < words; i++)
		set_option(word[i]);
	bus = connect_to(word[1]);
	first = now();
	while (answered < count) {
		unsigned before = answered;

		while (asked < count && asked - answered < window) {
			if (is_first) {
				close(fds[0]);
				fds[0] = new_buffer(from + asked);
			}
			times[asked] = now();
			ask(kind, word[2]);
		}
		wait_for_answer();
		times[before] = now() - times[before];
	}
	if (window > 1)
		printf("%llu\n", (unsigned long long)((now() - first) / count));
	else
		printf("%llu\n", percentile(times, count, 50));
	return 0;
}
