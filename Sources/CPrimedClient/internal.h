/*
 * The parts of a client. Each file uses those above it only:
 *
 *   cache.c     what was answered before        devices.c   which nodes are one device
 *   wire.c      messages                        loop.c      when the fd wakes
 *   question.c  what is under way               listen.c    what primed and the bus tell
 *   connect.c   the connection                  answer.c    what becomes of an answer
 *   ask.c verdict.c advise.c explain.c flag.c client.c: the header's calls
 */
#pragma once
#include "primed-client.h"

#if defined(PRIMED_SDBUS_BASU)
#include <basu/sd-bus.h>
#else
#include <systemd/sd-bus.h>
#endif

#include <errno.h>

#define PRIMED_BUS_NAME "org.primed.Broker1"
#define PRIMED_BUS_PATH "/org/primed/Broker1"
#define PRIMED_DRIVER_NAME "org.freedesktop.DBus"
#define PRIMED_DRIVER_PATH "/org/freedesktop/DBus"

/* Functions return a negative errno on failure, unless their comment says otherwise. */

/* Sets errno and returns -1, as the public functions do. */
static inline int primed_fail(int error)
{
	errno = error;
	return -1;
}

/* ---- cache.c */

/* A buffer and what was asked about it. */
struct key {
	uint64_t device, inode; /* plane 0's */
	uint64_t rest;		/* hash of the other planes and the hints */
};

struct verdict {
	dev_t device;
	uint32_t access, can;
};

struct primed_verdicts {
	bool supported; /* false: a primed that gives none */
	unsigned int count;
	struct verdict list[];
};

struct cached {
	struct key key;
	bool used;
	struct primed_placement placement; /* its verdicts are the slot's own */
	uint64_t due;			   /* primed_now_ms to ask again at; 0: settled */
	uint32_t pause; /* of a default: milliseconds from one question to the next */
};

/* Direct-mapped: a collision only costs a question. */
#define CACHE_SIZE 1024

struct cache {
	struct cached slots[CACHE_SIZE];
};

/* Whether all planes may be sent: closing sd-bus's copy of another file may block for ever. */
bool primed_are_buffers(const struct primed_query *query);
/* Returns -1 with errno if a plane is not an open fd. */
int primed_key_of(const struct primed_query *query, struct key *key);
bool primed_is_same_key(const struct key *a, const struct key *b);
/* CLOCK_MONOTONIC in milliseconds. */
uint64_t primed_now_ms(void);

/* NULL: not cached, or of another generation; a cached default is valid in all. */
struct cached *primed_cache_find(struct cache *cache, const struct key *key, uint64_t generation);
/* Takes the placement's verdicts over. */
struct cached *primed_cache_store(struct cache *cache, const struct key *key,
				  const struct primed_placement *placement);
/* `buffer` 0: drops the cached defaults. */
void primed_cache_drop(struct cache *cache, uint64_t buffer);
void primed_cache_clear(struct cache *cache);

/* ---- devices.c */

#define DEVICES_LIMIT 64

struct device {
	dev_t render, primary;
	bool honours_no_move;
};

struct devices {
	unsigned int count;
	struct device list[DEVICES_LIMIT];
};

bool primed_is_same_device(const struct devices *devices, dev_t a, dev_t b);
bool primed_honours_no_move(const struct devices *devices, dev_t device);
/* From a reply to GetManagedObjects. */
int primed_read_devices(sd_bus_message *reply, struct devices *devices);

/* ---- wire.c. The caller unrefs *call. */

int primed_new_call(sd_bus *bus, const char *member, sd_bus_message **call);
int primed_write_place(sd_bus *bus, const struct primed_query *query, bool explain,
		       sd_bus_message **call);
int primed_write_advise(sd_bus *bus, const struct primed_user *users, unsigned int n_users,
			const struct primed_query *hints, sd_bus_message **call);
/* The placement's verdicts are the caller's to free: NULL unless asked for by `verdicts`. */
int primed_read_placement(sd_bus_message *reply, bool verdicts, struct primed_placement *placement);
/* The errno for an error reply. */
int primed_error_of(sd_bus_message *reply);

/* ---- client */

/* Below 128, the number of replies that a bus lets a connection wait for. */
#define QUESTIONS_LIMIT 100

enum state {
	CONNECTING, /* for the first time: what is asked waits */
	ABSENT,	    /* what is asked gets the default */
	READY,
};

struct primed_client {
	struct primed_client_options options;
	char *address;
	sd_bus *bus;
	int epoll, timer;
	enum state state;
	bool closing;
	/* The calls that have succeeded, of LISTENING, before the client is READY; `broken`: one
	 * of them failed. */
	int listening;
	bool broken, asked_to_start;
	/* A given answer may have changed: on_changed must be called when READY. */
	bool owes_change;
	/* When CONNECTING ends; without a bus, when to try again, and the pause after that. */
	uint64_t give_up_at, retry_at, retry_after;
	struct question *questions; /* in the order asked */
	unsigned int n_questions;
	/* primed_now_ms() at the last answer. If a question that was sent before it times out,
	 * primed hangs: callers get the default at once until primed answers again. */
	uint64_t last_answer;
	bool hangs;
	/* The generation of the valid answers; 0: not known yet. */
	uint64_t generation;
	/* Counts changes that the generation does not count. */
	uint64_t epoch;
	/* primed's unique name; "": it does not run, or its name is not known yet. */
	char owner[256];
	struct devices devices;
	bool listing, lists_again;
	/* The last line that was logged. */
	char logged[256];
	struct cache cache;
};

/* ---- loop.c */

/* Makes the epoll fd readable when sd-bus needs it, at the end of CONNECTING, or at the next
 * attempt to connect. */
void primed_arm(struct primed_client *c);
/* Returns `fd`, or a copy with a number as options.first_fd demands; on failure closes it. */
int primed_move_fd(const struct primed_client *c, int fd);
void primed_log(struct primed_client *c, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void primed_tell_changed(struct primed_client *c, uint64_t buffer);
/* Forgets all answers. */
void primed_forget_all(struct primed_client *c);

/* ---- question.c */

struct question;

struct question_kind {
	/* Called once when the question ends: with primed's reply, or with NULL and a positive
	 * errno. */
	void (*ended)(struct question *q, sd_bus_message *reply, int error);
	/* Cancels what was asked with this data; returns how many callers. The reply may still
	 * be cached. */
	unsigned int (*cancel)(struct question *q, const void *data);
	/* Frees what the question holds, whether it has ended or could not begin; may be NULL. */
	void (*dispose)(struct question *q);
};

struct question {
	const struct question_kind *kind;
	struct primed_client *client;
	struct question *next;
	sd_bus_slot *slot;
	sd_bus_message *call; /* until it is sent */
	uint64_t asked_at, sent_at;
	/* The epoch of the question: an answer to a question of before a change is not cached. */
	uint64_t epoch;
};

/* Begins a question: sends its call, or keeps it until it may be sent. Takes the call over. On
 * failure the question is disposed of without having ended. */
int primed_begin_question(struct primed_client *c, struct question *q, sd_bus_message *call);
void primed_send_questions(struct primed_client *c);
void primed_end_questions(struct primed_client *c, int error);
/* Those whose time is up. */
void primed_expire_questions(struct primed_client *c);

/* ---- listen.c */

/* Calls that must succeed before an answer may be cached: three matches are added, and primed's
 * unique name is known. */
#define LISTENING 4
int primed_listen(struct primed_client *c);
/* Ends all questions in progress with the default. */
void primed_become_absent(struct primed_client *c, int error);

/* ---- connect.c */

int primed_connect(struct primed_client *c);
/* Ends the connection: the bus is lost, or the client is closed. */
void primed_disconnect(struct primed_client *c, int error);

/* ---- answer.c */

struct waiter {
	struct waiter *next;
	primed_placed placed; /* or */
	int fence;	      /* an eventfd, else -1 */
	void *data;
};

struct place {
	struct question question;
	struct key key;
	dev_t fallback, target; /* for an answer that does not come; for scan-out */
	bool verdicts;
	/* No caller waits: it repeats a question whose answer was given from the cache. */
	bool behind;
	struct waiter *waiters;
	bool has_candidates;
	unsigned int n_candidates;
	dev_t candidates[PRIMED_MAX_CANDIDATES];
};

extern const struct question_kind primed_place_kind;

struct primed_placement primed_default(dev_t device, int error);
/* Caches that there is no answer, unless an earlier answer is cached. */
void primed_keep_default(struct primed_client *c, const struct key *key,
			 const struct primed_placement *placement);

/* ---- client.c */

/* For a program that dispatches only when it has a question (the guard): handles everything that
 * has arrived. If a bus has answered the handshake since, waits until the connection is complete,
 * for the timeout at most; does not wait for a bus that is silent. */
void primed_catch_up(struct primed_client *c);

/* ---- ask.c, verdict.c */

/* Copies the part of the query that the caller's struct size covers. False: it is not valid. */
bool primed_take_query(struct primed_query *full, const struct primed_query *query);
/* Asks a query that has `verdicts` set, waits for the answer, and returns its verdict on
 * `device`. `now` is the answer without its verdicts. Returns 1, 0 if there is no verdict, or -1
 * with errno as primed_client_place. */
int primed_wait_for_access(struct primed_client *c, const struct primed_query *query, dev_t device,
			   struct primed_placement *now, uint32_t *access);
