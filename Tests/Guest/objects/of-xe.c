// SPDX-License-Identifier: GPL-2.0
/* struct xe_bo of drivers/gpu/drm/xe/xe_bo_types.h. */
#include "xe_bo.h"

#include <linux/module.h>

#include "objects.h"

static struct drm_gem_object *make(enum objects_kind kind)
{
	struct xe_bo *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return NULL;
	if (!OBJECTS_TTM(&object->ttm, kind == OBJECTS_DEDICATED ? XE_PL_VRAM0 : XE_PL_TT)) {
		kfree(object);
		return NULL;
	}
	object->placements[0].mem_type = kind == OBJECTS_SYSTEM ? XE_PL_TT : XE_PL_VRAM0;
	return &object->ttm.base;
}

static void *allocation(struct drm_gem_object *gem)
{
	struct xe_bo *object = container_of(gem, struct xe_bo, ttm.base);

	kfree(object->ttm.resource);
	return object;
}

static struct objects_driver driver = { .name = "xe", .make = make, .allocation = allocation };
OBJECTS_MODULE(driver);
