/* SPDX-License-Identifier: GPL-2.0 */
/* tgpu: what its files share.  main.c says what the driver is for. */
#ifndef TGPU_H
#define TGPU_H

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/wait.h>

#include <drm/drm_device.h>
#include <drm/drm_gem_shmem_helper.h>

#include "tgpu_uapi.h"

#define TGPU_MAX_DEVICES 64

struct tgpu_device {
	struct drm_device drm;
	int id;				/* N of /sys/devices/platform/tgpu.N */

	/* Counters that only ever rise. */
	atomic_t opens;
	atomic_t attempts;		/* PRIME_FD_TO_HANDLE calls */
	atomic_t imports;		/* those that succeeded */
	atomic_t moves;			/* own buffers that an import moved */
	atomic_t resumes;		/* runtime PM */

	/* What a test sets. */
	u64 peers;			/* bit N: may use the VRAM of tgpu.N in place */
	int import_errno;		/* imports fail with it */
	int import_delay_ms;		/* imports wait so long; writing 0 ends the wait */
	int import_uninterruptible;	/* ... in D state */
	wait_queue_head_t import_wait;
};

/*
 * A buffer is always shmem pages: "VRAM" is only a word, but one with consequences.  Imported
 * buffers are tgpu_bo too, with both placements TGPU_SYSTEM.
 */
struct tgpu_bo {
	struct drm_gem_shmem_object base;
	struct list_head link;		/* in the list of own buffers */
	u32 preferred;			/* constant */
	u32 placement;			/* this and the rest: under the lock of gem.c */
	u32 moves;
	u32 attached;
	unsigned long ino;		/* of its dma-buf, once exported */
};

#define to_tgpu(d) container_of(d, struct tgpu_device, drm)
#define to_tgpu_bo(o) container_of(o, struct tgpu_bo, base.base)

/* main.c */
extern atomic_t tgpu_total_moves;
extern bool tgpu_own_release;

/* device.c */
int tgpu_driver_register(void);
void tgpu_driver_unregister(void);
struct tgpu_device *tgpu_from_device(struct device *dev);	/* NULL if it is no tgpu */

/* gem.c */
extern const struct drm_ioctl_desc tgpu_ioctls[];
extern const int tgpu_num_ioctls;
struct drm_gem_object *tgpu_gem_create_object(struct drm_device *drm, size_t size);
struct drm_gem_object *tgpu_gem_prime_import(struct drm_device *drm, struct dma_buf *buf);
int tgpu_evict(unsigned long ino);	/* 0: all */
int tgpu_restore(unsigned long ino);

/* no_move.c */
int tgpu_no_move_init(void);
void tgpu_no_move_exit(void);
bool tgpu_no_move_requested(void);
int tgpu_no_move_set_mode(const char *name);
const char *tgpu_no_move_mode(void);

#endif
