// SPDX-License-Identifier: GPL-2.0
/* struct nouveau_bo of drivers/gpu/drm/nouveau/nouveau_bo.h. */
#include "nouveau_bo.h"

#include <drm/nouveau_drm.h>

#include <linux/module.h>

#include "objects.h"

static struct drm_gem_object *make(enum objects_kind kind)
{
	struct nouveau_bo *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return NULL;
	if (!OBJECTS_TTM(&object->bo, kind == OBJECTS_DEDICATED ? TTM_PL_VRAM : TTM_PL_TT)) {
		kfree(object);
		return NULL;
	}
	object->valid_domains = kind == OBJECTS_SYSTEM ? NOUVEAU_GEM_DOMAIN_GART : NOUVEAU_GEM_DOMAIN_VRAM;
	return &object->bo.base;
}

static void *allocation(struct drm_gem_object *gem)
{
	struct nouveau_bo *object = container_of(gem, struct nouveau_bo, bo.base);

	kfree(object->bo.resource);
	return object;
}

static struct objects_driver driver = { .name = "nouveau", .make = make, .allocation = allocation };
OBJECTS_MODULE(driver);
