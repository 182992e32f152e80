// SPDX-License-Identifier: GPL-2.0
/* struct amdgpu_bo of drivers/gpu/drm/amd/amdgpu/amdgpu_object.h. */
#include "amdgpu.h"
#include "amdgpu_object.h"

#include <linux/module.h>

#include "objects.h"

static struct drm_gem_object *make(enum objects_kind kind)
{
	struct amdgpu_bo *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return NULL;
	if (!OBJECTS_TTM(&object->tbo, kind == OBJECTS_DEDICATED ? TTM_PL_VRAM : TTM_PL_TT)) {
		kfree(object);
		return NULL;
	}
	object->preferred_domains = kind == OBJECTS_SYSTEM ? AMDGPU_GEM_DOMAIN_GTT : AMDGPU_GEM_DOMAIN_VRAM;
	return &object->tbo.base;
}

static void *allocation(struct drm_gem_object *gem)
{
	struct amdgpu_bo *object = container_of(gem, struct amdgpu_bo, tbo.base);

	kfree(object->tbo.resource);
	return object;
}

static struct objects_driver driver = { .name = "amdgpu", .make = make, .allocation = allocation };
OBJECTS_MODULE(driver);
