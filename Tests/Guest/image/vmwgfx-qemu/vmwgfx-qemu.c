// SPDX-License-Identifier: GPL-2.0
/*
 * vmwgfx-qemu: Debian's vmwgfx.ko, as it is, drives QEMU's vmware-svga.
 *
 * vmw_driver_load() wants a card that either needs no pitch lock (SVGA_CAP_8BIT_EMULATION and newer ones) or
 * has it, in a register or in the FIFO.  QEMU's has none of them, and shows scan-out lines as they are
 * written without.  So the driver is told that the FIFO has it; it then writes the pitch into a FIFO register
 * that the card ignores.  Load it after vmwgfx.ko, then bind the card.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static noinline bool has_pitchlock(void)
{
	return true;
}

/* At the entry of a probed function: has_pitchlock() returns to its caller instead. */
static int answer(struct kprobe *probe, struct pt_regs *regs)
{
	instruction_pointer_set(regs, (unsigned long)has_pitchlock);
	return 1;
}

static struct kprobe question = { .symbol_name = "vmw_fifo_have_pitchlock", .pre_handler = answer };

static int __init vmwgfx_qemu_init(void)
{
	return register_kprobe(&question);
}

static void __exit vmwgfx_qemu_exit(void)
{
	unregister_kprobe(&question);
}

module_init(vmwgfx_qemu_init);
module_exit(vmwgfx_qemu_exit);
MODULE_DESCRIPTION("vmwgfx on QEMU's vmware-svga");
MODULE_LICENSE("GPL");
