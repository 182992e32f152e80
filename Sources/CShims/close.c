/* close(2) that never waits for a stranger, for the whole process and for libsystemd in it.
 *
 * Any local user can send any fds in any message, more of them than the message's body names, and
 * sd-bus closes them where it handles messages: on the loop. To close a FUSE file asks its server,
 * which may never answer; a TCP socket may linger. sd-bus has no call to take a message's fds away, so it is its
 * close() that gives way: this definition comes before libc's. What could wait is closed on a thread that exists
 * for that only.
 *
 * Bounds: a close that hangs has given up its fd already and keeps only its thread. When all threads hang,
 * further such fds stay open; at RLIMIT_NOFILE sd-bus leaves the bus, and the daemon ends. A close that waits for a
 * FUSE server can't be killed: systemd gives that process up after TimeoutStopSec, twice, and starts another. There
 * is no share of a user's in this: fds are here before anybody can know whose they are, and there is no way out of
 * a process but by a close. (The bus itself does not outlive the first such fd, if its server wants it so:
 * dbus-daemon and dbus-broker close what they have passed on, on their only thread.) */
#define _GNU_SOURCE
#include "CShims.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define THREADS 512
#define WAITING 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int threads;
static int waiting[WAITING];
static int n_waiting;

struct mount_id {
	uint32_t major, minor;
};

/* Fds that were found to close without asking anybody when their identity was read: a bit each, until they are
 * closed. A query's fds need no second look then. */
static uint64_t harmless[WAITING / 64];

static bool is_harmless(int fd)
{
	uint64_t bit = 1ull << (fd % 64);

	return fd >= 0 && fd < WAITING && __atomic_load_n(&harmless[fd / 64], __ATOMIC_RELAXED) & bit &&
	       __atomic_fetch_and(&harmless[fd / 64], ~bit, __ATOMIC_RELAXED) & bit;
}

static void note_harmless(int fd)
{
	if (fd >= 0 && fd < WAITING)
		__atomic_fetch_or(&harmless[fd / 64], 1ull << (fd % 64), __ATOMIC_RELAXED);
}

/* File systems of the kernel's own, whose files close without asking anybody. */
static struct mount_id kernels_own[5];
static int n_kernels_own;

static int close_now(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static bool look(int fd, const char *path, struct statx *s)
{
	int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | (*path ? 0 : AT_EMPTY_PATH);

	return statx(fd, path, flags, STATX_TYPE | STATX_INO, s) == 0;
}

__attribute__((constructor)) static void learn_kernels_own(void)
{
	static const char *const paths[] = {"/proc", "/sys", "/dev", "/run"};
	struct statx s;
	int memory = memfd_create("", MFD_CLOEXEC);

	for (int i = 0; i < 4; i++)
		if (look(AT_FDCWD, paths[i], &s))
			kernels_own[n_kernels_own++] = (struct mount_id){s.stx_dev_major, s.stx_dev_minor};
	if (memory < 0)
		return;
	if (look(memory, "", &s))
		kernels_own[n_kernels_own++] = (struct mount_id){s.stx_dev_major, s.stx_dev_minor};
	close_now(memory);
}

static bool socket_may_wait(int fd)
{
	int domain = AF_UNSPEC;
	socklen_t size = sizeof(domain);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	return domain != AF_UNIX && domain != AF_NETLINK;
}

/* A file that is no socket. */
static bool file_may_wait(const struct statx *s)
{
	/* Inodes of no type are anonymous: dma-bufs, pidfds, eventfds. */
	if (!(s->stx_mode & S_IFMT) || S_ISFIFO(s->stx_mode))
		return false;
	for (int i = 0; i < n_kernels_own; i++)
		if (kernels_own[i].major == s->stx_dev_major && kernels_own[i].minor == s->stx_dev_minor)
			return false;
	return true;
}

static bool may_wait(int fd)
{
	struct statx s;

	if (is_harmless(fd))
		return false;
	if (!look(fd, "", &s))
		return errno != EBADF;
	return S_ISSOCK(s.stx_mode) ? socket_may_wait(fd) : file_may_wait(&s);
}

int primed_identity(int fd, dev_t *device, ino_t *inode)
{
	struct statx s;

	if (!look(fd, "", &s))
		return -1;
	*device = makedev(s.stx_dev_major, s.stx_dev_minor);
	*inode = s.stx_ino;
	if (!S_ISSOCK(s.stx_mode) && !file_may_wait(&s))
		note_harmless(fd);
	return 0;
}

bool primed_has_no_type(int fd)
{
	struct statx s;

	return look(fd, "", &s) && !(s.stx_mode & S_IFMT);
}

static void *closer(void *first)
{
	int fd = (int)(intptr_t)first;

	for (;;) {
		close_now(fd);
		pthread_mutex_lock(&lock);
		if (!n_waiting)
			break;
		fd = waiting[--n_waiting];
		pthread_mutex_unlock(&lock);
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

static bool start_closer(int fd)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int code;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&thread, &attributes, closer, (void *)(intptr_t)fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return code == 0;
}

int close(int fd)
{
	int e = errno;

	if (!may_wait(fd)) {
		errno = e;
		return close_now(fd);
	}
	pthread_mutex_lock(&lock);
	if (threads < THREADS && start_closer(fd))
		threads++;
	else if (n_waiting < WAITING)
		waiting[n_waiting++] = fd;
	pthread_mutex_unlock(&lock);
	errno = e;
	return 0;
}
