/* Files and clocks that Swift can't reach by itself. */
#define _GNU_SOURCE
#include "CShims.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool primed_is_path_only(int fd)
{
	return fcntl(fd, F_GETFL) & O_PATH;
}

uint64_t primed_fd_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

uint64_t primed_boottime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int primed_eventfd(bool semaphore)
{
	return eventfd(0, EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : EFD_NONBLOCK));
}

int primed_pipe(int *reading, int *writing)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	*reading = ends[0];
	*writing = ends[1];
	return 0;
}

int primed_memfd(const char *name, uint64_t size, bool sealed)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) < 0 || (sealed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

void primed_return_large_memory(void)
{
	/* Worker threads allocate little, and a thread's own arena would outlive it. */
	mallopt(M_ARENA_MAX, 1);
	/* glibc raises both thresholds when a large block is freed, and then keeps blocks of that size. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}

void primed_name_thread(const char *name)
{
	pthread_setname_np(pthread_self(), name);
}

int primed_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

bool primed_is_pidfd(int fd)
{
	siginfo_t unused;

	/* ECHILD: of a process that is no child of ours. */
	return waitid(P_PIDFD, (id_t)fd, &unused, WEXITED | WNOHANG | WNOWAIT) == 0 || errno == ECHILD;
}

void primed_block_signal(int signal)
{
	sigset_t set;

	if (signal) {
		sigemptyset(&set);
		sigaddset(&set, signal);
	} else {
		sigfillset(&set);
	}
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}
