/* Looks at DMA-BUFs with the BPF program as fast as can be, and prints what it saw:
 *
 *   looks PROGRAM COUNT FD...            COUNT looks at buffers that are open here, each in turn
 *   looks PROGRAM COUNT reused NODE...   at an fd that a thread opens, gives to another buffer and closes
 *
 * NODE: a tgpu's open render node; its buffers are made and freed as fast as can be, of each node in turn.
 * Output: a line for each answer that came, "FD STATUS CARD RENDER REGISTERED RESIDENCY PREFERRED COUNT", FD
 * being the position in the arguments (of the node whose buffer was asked about); and "nanoseconds N", a look's.
 */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dmabuf.h"

struct create { uint64_t size; uint32_t preferred, handle; };
struct prime { uint32_t handle, flags; int32_t fd; };
struct gem_close { uint32_t handle, pad; };
#define CREATE _IOWR('d', 0x40, struct create)
#define EXPORT _IOWR('d', 0x2d, struct prime)
#define GEM_CLOSE _IOW('d', 0x09, struct gem_close)

#define MOST 64
static int program, fds[MOST], n_fds;
static struct answer { int position; struct dmabuf_look look; long count; } answers[4096];
static int n_answers;

static void look(int fd, uint64_t inode, struct dmabuf_look *look)
{
	union bpf_attr a = { .test.prog_fd = program };

	*look = (struct dmabuf_look){ .fd = fd, .inode = inode };
	a.test.ctx_in = (uintptr_t)look;
	a.test.ctx_size_in = sizeof(*look);
	if (syscall(SYS_bpf, BPF_PROG_RUN, &a, sizeof(a)) < 0) {
		perror("BPF_PROG_RUN");
		exit(1);
	}
	look->inode = look->fd = 0;
}

static void note(int position, const struct dmabuf_look *look)
{
	for (int i = 0; i < n_answers; i++)
		if (answers[i].position == position && !memcmp(&answers[i].look, look, sizeof(*look))) {
			answers[i].count++;
			return;
		}
	if (n_answers < 4096)
		answers[n_answers++] = (struct answer){ position, *look, 1 };
}

static uint64_t inode_of(int fd)
{
	struct stat s;

	return fstat(fd, &s) ? 0 : s.st_ino;
}

/* --- reused --- */

static int reused;
static volatile bool done;
/* Of the last buffers: whose they are, by inode. */
static struct { uint64_t inode; int position; } owners[1 << 16];

static int make(int node)
{
	struct create c = { .size = 4096, .preferred = 1 };
	struct prime p = { .flags = 02000000 /* O_CLOEXEC */, .fd = -1 };
	struct gem_close g = { 0 };

	if (ioctl(node, CREATE, &c))
		return -1;
	p.handle = g.handle = c.handle;
	ioctl(node, EXPORT, &p);
	ioctl(node, GEM_CLOSE, &g);
	return p.fd;
}

static void *reuse(void *unused)
{
	for (unsigned i = 0; !done; i++) {
		int fd = make(fds[i % n_fds]);
		uint64_t inode = inode_of(fd);

		if (fd < 0)
			continue;
		owners[inode % (1 << 16)].inode = inode;
		owners[inode % (1 << 16)].position = i % n_fds;
		/* The one before is freed: every other one by this, the others by being replaced. */
		if (i % 2)
			close(reused);
		dup2(fd, reused);
		close(fd);
	}
	return unused;
}

static void look_at_reused(long count)
{
	struct dmabuf_look seen;
	pthread_t thread;

	/* Far from those that are given to what is opened next: nobody sees a buffer before it is there. */
	reused = 500;
	pthread_create(&thread, NULL, reuse, NULL);
	for (long i = 0; i < count; i++) {
		uint64_t inode = inode_of(reused);

		look(reused, inode, &seen);
		note(owners[inode % (1 << 16)].inode == inode ? owners[inode % (1 << 16)].position : -1, &seen);
	}
	done = true;
	pthread_join(thread, NULL);
}

static void look_at_each(long count)
{
	uint64_t inodes[MOST];
	struct dmabuf_look seen;

	for (int i = 0; i < n_fds; i++)
		inodes[i] = inode_of(fds[i]);
	for (long i = 0; i < count; i++) {
		look(fds[i % n_fds], inodes[i % n_fds], &seen);
		note(i % n_fds, &seen);
	}
}

int main(int argc, char **argv)
{
	bool is_reused = argc > 3 && !strcmp(argv[3], "reused");
	long count = argc > 3 ? atol(argv[2]) : 0;
	struct timespec begin, end;

	if (!count)
		return 2;
	program = atoi(argv[1]);
	for (int i = 3 + is_reused; i < argc && n_fds < MOST; i++)
		fds[n_fds++] = atoi(argv[i]);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (is_reused)
		look_at_reused(count);
	else
		look_at_each(count);
	clock_gettime(CLOCK_MONOTONIC, &end);
	for (int i = 0; i < n_answers; i++) {
		struct dmabuf_look *l = &answers[i].look;

		printf("%d %u %u %u %u %u %u %ld\n", answers[i].position, l->status, l->card, l->render, l->registered,
		       l->residency, l->preferred, answers[i].count);
	}
	printf("nanoseconds %ld\n",
	       ((end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec) / count);
	return 0;
}
