// SPDX-License-Identifier: GPL-2.0
/*
 * tgpu: DRM_PRIME_FD_TO_HANDLE_NO_MOVE over the stock drm.ko.
 *
 * DRM core hands the flags of PRIME_FD_TO_HANDLE to nobody.  But an attachment is made in the context
 * of that very ioctl, so whoever is asked to attach can look up what the task has called.  Two probes
 * on core do what the RFC does there: reject unknown bits, and refuse for stock exporters (those that
 * go through drm_gem_map_attach()) of which we know that attaching moves: a radeon buffer in VRAM.
 */
#include <linux/dma-buf.h>
#include <linux/kprobes.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <asm/syscall.h>
#include <asm/unistd.h>

#include <drm/drm_drv.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <drm/ttm/ttm_bo.h>
#else
#include <drm/ttm/ttm_bo_api.h>
#endif
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_resource.h>

#include "tgpu.h"

#define NO_MOVE (1u << 0)

enum { IGNORED, HONOURED, VALIDATED, REFUSED };
static const char * const mode_names[] = { "ignored", "honoured", "validated", "refused" };
static int mode = IGNORED;

int tgpu_no_move_set_mode(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(mode_names); i++) {
		if (sysfs_streq(name, mode_names[i])) {
			WRITE_ONCE(mode, i);
			return 0;
		}
	}
	return -EINVAL;
}

const char *tgpu_no_move_mode(void)
{
	return mode_names[READ_ONCE(mode)];
}

/* Is the current task inside PRIME_FD_TO_HANDLE with the flag, and is the flag honoured? */
bool tgpu_no_move_requested(void)
{
	struct pt_regs *regs = current_pt_regs();
	struct drm_prime_handle args;

	if (READ_ONCE(mode) == IGNORED || (current->flags & PF_KTHREAD))
		return false;
	if (syscall_get_nr(current, regs) != __NR_ioctl ||
	    (u32)regs->si != DRM_IOCTL_PRIME_FD_TO_HANDLE)
		return false;
	if (copy_from_user_nofault(&args, (void __user *)regs->dx, sizeof(args)))
		return false;
	return args.flags & NO_MOVE;
}

static noinline int refuse(void)
{
	return -EINVAL;
}

/* At the entry of a probed function: return -EINVAL to its caller instead of running it. */
static int skip_and_refuse(struct pt_regs *regs)
{
	instruction_pointer_set(regs, (unsigned long)refuse);
	return 1;
}

static int fd_to_handle_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct drm_prime_handle *args = (void *)regs_get_kernel_argument(regs, 1);

	u32 refused = READ_ONCE(mode) == VALIDATED ? ~NO_MOVE : READ_ONCE(mode) == REFUSED ? ~0u : 0;

	return args->flags & refused ? skip_and_refuse(regs) : 0;
}

static int map_attach_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct dma_buf *buf = (void *)regs_get_kernel_argument(regs, 0);
	struct drm_gem_object *obj = buf->priv;
	struct ttm_buffer_object *bo = container_of(obj, struct ttm_buffer_object, base);

	if (strcmp(obj->dev->driver->name, "radeon") || !tgpu_no_move_requested())
		return 0;
	if (!bo->resource || bo->resource->mem_type != TTM_PL_VRAM)
		return 0;
	return skip_and_refuse(regs);
}

static struct kprobe fd_to_handle = {
	.symbol_name = "drm_prime_fd_to_handle_ioctl",
	.pre_handler = fd_to_handle_entry,
};

static struct kprobe map_attach = {
	.symbol_name = "drm_gem_map_attach",
	.pre_handler = map_attach_entry,
};

static struct kprobe *probes[] = { &fd_to_handle, &map_attach };

int tgpu_no_move_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}

void tgpu_no_move_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}
