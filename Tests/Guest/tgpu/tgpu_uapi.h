/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* tgpu: what user space sees of it, besides sysfs (see main.c and device.c). */
#ifndef TGPU_UAPI_H
#define TGPU_UAPI_H

#ifdef __KERNEL__
#include <drm/drm.h>
#else
#include <drm.h>
#endif

/* Placements */
#define TGPU_SYSTEM 0
#define TGPU_VRAM 1

struct drm_tgpu_create {
	__u64 size;		/* in: bytes */
	__u32 preferred;	/* in: placement that the buffer is made for, and starts in */
	__u32 handle;		/* out */
};

struct drm_tgpu_info {
	__u32 handle;		/* in */
	__u32 placement;	/* out: where it is now */
	__u32 preferred;	/* out */
	__u32 moves;		/* out: times that an import moved it */
	__u32 attached;		/* out: foreign importers attached now */
	__u32 pad;
};

#define DRM_IOCTL_TGPU_CREATE DRM_IOWR(DRM_COMMAND_BASE + 0, struct drm_tgpu_create)
#define DRM_IOCTL_TGPU_INFO DRM_IOWR(DRM_COMMAND_BASE + 1, struct drm_tgpu_info)

#endif
