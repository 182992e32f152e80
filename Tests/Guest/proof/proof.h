/*
 * The proof's compositor: a wlroots compositor that asks primed before it imports a client's buffer.
 *
 *   compositor.c  windows, the output, the question and the commit that waits for its answer
 *   dmabuf.c      a linux-dmabuf global of version 6, whose buffers are accepted unimported
 *   import.c      an import, in a process of its own
 *
 * The compositor draws with pixman on its primary device. Its "renderers" are importers, one process a buffer: a
 * PRIME import on a device is all that the kernel sees of a renderer, and decides whether the buffer moves. The
 * pixels are then copied to the output by the CPU.
 */
#ifndef PROOF_H
#define PROOF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wayland-server-core.h>
#include <wlr/interfaces/wlr_buffer.h>

#define MAX_DEVICES 16

struct device {
	const char *node; /* as --device named it */
	dev_t number;
};

struct devices {
	struct device all[MAX_DEVICES]; /* the first is the primary one */
	unsigned int n;
};

/* Where the pixels are in a DMA-BUF of one plane. */
struct layout {
	int width, height;
	uint32_t format, offset, stride;
};

/* --- import.c --- */

struct import {
	pid_t process; /* 0: none */
	int socket;
	uint8_t *pixels; /* rows of 4 * width bytes, or NULL */
	size_t length;
};

/* Imports on the device. Returns 0, or why not, as errno; EIO if the process died, ETIMEDOUT if it hangs. */
int import_begin(struct import *import, const struct device *device, int dmabuf, const struct layout *layout);

/* Copies the buffer's pixels, as they are now, to `pixels`. Returns as import_begin. */
int import_read(struct import *import);

void import_end(struct import *import);

/* --- dmabuf.c --- */

struct dmabuf {
	struct wlr_buffer base;
	struct wl_resource *resource; /* NULL once the client has destroyed it */
	struct layout layout;
	int fd;
	uint64_t modifier;
	dev_t sampling_device; /* the client's word, or 0 */
	pid_t client;
	const struct device *device; /* that it is imported on, or NULL */
	struct import import;
	struct wl_listener release;
};

/* Called when a client has created a buffer. False: the client is told `failed`. */
typedef bool (*dmabuf_created)(struct dmabuf *buffer, void *data);

void dmabuf_global(struct wl_display *display, const struct devices *devices, dmabuf_created created,
		   void (*destroyed)(struct dmabuf *buffer, void *data), void *data);

/* NULL if it is none of ours. */
struct dmabuf *dmabuf_from_buffer(struct wlr_buffer *buffer);

#endif
