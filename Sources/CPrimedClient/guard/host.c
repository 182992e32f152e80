/*
 * The client in a program that knows nothing of it.
 *
 * One client, made at the first import, under one lock. While the lock is held no signal is handled
 * and no thread is cancelled here: a handler that imports would wait for itself. A child has a
 * connection of its own, made when it first imports: of the parent's it only closes the fds. The
 * host may close fds that are not its own (closefrom in a daemon); their numbers then become
 * somebody else's, so a file of the guard's own is looked at before any is used.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"

/* The lowest number for the client's fds, if the limit allows: select() in the host still works
 * with its own fds. */
#define FIRST_FD 900
#define FILTERED 2 /* PR_GET_SECCOMP: SECCOMP_MODE_FILTER */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct primed_client *client;
static pid_t owner;
static bool handles_fork;
/* Whether a thread is between guard_enter and guard_leave. */
static bool is_busy;
/* The guard's fds: the first is a file of its own, which has an identity of its own. */
static int fds[4];
static struct stat own_file;
/* Why primed can't be asked. */
static char reason[256] = "no answer";

bool guard_has(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/* Whether the fds are still the guard's: a host that closes one of them closes all. */
static bool has_its_fds(void)
{
	struct stat now;

	return fstat(fds[0], &now) == 0 && now.st_ino == own_file.st_ino &&
	       now.st_dev == own_file.st_dev;
}

/* Only this thread exists in the child, and the lock may be held by another: the state of the
 * fds is then unknown, and they stay open. */
static void after_fork(void)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	lock = fresh;
	if (client && !is_busy && has_its_fds())
		for (int i = 0; i < 4; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	is_busy = false;
	client = NULL;
	guard_forget_reports();
}

static int first_fd(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > FIRST_FD + 16)
		return FIRST_FD;
	return (int)(limit.rlim_cur / 2);
}

static void note_reason(int priority, const char *text, void *data)
{
	(void)priority;
	(void)data;
	snprintf(reason, sizeof(reason), "%s", text);
}

void guard_note_absence(void)
{
	static bool has_said;

	if (has_said)
		return;
	has_said = true;
	dprintf(STDERR_FILENO,
		"primed-guard: primed can't be asked (%s): imports with the flag fail, all others "
		"go through\n",
		reason);
}

static void open_client(void)
{
	struct primed_client_options options = PRIMED_CLIENT_OPTIONS_INIT;
	int file;

	if (!handles_fork && pthread_atfork(NULL, NULL, after_fork) != 0)
		return;
	handles_fork = true;
	options.address = secure_getenv("PRIMED_GUARD_BUS");
	options.first_fd = first_fd();
	options.on_log = note_reason;
	if ((file = memfd_create("primed-guard", MFD_CLOEXEC)) < 0)
		return;
	fds[0] = fcntl(file, F_DUPFD_CLOEXEC, options.first_fd);
	close(file);
	if (fds[0] < 0 || fstat(fds[0], &own_file) < 0)
		return;
	if (!(client = primed_client_open(&options))) {
		snprintf(reason, sizeof(reason), "%s: %s",
			 options.address ? options.address : "the system bus", strerror(errno));
		close(fds[0]);
	}
	owner = getpid();
}

static void remember_fds(void)
{
	fds[1] = client->epoll;
	fds[2] = client->timer;
	fds[3] = client->bus ? sd_bus_get_fd(client->bus) : -1;
}

struct primed_client *guard_enter(struct entry *entry)
{
	sigset_t all;

	entry->error = errno;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &entry->signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &entry->cancel_state);
	pthread_mutex_lock(&lock);
	is_busy = true;
	/* One that filter.c has not seen. */
	if (!guard_has("PRIMED_GUARD_FILTERED") && prctl(PR_GET_SECCOMP) == FILTERED)
		guard_note_filter();
	/* Or a child that was not made by fork(). */
	if (guard_is_filtered() || (client && owner != getpid()))
		return NULL;
	/* The guard's fd numbers now belong to the host and must not be closed. */
	if (client && !has_its_fds())
		client = NULL;
	if (!client)
		open_client();
	return client;
}

void guard_leave(struct entry *entry)
{
	if (client && owner == getpid())
		remember_fds();
	is_busy = false;
	pthread_mutex_unlock(&lock);
	pthread_setcancelstate(entry->cancel_state, NULL);
	pthread_sigmask(SIG_SETMASK, &entry->signals, NULL);
	errno = entry->error;
}
