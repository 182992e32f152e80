/* guard_host MODE NODE BUFFER...: a program that libprimed-guard.so is preloaded into, for test_guard.py. NODE is a device
 * node, BUFFERs are simulated ones. Imports them and prints "BUFFER HANDLE" or "BUFFER ERROR" for each; by MODE:
 *
 *   plain, flag   without and with the no-move flag; bits: with another flag, too
 *   twice         each two times
 *   wait          again whenever a line comes
 *   threads       in eight threads at once, a hundred times each; prints only how many succeeded
 *   fork          in a child, too, and again in the parent
 *   exec          then itself, as "fds"
 *   fds           nothing; prints the fds beyond 2 that are not its own
 *   signals       in a handler, too, every millisecond; prints only how many succeeded
 *   closed        closes all fds after the first, and opens files in their place, which must stay empty
 *   seccomp       again below a system call filter
 *   strict        again below one that ends it for whatever it does not need itself, set as SETTER says
 *   below         nothing; sets a filter, and becomes itself as "plain"
 *   bus           with a connection of its own to the bus PRIMED_GUARD_BUS
 *   ioctls        nothing; COUNT other ioctls instead, for callgrind
 *   time          nothing; prints the nanoseconds of another ioctl, without the kernel's */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "../../Sources/CPrimedClient/prime.h"
#include "fake_drm.h"

#define MOST 16
#define SIZE 4096

static int node, buffers[MOST], count;
static char **names;
static uint32_t flags;
static atomic_int successes;

static int open_buffer(const char *name)
{
	char label[64];
	int fd;

	snprintf(label, sizeof(label), "primed:%s", name);
	fd = memfd_create(label, MFD_CLOEXEC);
	if (ftruncate(fd, SIZE) < 0)
		exit(1);
	return fd;
}

/* The handle; 0 with errno. */
static uint32_t import(int buffer)
{
	struct prime_handle prime = {.flags = flags, .fd = buffer};

	return ioctl(node, PRIME_FD_TO_HANDLE, &prime) == 0 ? prime.handle : 0;
}

static void import_all(void)
{
	for (int i = 0; i < count; i++) {
		uint32_t handle;

		errno = 4242;
		handle = import(buffers[i]);
		if (handle && errno != 4242)
			printf("%s changed errno\n", names[i]);
		else if (handle)
			printf("%s %u\n", names[i], handle);
		else
			printf("%s %s\n", names[i], strerrorname_np(errno));
	}
}

static void *import_often(void *unused)
{
	(void)unused;
	for (int i = 0; i < 100; i++)
		successes += import(buffers[i % count]) != 0;
	return NULL;
}

static void in_threads(void)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, import_often, NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	printf("%d\n", successes);
}

static void in_child(void)
{
	pid_t child;

	import_all();
	fflush(stdout);
	child = fork();
	import_all();
	fflush(stdout);
	if (child == 0)
		exit(0);
	waitpid(child, NULL, 0);
	import_all();
}

/* The bus', which libsystemd opens itself from version 256 on, and which nobody can number. */
static bool is_pidfd(const struct dirent *entry, int folder)
{
	char name[64] = "";

	return readlinkat(folder, entry->d_name, name, sizeof(name) - 1) > 0 && strstr(name, "pidfd");
}

static void print_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	printf("fds");
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		bool mine = fd <= 2 || fd == dirfd(dir) || fd == node ||
			is_pidfd(entry, dirfd(dir));

		for (int i = 0; i < count; i++)
			mine = mine || fd == buffers[i];
		if (!mine && entry->d_name[0] != '.')
			printf(" %d", fd);
	}
	printf("\n");
	closedir(dir);
}

static void on_alarm(int number)
{
	(void)number;
	successes += import(buffers[0]) != 0;
}

static void with_signals(void)
{
	struct itimerval each = {{0, 1000}, {0, 1000}}, never = {0};

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &each, NULL);
	while (successes < 300)
		import_often(NULL);
	setitimer(ITIMER_REAL, &never, NULL);
	printf("done\n");
}

static void with_closed_fds(const char *path)
{
	bool empty = true;

	import_all();
	close_range(3, ~0u, 0);
	node = open(path, O_PATH);
	for (int i = 0; i < count; i++)
		buffers[i] = open_buffer(names[i]);
	/* Where the guard's were. */
	for (int i = 0; i < 32; i++) {
		int fd = memfd_create("file", 0);

		dup2(fd, 900 + i);
		close(fd);
	}
	import_all();
	for (int i = 0; i < 32; i++)
		empty = empty && lseek(900 + i, 0, SEEK_END) == 0;
	printf("%s\n", empty ? "empty" : "written to");
}

static void set_filter(const struct sock_filter *filter, unsigned short length, bool by_syscall)
{
	struct sock_fprog program = {length, (struct sock_filter *)filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (by_syscall ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)
		       : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		exit(1);
}

static const struct sock_filter allow_all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static const struct sock_filter allow_own[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	ALLOW(ioctl),
	ALLOW(write),
	ALLOW(exit_group),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static void below_a_filter(void)
{
	import_all();
	set_filter(allow_all, 1, false);
	import_all();
	import_all();
}

static void below_a_strict_filter(void)
{
	import_all();
	set_filter(allow_own, sizeof(allow_own) / sizeof(*allow_own), getenv("SETTER")[0] == 's');
	import_all();
	import_all();
}

static void with_a_bus(void)
{
	sd_bus *bus = NULL;
	const char *name;

	if (sd_bus_new(&bus) < 0 || sd_bus_set_address(bus, getenv("PRIMED_GUARD_BUS")) < 0 ||
	    sd_bus_set_bus_client(bus, 1) < 0 || sd_bus_start(bus) < 0)
		exit(1);
	import_all();
	if (sd_bus_call_method(bus, "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId", NULL, NULL, "") < 0 ||
	    sd_bus_get_unique_name(bus, &name) < 0)
		exit(1);
	import_all();
	sd_bus_flush_close_unref(bus);
}

static void other_ioctls(int times)
{
	int ends[2], waiting;

	if (pipe(ends) < 0)
		exit(1);
	for (int i = 0; i < times; i++)
		ioctl(ends[0], FIONREAD, &waiting);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* The least of many rounds: in the others something else ran, too. */
static void time_other_ioctls(void)
{
	double least = 1e9;

	for (int round = 0; round < 200; round++) {
		double started = now(), took;

		for (int i = 0; i < 10000; i++)
			ioctl(0, NOTHING, NULL);
		took = (now() - started) / 10000;
		least = took < least ? took : least;
	}
	printf("%.2f\n", least);
}

int main(int words, char **word)
{
	const char *mode = word[1];
	char line[8];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (words < 3)
		return 2;
	if (strcmp(mode, "ioctls") == 0)
		return other_ioctls(atoi(word[2])), 0;
	if (strcmp(mode, "time") == 0)
		return time_other_ioctls(), 0;
	if (strcmp(mode, "below") == 0) {
		set_filter(allow_all, 1, false);
		word[1] = "plain";
		execv("/proc/self/exe", word);
	}
	node = open(word[2], O_PATH | O_CLOEXEC);
	names = word + 3;
	count = words - 3;
	for (int i = 0; i < count; i++)
		buffers[i] = open_buffer(names[i]);
	if (strcmp(mode, "flag") == 0 || strcmp(mode, "bits") == 0)
		flags = mode[0] == 'b' ? 5 : 1;
	if (strcmp(mode, "threads") == 0) {
		in_threads();
	} else if (strcmp(mode, "fork") == 0) {
		in_child();
	} else if (strcmp(mode, "fds") == 0) {
		print_fds();
	} else if (strcmp(mode, "signals") == 0) {
		with_signals();
	} else if (strcmp(mode, "closed") == 0) {
		with_closed_fds(word[2]);
	} else if (strcmp(mode, "seccomp") == 0) {
		below_a_filter();
	} else if (strcmp(mode, "strict") == 0) {
		below_a_strict_filter();
	} else if (strcmp(mode, "bus") == 0) {
		with_a_bus();
	} else {
		import_all();
		if (strcmp(mode, "twice") == 0)
			import_all();
	}
	while (strcmp(mode, "wait") == 0 && fgets(line, sizeof(line), stdin))
		import_all();
	if (strcmp(mode, "exec") == 0) {
		print_fds();
		word[1] = "fds";
		execv("/proc/self/exe", word);
	}
	return 0;
}
