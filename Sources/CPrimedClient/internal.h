/* The parts of a client. */
#pragma once
#include "primed-client.h"

#include <systemd/sd-bus.h>

/* A buffer and what was asked about it. */
struct key {
	uint64_t device, inode; /* plane 0's */
	uint64_t rest;          /* hash of the other planes and the hints */
};

struct cached {
	struct key key;
	struct primed_placement placement; /* of no buffer: an empty slot */
	uint64_t due;                      /* primed_now_ms to ask again at; 0: settled */
};

/* Direct-mapped: a collision costs a question, nothing else. */
#define CACHE_SIZE 1024

struct cache {
	struct cached slots[CACHE_SIZE];
};

/* -1 and errno where a plane is not an open fd. */
int primed_key_of(const struct primed_query *query, struct key *key);

/* Whether all planes may be sent: the copy of a file that sd-bus closes may never let go of it. */
bool primed_are_buffers(const struct primed_query *query);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t primed_now_ms(void);

/* NULL: unknown, or of another generation. */
struct cached *primed_cache_find(struct cache *cache, const struct key *key, uint64_t generation);
void primed_cache_store(struct cache *cache, const struct key *key,
			const struct primed_placement *placement);
void primed_cache_drop(struct cache *cache, uint64_t buffer);
void primed_cache_clear(struct cache *cache);

/* The Place call for a query; a negative errno. The caller unrefs *call. */
int primed_write_place(sd_bus *bus, const struct primed_query *query, sd_bus_message **call);
/* A negative errno for a reply that is none, or not to be understood. */
int primed_read_placement(sd_bus_message *reply, struct primed_placement *placement);

/* What has to be known before an answer may be kept: three matches in force, and primed's unique name. */
#define LISTENING 4

struct primed_client {
	struct primed_client_options options;
	char *address;
	sd_bus *bus;
	int epoll, timer;
	struct question *questions; /* ask.c's */
	unsigned int n_questions;
	/* The generation whose answers hold; 0: not known yet. */
	uint64_t generation;
	/* Counts changes beside those of the generation. */
	uint64_t epoch;
	/* Of LISTENING. */
	int listening;
	/* primed's unique name; "": it does not run, or is not known yet. */
	char owner[256];
	uint64_t retry_at, retry_after;
	bool closing;
	struct cache cache;
};

/* ask.c: calls all that wait with their defaults. */
void primed_end_questions(struct primed_client *c);

/* listen.c. primed_listen: a negative errno if the bus can't be asked. */
int primed_listen(struct primed_client *c);
void primed_set_owner(struct primed_client *c, const char *owner);
void primed_forget_all(struct primed_client *c);
void primed_tell_changed(struct primed_client *c);

/* client.c. primed_is_connected: the bus has let us in. Before, sd-bus waits for that in a call with fds, and
 * calls back whom it likes.
 * primed_reconnect: a negative errno if there is no bus, or it is not time to try again. */
bool primed_is_connected(struct primed_client *c);
int primed_reconnect(struct primed_client *c);
/* Has the epoll fd wake for what sd-bus waits for now, or for the next try to connect. */
void primed_arm(struct primed_client *c);
