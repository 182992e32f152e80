/* SPDX-License-Identifier: GPL-2.0 */
/* objects: what its modules share.  objects.c says what they are for. */
#ifndef OBJECTS_H
#define OBJECTS_H

#include <linux/platform_device.h>
#include <linux/slab.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

/* What an object is made for, and whether it is there. */
enum objects_kind { OBJECTS_DEDICATED, OBJECTS_SYSTEM, OBJECTS_EVICTED, OBJECTS_KINDS };

struct drm_objects_create {
	__u64 size;		/* in: bytes */
	__u32 kind;		/* in: enum objects_kind */
	__u32 handle;		/* out */
};
#define DRM_IOCTL_OBJECTS_CREATE DRM_IOWR(DRM_COMMAND_BASE, struct drm_objects_create)

/* A driver whose objects are made. */
struct objects_driver {
	const char *name;	/* of its module, which must be loaded */
	/*
	 * A zeroed object of the driver's own type with its placements set; the GEM object in it is initialised
	 * by the caller.  It is freed by kfree() of what `allocation` gives.
	 */
	struct drm_gem_object *(*make)(enum objects_kind kind);
	void *(*allocation)(struct drm_gem_object *object);

	/* objects.c's */
	struct file_operations fops;
	struct drm_driver drm;
	struct platform_device *device;
};

int objects_register(struct objects_driver *driver);
void objects_unregister(struct objects_driver *driver);

/* Where a TTM driver's object is: the number of its memory, and that it points back. */
#define OBJECTS_TTM(buffer, memory)					\
({									\
	(buffer)->resource = kzalloc(sizeof(*(buffer)->resource), GFP_KERNEL); \
	if ((buffer)->resource) {					\
		(buffer)->resource->mem_type = (memory);		\
		(buffer)->resource->bo = (buffer);			\
	}								\
	(buffer)->resource;						\
})

#define OBJECTS_MODULE(driver_)						\
static int __init objects_module_init(void)				\
{									\
	return objects_register(&driver_);				\
}									\
static void __exit objects_module_exit(void)				\
{									\
	objects_unregister(&driver_);					\
}									\
module_init(objects_module_init);					\
module_exit(objects_module_exit);					\
MODULE_DESCRIPTION("objects of a driver without its device");		\
MODULE_LICENSE("GPL")

#endif
