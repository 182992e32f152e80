/*
 * primed-client: ask primed on which DRM device a DMA-BUF should be used, from a compositor's own loop.
 *
 * Nothing here blocks after primed_client_open, and nothing starts a thread: poll the one fd and dispatch. A
 * question that primed does not answer in time, or at all, is answered with the compositor's own default,
 * so that a compositor needs no second path. Answers are cached by the buffer's identity for as long as
 * primed says that they hold; an answer from the cache costs a statx a plane and a look-up. So ask whenever a
 * buffer is used, say at every commit, rather than keep an answer of your own.
 *
 * An answer that primed calls unsettled (recheck) is given until a later question finds it due: that one is
 * given it too, and primed is asked again behind it. Should the new answer differ, on_changed tells.
 *
 * Not thread-safe: use a client on one thread at a time. A callback may ask, but not close or dispatch.
 * Link with -lprimed-client (pkg-config: primed-client).
 */
#ifndef PRIMED_CLIENT_H
#define PRIMED_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRIMED_MAX_PLANES 4

/* How the device gets at the buffer; take other values as UNKNOWN. */
enum primed_access {
	PRIMED_ACCESS_UNKNOWN,
	PRIMED_ACCESS_NATIVE,      /* it exported the buffer */
	PRIMED_ACCESS_IN_PLACE,    /* another device, and nothing moves */
	PRIMED_ACCESS_MAY_MOVE,    /* an import could move the buffer */
	PRIMED_ACCESS_MOVES,       /* an import is known to move it */
	PRIMED_ACCESS_UNREACHABLE, /* an import is known to fail or to hang */
};

/* How well that is known, weakest first. */
enum primed_confidence {
	PRIMED_CONFIDENCE_GUESS,
	PRIMED_CONFIDENCE_STATE,
	PRIMED_CONFIDENCE_STABLE,
	PRIMED_CONFIDENCE_INTENT,
};

enum primed_usage {
	PRIMED_USAGE_SAMPLE = 1,
	PRIMED_USAGE_SCANOUT = 2,
	PRIMED_USAGE_CAPTURE = 4,
};

/* A question. Zero-initialise it: 0 means "not said" in every field but planes. */
struct primed_query {
	const int *planes;      /* DMA-BUF fds in plane order; stay the caller's */
	unsigned int n_planes;  /* 1 to PRIMED_MAX_PLANES */
	dev_t sampling_device;  /* the client's own word */
	dev_t target_device;    /* drives the output that the surface is on */
	dev_t primary_device;   /* else the default of struct primed_client_options */
	uint32_t usage;         /* enum primed_usage, or'ed */
	uint32_t format;        /* DRM fourcc; 0: neither format nor modifier is said */
	uint64_t modifier;
	pid_t client;           /* whose buffer it is */
	bool fresh;             /* not from any cache */
};

struct primed_placement {
	dev_t device;           /* the node to use; 0: none */
	uint32_t access;        /* enum primed_access */
	uint32_t confidence;    /* enum primed_confidence */
	uint64_t buffer;        /* plane 0's identity; 0 if primed has not answered */
	uint64_t generation;
	uint32_t recheck;       /* milliseconds after which it is asked for again. 0: settled */
	bool is_default;        /* primed has not answered: the default device */
};

struct primed_client_options {
	const char *address;    /* D-Bus address; NULL: the system bus. Copied. */
	dev_t default_device;   /* for answers that don't come; primed's fallback as well */
	uint32_t timeout;       /* milliseconds; 0: 500, as long as primed itself needs at most */
	/* Earlier answers may no longer hold: ask again about buffers in use. May be NULL. */
	void (*on_changed)(void *data);
	void *data;             /* for on_changed */
};

struct primed_client;

/* Called once for a question that was not answered at once, from primed_client_dispatch or
 * primed_client_close. `placement` is valid during the call. */
typedef void (*primed_placed)(const struct primed_placement *placement, void *data);

/*
 * Connects, and waits until the bus has let the client in. primed need not run: it is started on demand, and
 * until it answers the default holds.
 *
 * Returns the client, to be closed with primed_client_close, or NULL with errno set: ENOENT or
 * ECONNREFUSED where there is no bus, EINVAL for a bad address, ENOMEM, EMFILE. `options` is used during
 * the call only.
 */
struct primed_client *primed_client_open(const struct primed_client_options *options);

/* Calls what waits with the default, and frees the client; on_changed is not called. NULL is allowed. */
void primed_client_close(struct primed_client *client);

/* The fd to poll for reading. Owned by the client and the same for its whole life. Never fails. */
int primed_client_get_fd(const struct primed_client *client);

/*
 * Handles what has come, without blocking; call it when the fd is readable.
 *
 * Returns 0, or -1 with errno set. ECONNRESET: the bus is lost; what waited has got its default, and the
 * client connects again by itself, first at once and then less and less often, which on_changed tells.
 * Others are the kernel's, and call for closing the client.
 */
int primed_client_dispatch(struct primed_client *client);

/*
 * Asks. The query and its fds are used during the call only.
 *
 * Returns 1 if `now` has the answer already: from the cache, or the default where no bus is there; `placed` is
 * not called. 0 if `placed` will be called. -1 with errno set and nothing done: EINVAL (number of
 * planes), EBADF (not an fd of a DMA-BUF), EBUSY (too many questions under way: use your default), ENOMEM.
 */
int primed_client_place(struct primed_client *client, const struct primed_query *query,
			struct primed_placement *now, primed_placed placed, void *data);

/*
 * The answer from the cache, and no more: primed is not asked.
 *
 * Returns 1 if `now` has it, 0 if it is not there or due to be asked for again, -1 with errno set: EINVAL
 * (number of planes), EBADF (not an fd).
 */
int primed_client_peek(struct primed_client *client, const struct primed_query *query,
		       struct primed_placement *now);

#ifdef __cplusplus
}
#endif

#endif
