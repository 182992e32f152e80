// SPDX-License-Identifier: GPL-2.0
/*
 * tgpu: buffers, where they are, and their dma-bufs.
 *
 * All placements are under one lock, so that an attachment, an eviction and a look at them never see
 * a buffer between two places.
 */
#include <linux/dma-buf.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/version.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_prime.h>

#include "tgpu.h"

static DEFINE_SPINLOCK(placement_lock);
static LIST_HEAD(own_buffers);

/* --- dma-buf --- */

static bool usable_in_place(struct tgpu_bo *bo, struct device *importer)
{
	struct tgpu_device *owner = to_tgpu(bo->base.base.dev);
	struct tgpu_device *peer = tgpu_from_device(importer);

	lockdep_assert_held(&placement_lock);
	return bo->placement == TGPU_SYSTEM || (peer && (READ_ONCE(peer->peers) & BIT_ULL(owner->id)));
}

static void move_out(struct tgpu_bo *bo)
{
	lockdep_assert_held(&placement_lock);
	bo->placement = TGPU_SYSTEM;
	bo->moves++;
	atomic_inc(&to_tgpu(bo->base.base.dev)->moves);
	atomic_inc(&tgpu_total_moves);
}

static int tgpu_attach(struct dma_buf *buf, struct dma_buf_attachment *attachment)
{
	struct tgpu_bo *bo = to_tgpu_bo((struct drm_gem_object *)buf->priv);
	bool no_move = tgpu_no_move_requested();
	int ret = 0;

	spin_lock(&placement_lock);
	if (!usable_in_place(bo, attachment->dev)) {
		if (no_move)
			ret = -EINVAL;
		else
			move_out(bo);
	}
	if (!ret)
		bo->attached++;
	spin_unlock(&placement_lock);
	if (ret)
		return ret;

	ret = drm_gem_map_attach(buf, attachment);
	if (ret) {
		spin_lock(&placement_lock);
		bo->attached--;
		spin_unlock(&placement_lock);
	}
	return ret;
}

static void tgpu_detach(struct dma_buf *buf, struct dma_buf_attachment *attachment)
{
	struct tgpu_bo *bo = to_tgpu_bo((struct drm_gem_object *)buf->priv);

	drm_gem_map_detach(buf, attachment);
	spin_lock(&placement_lock);
	bo->attached--;
	spin_unlock(&placement_lock);
}

/* As xe_dma_buf_release() and msm_gem_dmabuf_release() of Linux 7: a function of the driver's own first. */
static void tgpu_dmabuf_release(struct dma_buf *buf)
{
	drm_gem_dmabuf_release(buf);
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)	/* since then the core caches none */
#define CACHE_MAPPING .cache_sgt_mapping = true,
#else
#define CACHE_MAPPING
#endif
#define DMABUF_OPS(release_) {				\
	CACHE_MAPPING					\
	.attach = tgpu_attach,				\
	.detach = tgpu_detach,				\
	.map_dma_buf = drm_gem_map_dma_buf,		\
	.unmap_dma_buf = drm_gem_unmap_dma_buf,		\
	.release = release_,				\
	.mmap = drm_gem_dmabuf_mmap,			\
	.vmap = drm_gem_dmabuf_vmap,			\
	.vunmap = drm_gem_dmabuf_vunmap,		\
}
static const struct dma_buf_ops cores_release = DMABUF_OPS(drm_gem_dmabuf_release);
static const struct dma_buf_ops own_release = DMABUF_OPS(tgpu_dmabuf_release);

static bool is_ours(struct dma_buf *buf)
{
	return buf->ops == &cores_release || buf->ops == &own_release;
}

/* As amdgpu does: the generic export (exp_name "drm"), then ops of our own. */
static struct dma_buf *tgpu_gem_export(struct drm_gem_object *obj, int flags)
{
	struct dma_buf *buf = drm_gem_prime_export(obj, flags);

	if (!IS_ERR(buf)) {
		buf->ops = READ_ONCE(tgpu_own_release) ? &own_release : &cores_release;
		to_tgpu_bo(obj)->ino = file_inode(buf->file)->i_ino;
	}
	return buf;
}

/* Nothing is mapped, so that there is nothing to invalidate. */
static void ignore_move(struct dma_buf_attachment *attachment)
{
}

static const struct dma_buf_attach_ops peer_ops = {
	.allow_peer2peer = true,
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 1, 0)
	.move_notify = ignore_move,
#else
	.invalidate_mappings = ignore_move,
#endif
};

/* As amdgpu and xe do: an attachment that says that it can reach the exporter's own memory. */
static struct drm_gem_object *import_as_peer(struct drm_device *drm, struct dma_buf *buf)
{
	struct dma_buf_attachment *attachment = dma_buf_dynamic_attach(buf, drm->dev, &peer_ops, NULL);
	struct drm_gem_object *obj;

	if (IS_ERR(attachment))
		return ERR_CAST(attachment);
	obj = drm_gem_shmem_prime_import_sg_table(drm, attachment, NULL);
	if (IS_ERR(obj)) {
		dma_buf_detach(buf, attachment);
		return obj;
	}
	get_dma_buf(buf);
	obj->import_attach = attachment;
	obj->resv = buf->resv;
	return obj;
}

struct drm_gem_object *tgpu_gem_prime_import(struct drm_device *drm, struct dma_buf *buf)
{
	struct drm_gem_object *obj = buf->priv;

	if (!is_ours(buf))
		return drm_gem_prime_import(drm, buf);
	if (obj->dev == drm) {	/* our own: no attachment */
		drm_gem_object_get(obj);
		return obj;
	}
	if (READ_ONCE(to_tgpu(drm)->peers) & BIT_ULL(to_tgpu(obj->dev)->id))
		return import_as_peer(drm, buf);
	return drm_gem_prime_import(drm, buf);
}

/* --- eviction --- */

int tgpu_evict(unsigned long ino)
{
	struct tgpu_bo *bo;
	int ret = ino ? -ENOENT : 0;

	spin_lock(&placement_lock);
	list_for_each_entry(bo, &own_buffers, link) {
		if (!ino || bo->ino == ino) {
			bo->placement = TGPU_SYSTEM;
			ret = 0;
		}
	}
	spin_unlock(&placement_lock);
	return ret;
}

int tgpu_restore(unsigned long ino)
{
	struct tgpu_bo *bo;
	int ret = ino ? -ENOENT : 0;

	spin_lock(&placement_lock);
	list_for_each_entry(bo, &own_buffers, link) {
		if (ino && bo->ino != ino)
			continue;
		ret = bo->attached ? -EBUSY : 0;
		if (!ret)
			bo->placement = bo->preferred;
	}
	spin_unlock(&placement_lock);
	return ino ? ret : 0;
}

/* --- GEM --- */

static void tgpu_gem_free(struct drm_gem_object *obj)
{
	spin_lock(&placement_lock);
	list_del_init(&to_tgpu_bo(obj)->link);
	spin_unlock(&placement_lock);
	drm_gem_shmem_object_free(obj);
}

static const struct drm_gem_object_funcs tgpu_gem_funcs = {
	.free = tgpu_gem_free,
	.export = tgpu_gem_export,
	.print_info = drm_gem_shmem_object_print_info,
	.pin = drm_gem_shmem_object_pin,
	.unpin = drm_gem_shmem_object_unpin,
	.get_sg_table = drm_gem_shmem_object_get_sg_table,
	.vmap = drm_gem_shmem_object_vmap,
	.vunmap = drm_gem_shmem_object_vunmap,
	.mmap = drm_gem_shmem_object_mmap,
	.vm_ops = &drm_gem_shmem_vm_ops,
};

struct drm_gem_object *tgpu_gem_create_object(struct drm_device *drm, size_t size)
{
	struct tgpu_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL);

	if (!bo)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&bo->link);
	bo->base.base.funcs = &tgpu_gem_funcs;
	return &bo->base.base;
}

static int create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_tgpu_create *args = data;
	struct drm_gem_shmem_object *shmem;
	struct tgpu_bo *bo;
	int ret;

	if (!args->size || args->size > SZ_256M || args->preferred > TGPU_VRAM)
		return -EINVAL;
	shmem = drm_gem_shmem_create(drm, PAGE_ALIGN(args->size));
	if (IS_ERR(shmem))
		return PTR_ERR(shmem);

	bo = to_tgpu_bo(&shmem->base);
	spin_lock(&placement_lock);
	bo->preferred = bo->placement = args->preferred;
	list_add_tail(&bo->link, &own_buffers);
	spin_unlock(&placement_lock);

	ret = drm_gem_handle_create(file, &shmem->base, &args->handle);
	drm_gem_object_put(&shmem->base);
	return ret;
}

static int info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_tgpu_info *args = data;
	struct drm_gem_object *obj = drm_gem_object_lookup(file, args->handle);
	struct tgpu_bo *bo;

	if (!obj)
		return -ENOENT;
	bo = to_tgpu_bo(obj);
	spin_lock(&placement_lock);
	args->placement = bo->placement;
	args->preferred = bo->preferred;
	args->moves = bo->moves;
	args->attached = bo->attached;
	spin_unlock(&placement_lock);
	drm_gem_object_put(obj);
	return 0;
}

const struct drm_ioctl_desc tgpu_ioctls[] = {
	{ .cmd = DRM_IOCTL_TGPU_CREATE, .func = create_ioctl, .flags = DRM_RENDER_ALLOW, .name = "TGPU_CREATE" },
	{ .cmd = DRM_IOCTL_TGPU_INFO, .func = info_ioctl, .flags = DRM_RENDER_ALLOW, .name = "TGPU_INFO" },
};
const int tgpu_num_ioctls = ARRAY_SIZE(tgpu_ioctls);
