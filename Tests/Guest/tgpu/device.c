// SPDX-License-Identifier: GPL-2.0
/*
 * tgpu: the device: a platform device with a DRM card and render node.
 *
 * /sys/devices/platform/tgpu.N:
 *	opens, attempts, imports, moves, resumes (r)	counters, see tgpu.h
 *	peers (rw)			bit M: may use the VRAM of tgpu.M in place
 *	import_errno (rw)		imports fail with it; 0: they don't
 *	import_delay_ms (rw)		imports take so long; writing 0 releases those that wait
 *	import_uninterruptible (rw)	1: they wait in D state
 *	power/control (rw)		"on" (default): never suspended; "auto": when idle
 *	power/autosuspend_delay_ms (rw)
 */
#include <linux/dma-mapping.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/seq_file.h>
#include <linux/version.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_prime.h>

#include "tgpu.h"

static struct platform_driver tgpu_platform_driver;

struct tgpu_device *tgpu_from_device(struct device *dev)
{
	return dev->driver == &tgpu_platform_driver.driver ? dev_get_drvdata(dev) : NULL;
}

/* --- file operations: every one of them wakes the device, as amdgpu's do --- */

static struct tgpu_device *file_device(struct file *filp)
{
	return to_tgpu(((struct drm_file *)filp->private_data)->minor->dev);
}

static void wake(struct device *dev)
{
	/* Fails only for a device that is gone, which has no power to manage. */
	if (pm_runtime_get_sync(dev) < 0)
		dev_dbg(dev, "not resumed\n");
}

static void let_sleep(struct device *dev)
{
	pm_runtime_mark_last_busy(dev);
	pm_runtime_put_autosuspend(dev);
}

static int tgpu_open(struct drm_device *drm, struct drm_file *file)
{
	struct tgpu_device *gpu = to_tgpu(drm);

	wake(drm->dev);
	atomic_inc(&gpu->opens);
	let_sleep(drm->dev);
	return 0;
}

static int tgpu_release(struct inode *inode, struct file *filp)
{
	struct drm_device *drm = &file_device(filp)->drm;
	int ret;

	drm_dev_get(drm);
	wake(drm->dev);
	ret = drm_release(inode, filp);
	let_sleep(drm->dev);
	drm_dev_put(drm);
	return ret;
}

/* What a test has set to happen before an import. */
static int before_import(struct tgpu_device *gpu)
{
	long timeout = msecs_to_jiffies(READ_ONCE(gpu->import_delay_ms));
	bool gone = false;
	long left = 1;

	atomic_inc(&gpu->attempts);
#define released (!READ_ONCE(gpu->import_delay_ms) || (gone = drm_dev_is_unplugged(&gpu->drm)))
	if (timeout && READ_ONCE(gpu->import_uninterruptible))
		wait_event_timeout(gpu->import_wait, released, timeout);
	else if (timeout)
		left = wait_event_interruptible_timeout(gpu->import_wait, released, timeout);
#undef released
	if (gone)
		return -ENODEV;
	if (left < 0)
		return left;
	return -READ_ONCE(gpu->import_errno);
}

static long tgpu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct tgpu_device *gpu = file_device(filp);
	struct device *dev = gpu->drm.dev;
	bool import = cmd == DRM_IOCTL_PRIME_FD_TO_HANDLE;
	long ret = 0;

	wake(dev);
	if (import)
		ret = before_import(gpu);
	if (!ret) {
		ret = drm_ioctl(filp, cmd, arg);
		if (import && !ret)
			atomic_inc(&gpu->imports);
	}
	let_sleep(dev);
	return ret;
}

/* As xe's: reads what only a device that is awake can tell. */
static void tgpu_show_fdinfo(struct seq_file *m, struct file *filp)
{
	struct device *dev = file_device(filp)->drm.dev;

	wake(dev);
	seq_puts(m, "drm-driver:\ttgpu\n");
	let_sleep(dev);
}

static const struct file_operations tgpu_fops = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = tgpu_release,
	.unlocked_ioctl = tgpu_ioctl,
	.show_fdinfo = tgpu_show_fdinfo,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
#ifdef FOP_UNSIGNED_OFFSET
	.fop_flags = FOP_UNSIGNED_OFFSET,
#endif
};

static struct drm_driver tgpu_drm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.open = tgpu_open,
	.fops = &tgpu_fops,
	.ioctls = tgpu_ioctls,
	DRM_GEM_SHMEM_DRIVER_OPS,
	.gem_create_object = tgpu_gem_create_object,
	.gem_prime_import = tgpu_gem_prime_import,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	/* No longer among shmem's own (drm_gem_shmem_prime_import_no_map, which maps nothing). */
	.gem_prime_import_sg_table = drm_gem_shmem_prime_import_sg_table,
#endif
	.name = "tgpu",
	.desc = "virtual GPU with pretended video memory",
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
	.date = "20261122",
#endif
	.major = 1,
};

/* --- sysfs --- */

#define COUNTER(name)								\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	struct tgpu_device *gpu = dev_get_drvdata(dev);				\
										\
	return sysfs_emit(buf, "%d\n", atomic_read(&gpu->name));		\
}										\
static DEVICE_ATTR_RO(name)

/* A store wakes the imports that wait, to look at it. */
#define SETTING(name, type, format, parse)					\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	struct tgpu_device *gpu = dev_get_drvdata(dev);				\
										\
	return sysfs_emit(buf, format "\n", READ_ONCE(gpu->name));		\
}										\
static ssize_t name##_store(struct device *dev, struct device_attribute *attr,	\
			    const char *buf, size_t count)			\
{										\
	struct tgpu_device *gpu = dev_get_drvdata(dev);				\
	type value;								\
	int ret = parse(buf, 0, &value);					\
										\
	if (ret)								\
		return ret;							\
	WRITE_ONCE(gpu->name, value);						\
	wake_up_all(&gpu->import_wait);						\
	return count;								\
}										\
static DEVICE_ATTR_RW(name)

COUNTER(opens);
COUNTER(attempts);
COUNTER(imports);
COUNTER(moves);
COUNTER(resumes);
SETTING(peers, u64, "%#llx", kstrtou64);
SETTING(import_errno, int, "%d", kstrtoint);
SETTING(import_delay_ms, int, "%d", kstrtoint);
SETTING(import_uninterruptible, int, "%d", kstrtoint);

static struct attribute *tgpu_attrs[] = {
	&dev_attr_opens.attr,
	&dev_attr_attempts.attr,
	&dev_attr_imports.attr,
	&dev_attr_moves.attr,
	&dev_attr_resumes.attr,
	&dev_attr_peers.attr,
	&dev_attr_import_errno.attr,
	&dev_attr_import_delay_ms.attr,
	&dev_attr_import_uninterruptible.attr,
	NULL
};
ATTRIBUTE_GROUPS(tgpu);

/* --- runtime PM: off until a test writes "auto" to power/control --- */

static int tgpu_runtime_suspend(struct device *dev)
{
	return 0;
}

static int tgpu_runtime_resume(struct device *dev)
{
	struct tgpu_device *gpu = dev_get_drvdata(dev);

	atomic_inc(&gpu->resumes);
	return 0;
}

static const struct dev_pm_ops tgpu_pm_ops = {
	SET_RUNTIME_PM_OPS(tgpu_runtime_suspend, tgpu_runtime_resume, NULL)
};

static int enable_runtime_pm(struct device *dev)
{
	pm_runtime_forbid(dev);
	pm_runtime_set_autosuspend_delay(dev, 50);
	pm_runtime_use_autosuspend(dev);
	pm_runtime_set_active(dev);
	return devm_pm_runtime_enable(dev);
}

/* --- the platform driver --- */

static int tgpu_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct tgpu_device *gpu;
	int ret;

	ret = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	gpu = devm_drm_dev_alloc(dev, &tgpu_drm_driver, struct tgpu_device, drm);
	if (IS_ERR(gpu))
		return PTR_ERR(gpu);
	gpu->id = pdev->id;
	init_waitqueue_head(&gpu->import_wait);
	platform_set_drvdata(pdev, gpu);
	ret = enable_runtime_pm(dev);
	if (ret)
		return ret;
	return drm_dev_register(&gpu->drm, 0);
}

static void unplug(struct platform_device *pdev)
{
	struct tgpu_device *gpu = platform_get_drvdata(pdev);

	drm_dev_unplug(&gpu->drm);
	wake_up_all(&gpu->import_wait);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static int tgpu_remove(struct platform_device *pdev)
{
	unplug(pdev);
	return 0;
}
#else
#define tgpu_remove unplug
#endif

static struct platform_driver tgpu_platform_driver = {
	.probe = tgpu_probe,
	.remove = tgpu_remove,
	.driver = {
		.name = "tgpu",
		.dev_groups = tgpu_groups,
		.pm = &tgpu_pm_ops,
	},
};

int tgpu_driver_register(void)
{
	tgpu_drm_driver.num_ioctls = tgpu_num_ioctls;
	return platform_driver_register(&tgpu_platform_driver);
}

void tgpu_driver_unregister(void)
{
	platform_driver_unregister(&tgpu_platform_driver);
}
