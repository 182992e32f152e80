/* The closing of fds that came in messages: see close.c for why it takes definitions of recvmsg() and close(). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* The owner of fds whose sender is not known. No user has this uid. */
#define PRIMED_NOBODY UINT32_MAX

/* Closing threads in all, and how many of them one owner's stuck fds may keep. */
#define PRIMED_CLOSERS 64
#define PRIMED_CLOSERS_PER_OWNER 8
/* A close() that takes so long counts as stuck. */
#define PRIMED_STUCK_MS 50
/* Fds that can be told apart; systemd's LimitNOFILE. Those above count as received, and are charged to nobody. */
#define PRIMED_CLOSE_FDS 65536
/* Fds that came in messages and whose owner has not been named yet: a message has 253 at most. */
#define PRIMED_UNCLAIMED_FDS 1024

/* An fd to watch for reading: primed_supervise_closers() is to be called when it is readable. It is made by
 * the first call and never closed. -1 and errno. */
int primed_closers_timer(void);

/* Starts another closer where the closers are stuck, and gives back the stacks of those that ended.
 * Never blocks. One thread only: the loop's. */
void primed_supervise_closers(void);

/* `fd` is a copy of a file that came in a message: `owner` is charged for it, and close() is put off.
 * The loop's thread. */
void primed_note_received(int fd, uint32_t owner);

/* Assigns the fds received since the last call to `owner`; returns whether there were any. The loop's
 * thread, which receives them. */
bool primed_claim_received(uint32_t owner);

/* Gives the fds of `from`, a sender whose uid was not known, to `to`. */
void primed_rename_owner(uint32_t from, uint32_t to);

/* How many fds of `owner` are not closed yet, since their close() blocks or waits behind one that does; 0
 * unless `owner` has as many blocked closers as it may have. */
unsigned primed_stuck_fds(uint32_t owner);

/* How many fds wait for a closer, of all owners. */
unsigned primed_waiting_fds(void);
