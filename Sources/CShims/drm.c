/* DRM ioctls. */
#define _GNU_SOURCE
#include "CShims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <amdgpu_drm.h>
#include <i915_drm.h>
#include <nouveau_drm.h>
#include <radeon_drm.h>
#include <xf86drm.h>

/* libdrm of Debian 12 has no xe_drm.h; the layout is stable uAPI (include/uapi/drm/xe_drm.h). */
struct xe_gem_create {
	uint64_t extensions, size;
	uint32_t placement, flags, vm_id, handle;
	uint16_t cpu_caching, pad[3];
	uint64_t reserved[2];
};
#define XE_GEM_CREATE DRM_IOWR(DRM_COMMAND_BASE + 0x01, struct xe_gem_create)
#define XE_PLACEMENT_SYSTEM 1u
#define XE_PLACEMENT_VRAM0 2u
#define XE_CACHING_WC 2

#define NOUVEAU_GEM_NEW DRM_IOWR(DRM_COMMAND_BASE + DRM_NOUVEAU_GEM_NEW, struct drm_nouveau_gem_new)
#define NOUVEAU_GEM_INFO DRM_IOWR(DRM_COMMAND_BASE + DRM_NOUVEAU_GEM_INFO, struct drm_nouveau_gem_info)

int primed_prime_import(int node, int dmabuf, uint32_t flags, uint32_t *handle)
{
	struct drm_prime_handle a = { .fd = dmabuf, .flags = flags };
	int r = drmIoctl(node, DRM_IOCTL_PRIME_FD_TO_HANDLE, &a);

	*handle = a.handle;
	return r;
}

int primed_prime_export(int node, uint32_t handle, int *dmabuf)
{
	struct drm_prime_handle a = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1 };
	int r = drmIoctl(node, DRM_IOCTL_PRIME_HANDLE_TO_FD, &a);

	*dmabuf = a.fd;
	return r;
}

int primed_gem_close(int node, uint32_t handle)
{
	struct drm_gem_close a = { .handle = handle };

	return drmIoctl(node, DRM_IOCTL_GEM_CLOSE, &a);
}

int primed_drop_master(int node)
{
	return drmIoctl(node, DRM_IOCTL_DROP_MASTER, NULL);
}

/* Closes `fd` and keeps errno, for the ways out of the two functions below. */
static int close_keeping_errno(int fd, int result)
{
	int e = errno;

	close(fd);
	errno = e;
	return result;
}

int primed_udmabuf_create(uint64_t size)
{
	struct udmabuf_create a = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = size };
	int control = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int memory, buffer;

	if (control < 0)
		return -1;
	memory = primed_memfd("primed", size, true);
	if (memory < 0)
		return close_keeping_errno(control, -1);
	a.memfd = (uint32_t)memory;
	buffer = drmIoctl(control, UDMABUF_CREATE, &a);
	close_keeping_errno(memory, 0);
	return close_keeping_errno(control, buffer);
}

int primed_dumb_create(int node, uint32_t width, uint32_t height, uint32_t *handle)
{
	struct drm_mode_create_dumb a = { .width = width, .height = height, .bpp = 32 };
	int r = drmIoctl(node, DRM_IOCTL_MODE_CREATE_DUMB, &a);

	*handle = a.handle;
	return r;
}

static int amdgpu_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	union drm_amdgpu_gem_create a = { .in = {
		.bo_size = size, .alignment = 4096,
		.domains = vram ? AMDGPU_GEM_DOMAIN_VRAM : AMDGPU_GEM_DOMAIN_GTT,
	} };
	int r = drmIoctl(node, DRM_IOCTL_AMDGPU_GEM_CREATE, &a);

	*handle = a.out.handle;
	return r;
}

static int radeon_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	struct drm_radeon_gem_create a = {
		.size = size, .alignment = 4096,
		.initial_domain = vram ? RADEON_GEM_DOMAIN_VRAM : RADEON_GEM_DOMAIN_GTT,
	};
	int r = drmIoctl(node, DRM_IOCTL_RADEON_GEM_CREATE, &a);

	*handle = a.handle;
	return r;
}

static int nouveau_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	struct drm_nouveau_gem_new a = {
		.info = { .size = size, .domain = vram ? NOUVEAU_GEM_DOMAIN_VRAM : NOUVEAU_GEM_DOMAIN_GART },
		.align = 4096,
	};
	int r = drmIoctl(node, NOUVEAU_GEM_NEW, &a);

	*handle = a.info.handle;
	return r;
}

static int i915_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	struct drm_i915_gem_memory_class_instance region = {
		.memory_class = vram ? I915_MEMORY_CLASS_DEVICE : I915_MEMORY_CLASS_SYSTEM,
	};
	struct drm_i915_gem_create_ext_memory_regions regions = {
		.base.name = I915_GEM_CREATE_EXT_MEMORY_REGIONS,
		.num_regions = 1, .regions = (uintptr_t)&region,
	};
	struct drm_i915_gem_create_ext a = { .size = size, .extensions = (uintptr_t)&regions };
	int r = drmIoctl(node, DRM_IOCTL_I915_GEM_CREATE_EXT, &a);

	*handle = a.handle;
	return r;
}

static int xe_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	struct xe_gem_create a = {
		.size = size, .cpu_caching = XE_CACHING_WC,
		.placement = vram ? XE_PLACEMENT_VRAM0 : XE_PLACEMENT_SYSTEM,
	};
	int r = drmIoctl(node, XE_GEM_CREATE, &a);

	*handle = a.handle;
	return r;
}

/* The project's own test driver, Tests/Guest/tgpu/tgpu_uapi.h. */
struct tgpu_create {
	uint64_t size;
	uint32_t preferred, handle;
};
#define TGPU_CREATE DRM_IOWR(DRM_COMMAND_BASE + 0, struct tgpu_create)

static int tgpu_create(int node, uint64_t size, bool vram, uint32_t *handle)
{
	struct tgpu_create a = { .size = size, .preferred = vram };
	int r = drmIoctl(node, TGPU_CREATE, &a);

	*handle = a.handle;
	return r;
}

/* amdgpu_gem.c, AMDGPU_GEM_OP_GET_GEM_CREATE_INFO: bo->preferred_domains. */
static enum primed_record amdgpu_record(int node, uint32_t handle)
{
	struct drm_amdgpu_gem_create_in info = { 0 };
	struct drm_amdgpu_gem_op a = {
		.handle = handle, .op = AMDGPU_GEM_OP_GET_GEM_CREATE_INFO, .value = (uintptr_t)&info,
	};

	if (drmIoctl(node, DRM_IOCTL_AMDGPU_GEM_OP, &a) < 0)
		return PRIMED_RECORD_NONE;
	return info.domains & AMDGPU_GEM_DOMAIN_VRAM ? PRIMED_RECORD_DEDICATED : PRIMED_RECORD_SYSTEM;
}

/* radeon_gem.c, RADEON_GEM_OP_GET_INITIAL_DOMAIN: robj->initial_domain. */
static enum primed_record radeon_record(int node, uint32_t handle)
{
	struct drm_radeon_gem_op a = { .handle = handle, .op = RADEON_GEM_OP_GET_INITIAL_DOMAIN };

	if (drmIoctl(node, DRM_IOCTL_RADEON_GEM_OP, &a) < 0)
		return PRIMED_RECORD_NONE;
	return a.value & RADEON_GEM_DOMAIN_VRAM ? PRIMED_RECORD_DEDICATED : PRIMED_RECORD_SYSTEM;
}

/* nouveau_gem.c, nouveau_gem_info: valid_domains if there are several, else the current domain: VRAM alone
 * is then the only domain that the buffer may have, and GART tells nothing. */
static enum primed_record nouveau_record(int node, uint32_t handle)
{
	struct drm_nouveau_gem_info a = { .handle = handle };

	if (drmIoctl(node, NOUVEAU_GEM_INFO, &a) < 0)
		return PRIMED_RECORD_NONE;
	return a.domain & NOUVEAU_GEM_DOMAIN_VRAM ? PRIMED_RECORD_DEDICATED : PRIMED_RECORD_SYSTEM;
}

/* By the DRM name. A driver here has `ownIoctls` in its row of Placement/Drivers. */
static const struct driver {
	const char *name;
	int (*create)(int node, uint64_t size, bool vram, uint32_t *handle);
	/* NULL: it keeps no record that an ioctl reads. */
	enum primed_record (*record)(int node, uint32_t handle);
} drivers[] = {
	{ "amdgpu", amdgpu_create, amdgpu_record },
	{ "radeon", radeon_create, radeon_record },
	{ "nouveau", nouveau_create, nouveau_record },
	{ "i915", i915_create, NULL },
	{ "xe", xe_create, NULL },
	{ "tgpu", tgpu_create, NULL },
};

static const struct driver *find(const char *name)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
		if (strcmp(drivers[i].name, name) == 0)
			return &drivers[i];
	return NULL;
}

bool primed_driver_known(const char *driver)
{
	return find(driver) != NULL;
}

int primed_driver_create(int node, const char *driver, uint64_t size, bool vram, uint32_t *handle)
{
	const struct driver *known = find(driver);

	if (known)
		return known->create(node, size, vram, handle);
	errno = ENOSYS;
	return -1;
}

enum primed_record primed_driver_record(int node, const char *driver, uint32_t handle)
{
	const struct driver *known = find(driver);

	return known && known->record ? known->record(node, handle) : PRIMED_RECORD_NONE;
}
