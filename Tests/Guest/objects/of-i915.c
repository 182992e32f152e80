// SPDX-License-Identifier: GPL-2.0
/* struct drm_i915_gem_object of drivers/gpu/drm/i915/gem/i915_gem_object_types.h. */
#include "gem/i915_gem_object_types.h"
#include "intel_memory_region.h"

#include <linux/module.h>

#include "objects.h"

static struct intel_memory_region local = { .type = INTEL_MEMORY_LOCAL };
static struct intel_memory_region system = { .type = INTEL_MEMORY_SYSTEM };
static struct intel_memory_region *both[] = { &local, &system }, *only_system[] = { &system };

static struct drm_gem_object *make(enum objects_kind kind)
{
	struct drm_i915_gem_object *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return NULL;
	object->mm.region = kind == OBJECTS_DEDICATED ? &local : &system;
	object->mm.placements = kind == OBJECTS_SYSTEM ? only_system : both;
	object->mm.n_placements = kind == OBJECTS_SYSTEM ? 1 : 2;
	return &object->base;
}

static void *allocation(struct drm_gem_object *gem)
{
	return container_of(gem, struct drm_i915_gem_object, base);
}

static struct objects_driver driver = { .name = "i915", .make = make, .allocation = allocation };
OBJECTS_MODULE(driver);
