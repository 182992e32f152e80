// SPDX-License-Identifier: GPL-2.0
/*
 * objects: buffer objects of drivers whose hardware is not here, to see whether introspection reads them rightly.
 *
 * Each objects-DRIVER.ko is compiled with the driver's own private headers, of the same kernel's source.  It makes
 * the driver's real structure (struct amdgpu_bo, ...), says in it where the object is and what it is made for,
 * and exports it by DRM core under the driver's name, as a buffer of the driver's module.  That module is
 * loaded beside it, without a device: it is its type data that is read.  So what a header of this kernel says and
 * what the loader makes of the type data are compared; no code of the driver runs.
 *
 * There is a card and a render node each, which make and export objects (objects.h) and do nothing else.
 */
#include <linux/module.h>
#include <linux/version.h>

#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_prime.h>

#include "objects.h"

static struct objects_driver *to_driver(struct drm_device *drm)
{
	return container_of(drm->driver, struct objects_driver, drm);
}

static void free_object(struct drm_gem_object *object)
{
	void *allocation = to_driver(object->dev)->allocation(object);

	drm_gem_object_release(object);
	kfree(allocation);
}

static struct sg_table *no_pages(struct drm_gem_object *object)
{
	return ERR_PTR(-ENXIO);
}

static const struct drm_gem_object_funcs object_funcs = {
	.free = free_object,
	.get_sg_table = no_pages,
};

static int create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_objects_create *args = data;
	struct drm_gem_object *object;
	int ret;

	if (!args->size || args->kind >= OBJECTS_KINDS)
		return -EINVAL;
	object = to_driver(drm)->make(args->kind);
	if (!object)
		return -ENOMEM;
	object->funcs = &object_funcs;
	drm_gem_private_object_init(drm, object, PAGE_ALIGN(args->size));
	ret = drm_gem_handle_create(file, object, &args->handle);
	drm_gem_object_put(object);
	return ret;
}

static const struct drm_ioctl_desc ioctls[] = {
	{ .cmd = DRM_IOCTL_OBJECTS_CREATE, .func = create_ioctl, .flags = DRM_RENDER_ALLOW, .name = "OBJECTS_CREATE" },
};

/* By the list that all modules are in; its head has no name that is a driver's. */
static struct module *find(const char *name)
{
	struct module *module;

	list_for_each_entry(module, &THIS_MODULE->list, list)
		if (!strncmp(module->name, name, MODULE_NAME_LEN))
			return module;
	return NULL;
}

int objects_register(struct objects_driver *driver)
{
	struct drm_device *drm;
	int ret;

	driver->fops = (struct file_operations){
		.owner = find(driver->name),
		.open = drm_open,
		.release = drm_release,
		.unlocked_ioctl = drm_ioctl,
#ifdef FOP_UNSIGNED_OFFSET
		.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
	};
	if (!driver->fops.owner)
		return -ENOENT;
	driver->drm = (struct drm_driver){
		.driver_features = DRIVER_GEM | DRIVER_RENDER,
		.fops = &driver->fops,
		.ioctls = ioctls,
		.num_ioctls = ARRAY_SIZE(ioctls),
		.name = (char *)driver->name,
		.desc = "objects of a driver without its device",
		.major = 1,
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
		.prime_handle_to_fd = drm_gem_prime_handle_to_fd,
		.prime_fd_to_handle = drm_gem_prime_fd_to_handle,
#endif
	};
	driver->device = platform_device_register_simple(driver->name, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(driver->device))
		return PTR_ERR(driver->device);
	drm = drm_dev_alloc(&driver->drm, &driver->device->dev);
	if (IS_ERR(drm)) {
		ret = PTR_ERR(drm);
		goto err_device;
	}
	ret = drm_dev_register(drm, 0);
	if (ret)
		goto err_drm;
	platform_set_drvdata(driver->device, drm);
	return 0;

err_drm:
	drm_dev_put(drm);
err_device:
	platform_device_unregister(driver->device);
	return ret;
}
EXPORT_SYMBOL_GPL(objects_register);

void objects_unregister(struct objects_driver *driver)
{
	struct drm_device *drm = platform_get_drvdata(driver->device);

	drm_dev_unplug(drm);
	drm_dev_put(drm);
	platform_device_unregister(driver->device);
}
EXPORT_SYMBOL_GPL(objects_unregister);

MODULE_DESCRIPTION("what objects of drivers without their devices have in common");
MODULE_LICENSE("GPL");
