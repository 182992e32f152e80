// SPDX-License-Identifier: GPL-2.0
/*
 * tgpu: virtual GPUs with pretended video memory, to test what an importer of DMA-BUFs does to them.
 *
 * A foreign device that attaches to a buffer in VRAM makes the exporter move it to system memory, as
 * radeon and nouveau do; each such move is counted.  An importer that is declared a peer uses it in
 * place.  exp_name is "drm" and runtime PM is taken on every open, ioctl and close, as amdgpu does.
 *
 * DRM_PRIME_FD_TO_HANDLE_NO_MOVE, in the whole kernel (stock importers included; stock exporters: a
 * radeon buffer in VRAM), is one of
 *	ignored		as in mainline: the flag is silently a full import
 *	honoured	an import that would move fails with EINVAL; unknown flag bits are ignored
 *	validated	likewise, and unknown flag bits are EINVAL
 *	refused		every flag is an unknown one, and EINVAL
 *
 * /sys/module/tgpu/parameters:
 *	devices (r)	how many there are at load
 *	mode (rw)	as above
 *	add, remove (w)	N: hot-plug, hot-unplug /sys/devices/platform/tgpu.N
 *	evict (w)	inode number of a dma-buf, or "all": out of VRAM, as under memory pressure
 *	restore (w)	likewise: back to where it was made for; EBUSY while an importer is attached
 *	moves (r)	total of all devices, gone ones included
 *	own_release (rw) Y: buffers exported from now on have a dma_buf_ops.release of tgpu's own, not DRM core's
 *
 * device.c says what each device has in sysfs.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/version.h>

#include "tgpu.h"

atomic_t tgpu_total_moves;

bool tgpu_own_release;
module_param_named(own_release, tgpu_own_release, bool, 0644);

static unsigned int devices = 2;
module_param(devices, uint, 0444);

static struct platform_device *pdevs[TGPU_MAX_DEVICES];
static DEFINE_MUTEX(pdevs_lock);
static bool ready;	/* parameters on the command line of insmod come before init */

static int add_device(unsigned int id)
{
	struct platform_device *pdev;
	int ret = 0;

	if (!ready || id >= TGPU_MAX_DEVICES)
		return -EINVAL;
	mutex_lock(&pdevs_lock);
	if (pdevs[id]) {
		ret = -EEXIST;
	} else {
		pdev = platform_device_register_simple("tgpu", id, NULL, 0);
		if (IS_ERR(pdev))
			ret = PTR_ERR(pdev);
		else
			pdevs[id] = pdev;
	}
	mutex_unlock(&pdevs_lock);
	return ret;
}

static int remove_device(unsigned int id)
{
	int ret = -ENODEV;

	if (id >= TGPU_MAX_DEVICES)
		return -EINVAL;
	mutex_lock(&pdevs_lock);
	if (pdevs[id]) {
		platform_device_unregister(pdevs[id]);
		pdevs[id] = NULL;
		ret = 0;
	}
	mutex_unlock(&pdevs_lock);
	return ret;
}

static int add_set(const char *val, const struct kernel_param *kp)
{
	unsigned int id;

	return kstrtouint(val, 0, &id) ?: add_device(id);
}

static int remove_set(const char *val, const struct kernel_param *kp)
{
	unsigned int id;

	return kstrtouint(val, 0, &id) ?: remove_device(id);
}

static int parse_buffer(const char *val, unsigned long *ino)
{
	*ino = 0;
	return sysfs_streq(val, "all") ? 0 : kstrtoul(val, 0, ino);
}

static int evict_set(const char *val, const struct kernel_param *kp)
{
	unsigned long ino;

	return parse_buffer(val, &ino) ?: tgpu_evict(ino);
}

static int restore_set(const char *val, const struct kernel_param *kp)
{
	unsigned long ino;

	return parse_buffer(val, &ino) ?: tgpu_restore(ino);
}

static int mode_set(const char *val, const struct kernel_param *kp)
{
	return tgpu_no_move_set_mode(val);
}

static int mode_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", tgpu_no_move_mode());
}

static int moves_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&tgpu_total_moves));
}

static const struct kernel_param_ops add_ops = { .set = add_set };
static const struct kernel_param_ops remove_ops = { .set = remove_set };
static const struct kernel_param_ops evict_ops = { .set = evict_set };
static const struct kernel_param_ops restore_ops = { .set = restore_set };
static const struct kernel_param_ops mode_ops = { .set = mode_set, .get = mode_get };
static const struct kernel_param_ops moves_ops = { .get = moves_get };

module_param_cb(add, &add_ops, NULL, 0200);
module_param_cb(remove, &remove_ops, NULL, 0200);
module_param_cb(evict, &evict_ops, NULL, 0200);
module_param_cb(restore, &restore_ops, NULL, 0200);
module_param_cb(mode, &mode_ops, NULL, 0644);
module_param_cb(moves, &moves_ops, NULL, 0444);

static void remove_all(void)
{
	unsigned int id;

	for (id = 0; id < TGPU_MAX_DEVICES; id++)
		remove_device(id);
}

static int __init tgpu_init(void)
{
	unsigned int id;
	int ret;

	ret = tgpu_no_move_init();
	if (ret)
		return ret;
	ret = tgpu_driver_register();
	if (ret)
		goto err_no_move;
	ready = true;
	for (id = 0; id < devices; id++) {
		ret = add_device(id);
		if (ret)
			goto err_devices;
	}
	return 0;

err_devices:
	remove_all();
	tgpu_driver_unregister();
err_no_move:
	tgpu_no_move_exit();
	return ret;
}

static void __exit tgpu_exit(void)
{
	remove_all();
	tgpu_driver_unregister();
	tgpu_no_move_exit();
}

module_init(tgpu_init);
module_exit(tgpu_exit);
MODULE_DESCRIPTION("virtual GPUs to test PRIME imports");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif
