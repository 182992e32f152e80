/*
 * primed-client: ask primed on which DRM device a DMA-BUF should be used, from a compositor's own loop.
 * README.md beside this library is the recipe for a compositor: where to ask, what to hold, what to do.
 *
 * Nothing here blocks (but primed_prime_fd_to_handle_no_move, which says so), and nothing starts a thread:
 * poll the one fd and dispatch. A question that primed does not answer in time, or at all, is answered with
 * the compositor's own default, so that a compositor needs no second path. Answers are cached by the buffer's
 * identity for as long as primed says that they hold, refusals too, with longer and longer pauses. An answer
 * from the cache costs a statx a plane and a look-up: ask whenever a buffer is used, say at every commit.
 *
 * An answer that is not settled (recheck) is returned from the cache until it is due; the question that finds it
 * due still gets it, and asks primed again in the background. If the new answer differs, on_changed is called.
 *
 * Not thread-safe: use a client on one thread at a time. A callback may ask and cancel, but not close or
 * dispatch. After fork() the child may only forget the client: its connection is the parent's.
 *
 * Structs begin with their size, as this header knows it: initialise them with PRIMED_..._INIT. Later versions
 * add fields at the end; an older library ignores fields that it does not know.
 *
 * To test without GPUs: `primed --bus ADDRESS --simulate SCENARIO` takes a memfd that is named "primed:ID" for
 * the scenario's buffer ID, "primed:ID.1" for its plane 1:
 *
 *     fd = memfd_create("primed:game", MFD_CLOEXEC);
 *
 * Link with -lprimed-client (pkg-config: primed-client).
 */
#ifndef PRIMED_CLIENT_H
#define PRIMED_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A struct with its size and all other fields 0. */
#ifdef __cplusplus
template <typename T> inline T primed_sized()
{
	T value = T();
	value.size = sizeof(T);
	return value;
}
#define PRIMED_SIZED(type) primed_sized<type>()

extern "C" {
#else
#define PRIMED_SIZED(type) {.size = sizeof(type)}
#endif

#define PRIMED_CLIENT_VERSION_MAJOR 0
#define PRIMED_CLIENT_VERSION_MINOR 1
#define PRIMED_CLIENT_VERSION_MICRO 0
/* Whether this header is of that version or a later one. */
#define PRIMED_CLIENT_CHECK_VERSION(major, minor, micro) \
	(PRIMED_CLIENT_VERSION_MAJOR * 1000000 + PRIMED_CLIENT_VERSION_MINOR * 1000 + \
		 PRIMED_CLIENT_VERSION_MICRO >= (major) * 1000000 + (minor) * 1000 + (micro))

#define PRIMED_MAX_PLANES 4
#define PRIMED_MAX_CANDIDATES 64
#define PRIMED_MAX_USERS 8

/* How a device gets at a buffer; take other values as UNKNOWN. */
enum primed_access {
	PRIMED_ACCESS_UNKNOWN,     /* not known to work, nor to move it: try there, then as without primed */
	PRIMED_ACCESS_NATIVE,      /* it exported the buffer */
	PRIMED_ACCESS_IN_PLACE,    /* another device, and nothing moves */
	PRIMED_ACCESS_MAY_MOVE,    /* an import could move the buffer */
	PRIMED_ACCESS_MOVES,       /* an import is known to move it */
	PRIMED_ACCESS_UNREACHABLE, /* an import is known to fail or to hang: do not import */
};

/* How well that is known, weakest first. */
enum primed_confidence {
	PRIMED_CONFIDENCE_GUESS,
	PRIMED_CONFIDENCE_STATE,
	PRIMED_CONFIDENCE_STABLE,
	PRIMED_CONFIDENCE_INTENT,
};

/* What a buffer is used for; in a verdict, what a device can do with it. Ignore other bits. */
enum primed_usage {
	PRIMED_USAGE_SAMPLE = 1,
	PRIMED_USAGE_SCANOUT = 2,
	PRIMED_USAGE_CAPTURE = 4, /* write */
};

enum primed_memory {
	PRIMED_MEMORY_UNKNOWN,
	PRIMED_MEMORY_DEDICATED,
	PRIMED_MEMORY_SYSTEM,
};

/* A question. 0 means "not said" in every field but planes. A dev_t names a card or a render node: both mean
 * the device. */
struct primed_query {
	size_t size;
	const int *planes;         /* DMA-BUF fds in plane order; stay the caller's */
	unsigned int n_planes;     /* 1 to PRIMED_MAX_PLANES */
	uint32_t usage;            /* enum primed_usage, or'ed; 0: sample */
	dev_t sampling_device;     /* the client's own word, linux-dmabuf's set_sampling_device */
	dev_t target_device;       /* drives the output that the surface is on */
	dev_t primary_device;      /* else the default of struct primed_client_options */
	/* The devices that can use this buffer, format and modifier checked: no other is named. NULL: any
	 * device; not NULL with n_candidates 0: none. */
	const dev_t *candidates;
	unsigned int n_candidates; /* to PRIMED_MAX_CANDIDATES */
	uint32_t format;           /* DRM fourcc */
	uint64_t modifier;         /* said only with has_modifier */
	bool has_modifier;
	bool verdicts;             /* what every device can do: for primed_client_access, home */
	bool wake;                 /* a sleeping device may be woken to find out, if the user may */
	bool fresh;                /* not from any cache */
	pid_t client;              /* whose buffer it is */
	int client_pidfd;          /* the same, and cannot be taken for another process */
};
#define PRIMED_QUERY_INIT PRIMED_SIZED(struct primed_query)

struct primed_verdicts;

struct primed_placement {
	size_t size;
	dev_t device;           /* the node to use; 0: none */
	uint32_t access;        /* enum primed_access */
	uint32_t confidence;    /* enum primed_confidence */
	uint64_t buffer;        /* plane 0's identity; 0 if primed has not answered */
	uint64_t generation;
	uint32_t recheck;       /* milliseconds after which it is asked for again; 0: settled */
	bool is_default;        /* primed has not answered: the default device */
	/* Why it is the default, else 0: ENOTCONN (no bus, or primed does not run), ETIMEDOUT, ENOBUFS (too
	 * much asked at the moment), EPROTO (not to be understood), ENOTSUP (this primed is too old to heed
	 * `candidates`), ECANCELED (the client is closed), or what primed's error is mapped to. */
	int error;
	uint32_t home_memory;   /* enum primed_memory, if verdicts were asked for */
	dev_t home;             /* the exporter, where it is known, likewise; else 0 */
	/* For primed_placement_access. Valid during a callback, or until the next call with this client. */
	const struct primed_verdicts *verdicts;
};
#define PRIMED_PLACEMENT_INIT PRIMED_SIZED(struct primed_placement)

struct primed_client_options {
	size_t size;
	const char *address;    /* D-Bus address; NULL: the system bus. Copied. */
	dev_t default_device;   /* for answers that don't come; primed's fallback as well */
	uint32_t timeout;       /* milliseconds; 0: 500, as long as primed itself needs at most */
	/* All fds that the client opens have at least this number. 0: any. (But for one that libsystemd opens
	 * itself from version 256 on, with the connection: a pidfd of the bus.) */
	int first_fd;
	/* Earlier answers may no longer hold: ask again about buffers in use. `buffer`: only about this one
	 * (primed_placement.buffer); 0: about all. May be NULL. */
	void (*on_changed)(uint64_t buffer, void *data);
	/* What went wrong and why, a line without its end, for a log; `priority` as syslog's. Said once a
	 * cause, not once a question. May be NULL. */
	void (*on_log)(int priority, const char *text, void *data);
	void *data;             /* for on_changed and on_log */
};
#define PRIMED_CLIENT_OPTIONS_INIT PRIMED_SIZED(struct primed_client_options)

struct primed_client;

/* Called once for a question that was not answered at once, from primed_client_dispatch or
 * primed_client_close. `placement` is valid during the call. */
typedef void (*primed_placed)(const struct primed_placement *placement, void *data);

/*
 * Begins to connect. Neither bus nor primed need be there: the client connects when they appear, and calls
 * on_changed. A question that is asked before the first attempt has ended waits for it, as long as for any answer.
 *
 * Returns the client, to be closed with primed_client_close, or NULL with errno set: EINVAL for a bad
 * address, ENOMEM, EMFILE, ENFILE. `options` is used during the call only.
 */
struct primed_client *primed_client_open(const struct primed_client_options *options);

/* Ends all questions with the default, and frees the client; on_changed is not called. NULL is allowed. */
void primed_client_close(struct primed_client *client);

/* The fd to poll for reading. Owned by the client and the same for its whole life. Never fails. */
int primed_client_get_fd(const struct primed_client *client);

/*
 * Handles what has come, without blocking; call it when the fd is readable.
 *
 * Returns 0, or -1 with errno set. ECONNRESET: the bus is lost; all questions have got the default, and the
 * client connects again by itself, at growing intervals, and then calls on_changed. After any other errno, which
 * is the kernel's, the client must be closed.
 */
int primed_client_dispatch(struct primed_client *client);

/*
 * Asks. The query and its fds are used during the call only. A buffer that is asked about while the same
 * question is under way joins it.
 *
 * Returns 1 if `now` has the answer already: from the cache, or the default where primed is not there or has
 * just failed to answer about this buffer; `placed` is not called. 0 if `placed` will be called. -1 with errno
 * set and nothing done: EINVAL (size, number of planes or candidates), EBADF (not an fd of a DMA-BUF), EBUSY
 * (too many questions under way: use your default), ENOMEM.
 */
int primed_client_place(struct primed_client *client, const struct primed_query *query,
			struct primed_placement *now, primed_placed placed, void *data);

/*
 * Asks and returns an fd, which becomes readable when the answer has come; primed_client_place then returns it
 * at once.
 *
 * Returns 1 as primed_client_place; 0 with *fd set, the caller's to close whenever it likes; -1 as
 * primed_client_place, or EMFILE. `data` is for primed_client_cancel.
 */
int primed_client_place_fd(struct primed_client *client, const struct primed_query *query,
			   struct primed_placement *now, int *fd, void *data);

/*
 * Cancels every question that was asked with this `data`, of any kind: its callback is not called any more.
 * For a buffer that is destroyed. Returns how many there were.
 */
unsigned int primed_client_cancel(struct primed_client *client, const void *data);

/*
 * The answer from the cache; primed is not asked.
 *
 * Returns 1 if `now` has it, 0 if it is not there or due to be asked for again, -1 with errno set: EINVAL
 * (size, number of planes or candidates), EBADF (not an fd).
 */
int primed_client_peek(struct primed_client *client, const struct primed_query *query,
		       struct primed_placement *now);

/*
 * What an import of the buffer on `device` does, from the cache: its access as if no other device could be
 * named, and what it can do with the buffer (enum primed_usage; 0 unless native or in-place; an absent bit means
 * no, or not known). Takes the answer of a primed_client_place with the same query and `verdicts` set.
 *
 * Returns 1; 0 if there is no such answer of primed's: ask, or do as without primed; -1 with errno set as
 * primed_client_peek, or ENOTSUP (this primed gives no verdicts), ENODEV (it knows no such device).
 */
int primed_client_access(struct primed_client *client, const struct primed_query *query, dev_t device,
			 uint32_t *access, uint32_t *can);

/* The same of an answer at hand, as in a callback. */
int primed_placement_access(const struct primed_client *client, const struct primed_placement *placement,
			    dev_t device, uint32_t *access, uint32_t *can);

/* Who will use a buffer that is to be allocated. */
struct primed_user {
	dev_t device;
	uint32_t use; /* enum primed_usage, or'ed; 0: reach it */
};

/* Where it may be allocated. */
struct primed_place {
	size_t size;
	dev_t device;
	uint32_t memory;          /* enum primed_memory */
	unsigned int n_accesses;
	const uint32_t *accesses; /* each user's enum primed_access, in the order of the users */
};

struct primed_advice {
	size_t size;
	/* 0, or why there is none: as primed_placement.error; ENOTSUP: this primed gives no advice; ENODEV:
	 * it knows no such device. */
	int error;
	uint64_t generation;      /* on_changed tells when to ask again */
	unsigned int n_places;    /* 0 without an error: nowhere, so copy */
	const struct primed_place *const *places; /* best first */
};

typedef void (*primed_advised)(const struct primed_advice *advice, void *data);

/*
 * Asks where a buffer should be allocated that these devices will use, the most important first, so that
 * nobody moves it: for feedback tranches, screen capture, decoding. Of `hints` (may be NULL) candidates, format
 * and modifier count. Not cached.
 *
 * Returns 0: `advised` will be called once; or -1 with errno set as primed_client_place, or ENOTCONN.
 */
int primed_client_advise(struct primed_client *client, const struct primed_user *users, unsigned int n_users,
			 const struct primed_query *hints, primed_advised advised, void *data);

/* `text`: several lines for people, or NULL with `error` as primed_placement.error. */
typedef void (*primed_explained)(const char *text, int error, void *data);

/* Asks for all that primed knows of the buffer and why it answers so: for logs and bug reports. Returns as
 * primed_client_advise. */
int primed_client_explain(struct primed_client *client, const struct primed_query *query,
			  primed_explained explained, void *data);

/*
 * DRM_IOCTL_PRIME_FD_TO_HANDLE with DRM_PRIME_FD_TO_HANDLE_NO_MOVE as its RFC describes it, on every kernel:
 * an import that would move the buffer fails, and imports nothing. Where primed has found that this device's
 * driver heeds the flag, by the flag; else by primed's answer, and then a plain import. `handle` is the caller's,
 * as with the ioctl.
 *
 * Blocks until primed has answered, its timeout at most, and calls back what else has come; it does not block
 * after a primed_client_place with only `planes` and `verdicts` said has been answered.
 *
 * Returns 0, or -1 with errno set: EINVAL (it would move, or may, or nobody can tell), EBADF, ENOTTY (drm_fd is
 * not a DRM node), or the ioctl's.
 */
int primed_prime_fd_to_handle_no_move(struct primed_client *client, int drm_fd, int dmabuf_fd,
				      uint32_t *handle);

#ifdef __cplusplus
}
#endif

#endif
