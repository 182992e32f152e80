/*
 * libprimed-guard.so: stands before ioctl() in a program that it is preloaded into, and answers one
 * of them, DRM_IOCTL_PRIME_FD_TO_HANDLE, in the sense of the no-move flag. It is a guest: it must
 * not disturb its host.
 *
 *   ioctl.c     every other ioctl goes straight through
 *   filter.c    system call filters, under which nothing is done
 *   import.c    what becomes of an import
 *   host.c      the client in a program that knows nothing of it
 *   report.c    --log
 *
 * primectl guard sets the environment: PRIMED_GUARD_ALL (imports without the flag, too),
 * PRIMED_GUARD_LOG, PRIMED_GUARD_FILTERED (the program begins under a system call filter),
 * PRIMED_GUARD_BUS (an address).
 */
#pragma once
#include <signal.h>

#include "../internal.h"
#include "../prime.h"

typedef int (*ioctl_function)(int fd, unsigned long request, ...);

/* import.c. As ioctl. */
int guard_import(ioctl_function real, int drm_fd, struct prime_handle *prime);

/* filter.c. Once there is one, it stays. */
void guard_note_filter(void);
/* Says so, the first time. */
bool guard_is_filtered(void);

/* host.c. guard_enter returns the client, to be used until guard_leave; NULL: do without. Both keep
 * errno; each guard_enter takes a guard_leave. */
struct entry {
	sigset_t signals;
	int cancel_state, error;
};
struct primed_client *guard_enter(struct entry *entry);
void guard_leave(struct entry *entry);
bool guard_has(const char *variable);
/* Between guard_enter and guard_leave: primed has not answered. Says so with the reason, once. */
void guard_note_absence(void);

/* report.c. Between guard_enter and guard_leave. */
enum done { DONE_LET_THROUGH, DONE_REFUSED, DONE_FLAGGED };
struct import {
	dev_t device, exporter;
	uint32_t access;
	bool known;
	enum done done;
	uint64_t bytes;
};
void guard_report(const struct import *import);
void guard_forget_reports(void);
