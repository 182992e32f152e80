// SPDX-License-Identifier: GPL-2.0
/*
 * radeon-gart: Debian's radeon.ko, as it is, keeps its GART on a card without acceleration.
 *
 * The card of QEMU's ati-vga has no command processor, so r100_startup() fails and radeon switches
 * acceleration off.  That is fine, but r100_init() then drops the GART too, and without a GART no buffer
 * can be moved out of video memory: moving, and counting the moved bytes, is what the tests need.
 * Load it after radeon.ko and before the card is there.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static noinline void keep(void)
{
}

/* At the entry of a probed function: keep() returns to its caller instead. */
static int skip(struct kprobe *probe, struct pt_regs *regs)
{
	instruction_pointer_set(regs, (unsigned long)keep);
	return 1;
}

/* What r100_pci_gart_fini() consists of, which is inlined where it matters, but for some registers. */
static struct kprobe fini = { .symbol_name = "radeon_gart_fini", .pre_handler = skip };
static struct kprobe table_free = { .symbol_name = "radeon_gart_table_ram_free", .pre_handler = skip };
static struct kprobe *probes[] = { &fini, &table_free };

static int __init radeon_gart_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}

static void __exit radeon_gart_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}

module_init(radeon_gart_init);
module_exit(radeon_gart_exit);
MODULE_DESCRIPTION("radeon keeps its GART without acceleration");
MODULE_LICENSE("GPL");
