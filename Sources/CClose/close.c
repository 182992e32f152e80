/* Fds that came in messages are closed by threads that do nothing else.
 *
 * Why. Any local user can send any fds in any message to us, also such as no body of a message names. Their
 * close(2) may block for as long as the sender likes: FUSE asks its server (FLUSH); the last close of any file
 * that an epoll watches takes that epoll's mutex (fs/eventpoll.c, eventpoll_release_file), which its owner can
 * hold; sockets linger; a driver may hang. The type of the file tells nothing, so what counts is where it came
 * from: every fd that recvmsg(2) brings is a sender's, and so is every copy of it that
 * primed_note_received() names. All others are closed at once by whoever closes them.
 *
 * How. sd-bus closes the fds of a message when the message is freed, and has no call that gives them away. A
 * second reference does not help, since FLUSH is sent for every close(2), and so does dup2(2) over the fd: both
 * ask in the thread that calls. So the program defines recvmsg() and close() itself; they come before libc's
 * for every library that it loads. What libc itself opens and closes (fopen, opendir) goes by no symbol and is
 * not touched. Only `primed` is linked with this.
 *
 * Cost. A closer that is at work looks at the queue every LOOK_MS, so that a query costs a lock and no wake-up
 * of another thread. It ends after a second without work. While fds wait the loop looks every PRIMED_STUCK_MS whether
 * all closers are stuck, and starts another one.
 *
 * Bounds. An owner (a uid) whose closes keep PRIMED_CLOSERS_PER_OWNER threads gets no more of them: its other
 * fds wait apart, and hold up nobody else's. Stacks are ours and are unmapped when a thread has ended: those
 * that glibc allocates it keeps. */
#define _GNU_SOURCE
#include "CClose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024)
#define LOOK_MS 5
#define LOOKS_UNTIL_END 200
#define QUIET_MS 1200
/* With so many waiting fds a closer is woken. */
#define WAKE_AT 64

struct closer {
	enum { FREE, RUNNING, ENDED } state;
	pthread_t thread;
	void *stack;
	uint32_t owner;
	/* When its close began; 0: it closes nothing now. */
	uint64_t since;
};

/* A queue of fds; which of them are whose is in `owners`. A number is in one queue at most once. */
struct queue {
	int fds[PRIMED_CLOSE_FDS];
	unsigned first, count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Counts the times that an idle closer was woken: what it waits on. */
static uint32_t wakes;
static struct closer closers[PRIMED_CLOSERS];
static unsigned n_running, n_idle;
static struct queue waiting;
/* Fds of owners that have as many closers as they may have. */
static struct queue parked;
static int timer = -1;
static bool is_supervised;

/* One bit for each fd: it came in a message. */
static uint64_t received[PRIMED_CLOSE_FDS / 64];
static uint32_t owners[PRIMED_CLOSE_FDS];
/* One more than the highest such fd so far. */
static int highest;
/* Such fds whose owner has not been named yet: the loop's thread only. */
static int unclaimed[PRIMED_UNCLAIMED_FDS];
static unsigned n_unclaimed;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- whose an fd is ------------------------------------------------------------------------------- */

/* The loop's thread only. */
void primed_note_received(int fd, uint32_t owner)
{
	if (fd < 0 || fd >= PRIMED_CLOSE_FDS)
		return;
	__atomic_store_n(&owners[fd], owner, __ATOMIC_RELAXED);
	if (fd >= highest)
		highest = fd + 1;
	__atomic_fetch_or(&received[fd / 64], 1ull << (fd % 64), __ATOMIC_RELEASE);
}

/* Whether it came in a message; clears its bit. */
static bool forget_received(int fd)
{
	uint64_t bit;

	if (fd >= PRIMED_CLOSE_FDS)
		return true;
	bit = 1ull << (fd % 64);
	return fd >= 0 && __atomic_load_n(&received[fd / 64], __ATOMIC_ACQUIRE) & bit &&
	       __atomic_fetch_and(&received[fd / 64], ~bit, __ATOMIC_ACQ_REL) & bit;
}

bool primed_claim_received(uint32_t owner)
{
	bool some = n_unclaimed;

	for (unsigned i = 0; i < n_unclaimed; i++)
		__atomic_store_n(&owners[unclaimed[i]], owner, __ATOMIC_RELAXED);
	n_unclaimed = 0;
	return some;
}

void primed_rename_owner(uint32_t from, uint32_t to)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < PRIMED_CLOSERS; i++)
		if (closers[i].owner == from)
			closers[i].owner = to;
	for (int fd = 0; fd < highest; fd++)
		if (__atomic_load_n(&owners[fd], __ATOMIC_RELAXED) == from)
			__atomic_store_n(&owners[fd], to, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
}

static uint32_t owner_of(int fd)
{
	return fd < PRIMED_CLOSE_FDS ? __atomic_load_n(&owners[fd], __ATOMIC_RELAXED) : PRIMED_NOBODY;
}

static void note_received(struct cmsghdr *c)
{
	size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		primed_note_received(fd, PRIMED_NOBODY);
		if (n_unclaimed == sizeof(unclaimed) / sizeof(*unclaimed))
			n_unclaimed = 0;
		if (fd < PRIMED_CLOSE_FDS)
			unclaimed[n_unclaimed++] = fd;
	}
}

/* --- the queues ----------------------------------------------------------------------------------- */

static void append(struct queue *q, int fd)
{
	q->fds[(q->first + q->count++) % PRIMED_CLOSE_FDS] = fd;
}

static int take_first(struct queue *q)
{
	int fd = q->fds[q->first];

	q->first = (q->first + 1) % PRIMED_CLOSE_FDS;
	/* An empty one begins anew: else it would touch all of its pages in time. */
	if (--q->count == 0)
		q->first = 0;
	return fd;
}

static bool has_its_share(uint32_t owner)
{
	unsigned n = 0;

	if (n_running < PRIMED_CLOSERS_PER_OWNER)
		return false;
	for (int i = 0; i < PRIMED_CLOSERS; i++)
		n += closers[i].state == RUNNING && closers[i].since && closers[i].owner == owner;
	return n >= PRIMED_CLOSERS_PER_OWNER;
}

/* Looks at `tries` fds; those whose owner has its share go to the end of the parked ones. -1: there is none that
 * may be closed now. */
static int next_of(struct queue *q, unsigned tries)
{
	while (q->count && tries--) {
		int fd = take_first(q);

		if (!has_its_share(owner_of(fd)))
			return fd;
		append(&parked, fd);
	}
	return -1;
}

static int next_to_close(void)
{
	int fd = next_of(&waiting, PRIMED_CLOSE_FDS);

	return fd >= 0 ? fd : next_of(&parked, PRIMED_CLOSERS / PRIMED_CLOSERS_PER_OWNER);
}

/* --- the closers ---------------------------------------------------------------------------------- */

/* Called with the lock held; releases it during the close. */
static void close_received(struct closer *me, int fd)
{
	me->owner = owner_of(fd);
	me->since = now_ms();
	pthread_mutex_unlock(&lock);
	syscall(SYS_close, fd);
	pthread_mutex_lock(&lock);
	me->since = 0;
}

/* By futex(2) itself: at 200 looks a second a condition variable's own work counts. Called with the lock held;
 * releases it while it waits. */
static void wait_for_work(void)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
	uint32_t seen = wakes;

	n_idle++;
	pthread_mutex_unlock(&lock);
	syscall(SYS_futex, &wakes, FUTEX_WAIT_PRIVATE, seen, &pause, NULL, 0);
	pthread_mutex_lock(&lock);
	n_idle--;
}

/* Called with the lock held. */
static void wake_a_closer(void)
{
	wakes++;
	syscall(SYS_futex, &wakes, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *run_closer(void *raw)
{
	struct closer *me = raw;

	pthread_setname_np(pthread_self(), "closer");
	pthread_mutex_lock(&lock);
	for (int looks = 0; looks < LOOKS_UNTIL_END && n_idle == 0; looks++) {
		int fd = next_to_close();

		if (fd >= 0) {
			close_received(me, fd);
			looks = -1;
		} else {
			wait_for_work();
		}
	}
	me->state = ENDED;
	n_running--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void give_back_stacks(void)
{
	for (int i = 0; i < PRIMED_CLOSERS; i++)
		if (closers[i].state == ENDED) {
			pthread_join(closers[i].thread, NULL);
			munmap(closers[i].stack, STACK_BYTES);
			closers[i].state = FREE;
		}
}

static bool start_thread(struct closer *c)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int code;

	c->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (c->stack == MAP_FAILED)
		return false;
	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, c->stack, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&c->thread, &attributes, run_closer, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (code)
		munmap(c->stack, STACK_BYTES);
	return code == 0;
}

/* Where that fails, the loop tries again after PRIMED_STUCK_MS. */
static void start_closer(void)
{
	give_back_stacks();
	for (int i = 0; i < PRIMED_CLOSERS; i++)
		if (closers[i].state == FREE) {
			if (start_thread(&closers[i])) {
				closers[i].state = RUNNING;
				n_running++;
			}
			return;
		}
}

static bool all_are_stuck(void)
{
	uint64_t now = now_ms();

	for (int i = 0; i < PRIMED_CLOSERS; i++)
		if (closers[i].state == RUNNING && (!closers[i].since || now - closers[i].since < PRIMED_STUCK_MS))
			return false;
	return true;
}

/* --- supervision ---------------------------------------------------------------------------------- */

static void supervise_after(long ms)
{
	struct itimerspec when = {.it_value = {ms / 1000, ms % 1000 * 1000000}};

	is_supervised = timerfd_settime(timer, 0, &when, NULL) == 0;
}

int primed_closers_timer(void)
{
	if (timer < 0)
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return timer;
}

void primed_supervise_closers(void)
{
	uint64_t times;

	if (read(timer, &times, sizeof(times)) < 0)
		return;
	pthread_mutex_lock(&lock);
	is_supervised = false;
	if (waiting.count && all_are_stuck())
		start_closer();
	give_back_stacks();
	if (waiting.count || n_running)
		supervise_after(waiting.count ? PRIMED_STUCK_MS : QUIET_MS);
	else
		/* Memory of the messages that these fds came with: glibc keeps it in small pieces. */
		malloc_trim(0);
	pthread_mutex_unlock(&lock);
}

static void put_off(int fd)
{
	pthread_mutex_lock(&lock);
	append(&waiting, fd);
	if (!n_running)
		start_closer();
	else if (waiting.count == WAKE_AT && n_idle)
		wake_a_closer();
	if (!is_supervised && timer >= 0)
		supervise_after(PRIMED_STUCK_MS);
	pthread_mutex_unlock(&lock);
}

unsigned primed_stuck_fds(uint32_t owner)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < parked.count; i++)
		n += owner_of(parked.fds[(parked.first + i) % PRIMED_CLOSE_FDS]) == owner;
	if (has_its_share(owner))
		n += PRIMED_CLOSERS_PER_OWNER;
	pthread_mutex_unlock(&lock);
	return n;
}

unsigned primed_waiting_fds(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = waiting.count + parked.count;
	pthread_mutex_unlock(&lock);
	return n;
}

/* --- in libc's place ------------------------------------------------------------------------------ */

ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
	/* recvmsg of libc, or of a test that simulates a netlink socket. */
	static ssize_t (*_Atomic next)(int, struct msghdr *, int);
	ssize_t n;

	if (!next)
		next = (ssize_t (*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	n = next(socket, message, flags);
	if (n >= 0 && message->msg_controllen)
		for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
				note_received(c);
	return n;
}

int close(int fd)
{
	if (!forget_received(fd))
		return (int)syscall(SYS_close, fd);
	int e = errno;

	put_off(fd);
	errno = e;
	return 0;
}
