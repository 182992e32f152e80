// SPDX-License-Identifier: (GPL-2.0 OR MIT)
/*
 * Tells of a DMA-BUF that the caller has open: which device exported it, where it is, what it was made
 * for, and how many have attached to it. Run by BPF_PROG_RUN in the caller's own context.
 *
 * It only reads. It takes no reference and no lock, calls no driver, wakes nothing, and asks nobody but
 * the kernel's memory: a buffer can't be moved by it, nor kept alive.
 *
 * What it reads can change under it, and be freed: bpf_probe_read_kernel() then gives what is there, or
 * zeroes, and never faults. So nothing is believed for having been read: each step below states the
 * invariant by which it is checked, whatever could have been exchanged is read again at the end, and an
 * answer that fails any of this is wiped.
 *
 * What comes out is no kernel pointer and no memory as it is, but numbers made of it that can only be
 * few: node minors where the major is DRM's, words of enum dmabuf_memory, a small count. The inode goes
 * in. So a caller who makes the program read what it should not learns next to nothing.
 *
 * Types of vmlinux are found by CO-RE, relocated by the kernel itself at load. DRM's types and those of
 * its drivers are modules' types: their offsets are in `core` and `drivers`, which the loader fills from
 * the modules' BTF and freezes before anyone else has the program.
 */
#include "dmabuf.h"

#define SEC(name) __attribute__((section(name), used))
/* Keeps global variables out of BTF, where the kernel wants sizes and offsets that a compiler does not
 * know: nobody needs their types there. */
#define UNTYPED __attribute__((nodebug))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define CORE __attribute__((preserve_access_index))
#define NULL ((void *)0)

UNTYPED const char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* --- helpers of the kernel, by number (include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER) ------------------ */

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) UNTYPED = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, uint64_t flags) UNTYPED =
	(void *)2;
static uint64_t (*const bpf_get_current_task)(void) UNTYPED = (void *)35;
static long (*const bpf_probe_read_kernel)(void *to, uint32_t size, const void *from) UNTYPED = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *to, uint32_t size, const void *from) UNTYPED = (void *)115;
static long (*const bpf_snprintf)(char *to, uint32_t size, const char *format, const uint64_t *values,
				  uint32_t values_size) UNTYPED = (void *)165;

/* --- maps: only their names count, the loader knows the rest ------------------------------------------ */

/* HASH: char[DMABUF_DRIVER_NAME] -> struct dmabuf_driver; read-only for this program. */
UNTYPED char drivers SEC("maps");
/* HASH: address of a function -> enum function; only this program writes it. */
UNTYPED char functions SEC("maps");

/* Set by the loader; constants to the verifier. */
UNTYPED const volatile struct dmabuf_core core SEC(".rodata");
UNTYPED const char name_of_symbol[] SEC(".rodata") = "%ps";

/* --- types of vmlinux, as far as they are used -------------------------------------------------------- */

struct list_head {
	struct list_head *next, *prev;
} CORE;

struct inode {
	unsigned long i_ino;
} CORE;

struct file_operations {
	void *release;
} CORE;

struct file {
	struct file_operations *f_op;
	void *private_data;
	struct inode *f_inode;
} CORE;

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} CORE;

struct files_struct {
	struct fdtable *fdt;
} CORE;

struct task_struct {
	struct files_struct *files;
} CORE;

struct module {
	char name[DMABUF_DRIVER_NAME];
	unsigned int btf_data_size;
} CORE;

struct device {
	unsigned int devt;
} CORE;

struct dma_buf_ops {
	void *release;
} CORE;

struct dma_buf {
	unsigned long size;
	struct file *file;
	struct list_head attachments;
	struct dma_buf_ops *ops;
	struct module *owner;
	void *resv, *priv;
} CORE;

struct dma_buf_attachment {
	struct dma_buf *dmabuf;
	struct list_head node;
	uint8_t peer2peer;
} CORE;

/* --- reading ------------------------------------------------------------------------------------------ */

/* Zeroes where it can't be read. */
#define GET(from, field)                                                                       \
	({                                                                                     \
		typeof(from) from_ = (from);                                                   \
		typeof(from_->field) value_;                                                   \
		bpf_probe_read_kernel(&value_, sizeof(value_), (const void *)ADDRESS(from_, field)); \
		value_;                                                                        \
	})
#define ADDRESS(from, field) ((uint64_t)__builtin_preserve_access_index(&(from)->field))
#define EXISTS(type, field) __builtin_preserve_field_info(((type *)0)->field, 2 /* BPF_FIELD_EXISTS */)
#define OFFSET(type, field) __builtin_preserve_field_info(((type *)0)->field, 0 /* BPF_FIELD_BYTE_OFFSET */)

static ALWAYS_INLINE uint64_t pointer(uint64_t at)
{
	uint64_t value;

	bpf_probe_read_kernel(&value, sizeof(value), (const void *)at);
	return value;
}

static ALWAYS_INLINE uint64_t number(uint64_t at, uint8_t size)
{
	uint64_t wide = 0;
	uint32_t narrow = 0;
	uint16_t half = 0;
	uint8_t byte = 0;

	switch (size) {
	case 8:
		bpf_probe_read_kernel(&wide, 8, (const void *)at);
		return wide;
	case 4:
		bpf_probe_read_kernel(&narrow, 4, (const void *)at);
		return narrow;
	case 2:
		bpf_probe_read_kernel(&half, 2, (const void *)at);
		return half;
	default:
		bpf_probe_read_kernel(&byte, 1, (const void *)at);
		return byte;
	}
}

/* --- which function is it? ---------------------------------------------------------------------------- */

enum function {
	OTHER_FUNCTION,
	RELEASES_DMABUF,	/* file_operations.release of every DMA-BUF and of nothing else */
	RELEASES_NO_DEVICES,	/* dma_buf_ops.release of exporters that are no device's */
};

/* A symbol's name, zero-padded, as the kernel prints it: with its module, if it is of one. */
union symbol {
	char name[48];
	uint64_t words[6];
};

static ALWAYS_INLINE int is(const union symbol *symbol, const union symbol wanted)
{
	return symbol->words[0] == wanted.words[0] && symbol->words[1] == wanted.words[1] &&
	       symbol->words[2] == wanted.words[2] && symbol->words[3] == wanted.words[3] &&
	       symbol->words[4] == wanted.words[4] && symbol->words[5] == wanted.words[5];
}
/* `function` of the kernel itself, or of its `module`. */
#define IS(have, function, module)                                                             \
	(is(have, (union symbol){ .name = function }) ||                                       \
	 is(have, (union symbol){ .name = function " [" module "]" }))

/* By its symbol's name, which needs no permission to read addresses and works without CONFIG_KALLSYMS_ALL,
 * since it is a function. Looking a module's symbol up takes a linear search, so what is found is kept. An
 * address is good for as long as its module is loaded; one that was left by an unloaded heap and is
 * another exporter's now is never asked about if that is a driver, whose buffers are recognised first. */
static ALWAYS_INLINE enum function function_at(uint64_t address)
{
	union symbol symbol = {};
	uint32_t *known = bpf_map_lookup_elem(&functions, &address);
	uint32_t found = OTHER_FUNCTION;

	if (known)
		return *known;
	if (!address)
		return OTHER_FUNCTION;
	bpf_snprintf(symbol.name, sizeof(symbol.name), name_of_symbol, &address, sizeof(address));
	if (is(&symbol, (union symbol){ .name = "dma_buf_file_release" }))
		found = RELEASES_DMABUF;
	else if (IS(&symbol, "release_udmabuf", "udmabuf") ||
		 IS(&symbol, "system_heap_dma_buf_release", "system_heap") ||
		 IS(&symbol, "cma_heap_dma_buf_release", "cma_heap"))
		found = RELEASES_NO_DEVICES;
	if (found != OTHER_FUNCTION)
		bpf_map_update_elem(&functions, &address, &found, 0);
	return found;
}

/* --- one look ----------------------------------------------------------------------------------------- */

/* The answer, until it is known to be right. */
struct answer {
	uint32_t status, card, render;
	uint8_t registered, residency, preferred, attached, peers;
};

static ALWAYS_INLINE struct file *file_at(int fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = GET(GET(task, files), fdt);
	struct file *file;

	/* A negative one is a big one here. */
	if ((uint32_t)fd >= GET(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), GET(table, fd) + (uint32_t)fd);
	return file;
}

/* Sets `attached` and `peers`. Invariant: in a doubly linked list each element points back to the one
 * before, to the very end. The list's lock isn't held, so that an element can go in the middle of the walk:
 * then it doesn't hold. */
static ALWAYS_INLINE void count_attached(struct dma_buf *buffer, struct answer *answer)
{
	uint64_t head = ADDRESS(buffer, attachments), before = head;
	struct list_head *at = (void *)pointer(head + OFFSET(struct list_head, next));
	uint8_t count = 0, peers = 0;

	answer->attached = answer->peers = DMABUF_ATTACHED_UNKNOWN;

#pragma clang loop unroll(disable)
	for (int i = 0; i < DMABUF_MOST_ATTACHED && (uint64_t)at != head; i++) {
		struct dma_buf_attachment *attachment = (void *)at - OFFSET(struct dma_buf_attachment, node);

		if ((uint64_t)GET(at, prev) != before || GET(attachment, dmabuf) != buffer)
			return;
		count++;
		peers += GET(attachment, peer2peer) == 1;
		before = (uint64_t)at;
		at = GET(at, next);
	}
	if ((uint64_t)at == head && pointer(head + OFFSET(struct list_head, prev)) != before)
		return;
	answer->attached = count;
	answer->peers = peers;
}

/* 1 + minor of a node; 0: it has none. Invariants: a minor points back to its device, which proves the
 * offsets of both at once; and its number's major is DRM's. */
static ALWAYS_INLINE int read_node(uint64_t device, uint32_t offset, uint32_t *number)
{
	uint64_t minor = pointer(device + offset);
	struct device *node;
	uint32_t devt;

	*number = 0;
	if (!minor)
		return 1;
	if (pointer(minor + core.minor_device) != device)
		return 0;
	node = (void *)pointer(minor + core.minor_node);
	devt = GET(node, devt);
	*number = 1 + (devt & 0xfffff);
	return devt >> 20 == 226;
}

/* What is known of the driver's own type. The exporter's module is held by the buffer (dma_buf.owner), so
 * its name is good; that it is the module that the layout was read from shows in the size of its BTF. */
static ALWAYS_INLINE struct dmabuf_driver *driver_of(struct dma_buf *buffer, uint64_t device)
{
	char name[DMABUF_DRIVER_NAME] = {};
	struct module *module = GET(buffer, owner);
	struct dmabuf_driver *driver;

	if (module) {
		bpf_probe_read_kernel_str(name, sizeof(name), (void *)ADDRESS(module, name));
		driver = bpf_map_lookup_elem(&drivers, name);
		if (driver && EXISTS(struct module, btf_data_size) && GET(module, btf_data_size) != driver->btf_size)
			return NULL;
		return driver;
	}
	/* Built in. */
	bpf_probe_read_kernel_str(name, sizeof(name),
				  (void *)pointer(pointer(device + core.device_driver) + core.driver_name));
	driver = bpf_map_lookup_elem(&drivers, name);
	return driver && !driver->btf_size ? driver : NULL;
}

/* The word for a value. `first` is the first pointer that was followed, to be read again. Invariant, for
 * what points back to the object that it was reached from: it does. */
static ALWAYS_INLINE uint8_t read_memory(const struct dmabuf_value *value, uint64_t object, uint64_t *first)
{
	uint64_t at = object + value->offset[0], bits;

	*first = 0;
	if (!value->size)
		return DMABUF_MEMORY_UNKNOWN;
	if (value->pointers > 0) {
		at = *first = pointer(at);
		if (!at)
			return DMABUF_MEMORY_UNKNOWN;
		if (value->has_back && pointer(at + value->back) != object + value->back_to)
			return DMABUF_MEMORY_UNKNOWN;
		at += value->offset[1];
	}
	if (value->pointers > 1) {
		at = pointer(at);
		if (!at)
			return DMABUF_MEMORY_UNKNOWN;
		at += value->offset[2];
	}
	bits = number(at, value->size);
	if (value->is_number)
		bits = bits < 32 ? 1u << bits : 0;
	if ((bits & value->dedicated) && (bits & value->system))
		return value->both;
	if (bits & value->dedicated)
		return DMABUF_MEMORY_DEDICATED;
	return bits & value->system ? DMABUF_MEMORY_SYSTEM : DMABUF_MEMORY_UNKNOWN;
}

/* Whether `priv` is a GEM object. The release function doesn't tell: drivers have their own (xe, msm).
 * Invariants of every exported GEM object: it shares the buffer's reservation object and size
 * (drm_gem_prime_export()), and it points back to the buffer, until its last handle is closed
 * (drm_gem_object_exported_dma_buf_free()). A reservation object is shared by nobody by chance: who brings none
 * to dma_buf_export() gets one at the buffer's own end. */
static ALWAYS_INLINE int is_gem(struct dma_buf *buffer, uint64_t object)
{
	uint64_t exported;

	if (!core.known || !object)
		return 0;
	exported = pointer(object + core.gem_buffer);
	return (exported == (uint64_t)buffer || !exported) &&
	       pointer(object + core.gem_resv) == (uint64_t)GET(buffer, resv) &&
	       pointer(object + core.gem_size) == GET(buffer, size);
}

/* A GEM object's device and memory. */
static ALWAYS_INLINE uint32_t look_at_gem(struct dma_buf *buffer, uint64_t object, struct answer *answer)
{
	uint64_t device = pointer(object + core.gem_device), resource = 0, unused;
	struct dmabuf_driver *driver;
	uint8_t registered = 0;

	if (!device)
		return DMABUF_INCONSISTENT;
	if (!read_node(device, core.device_card, &answer->card) ||
	    !read_node(device, core.device_render, &answer->render))
		return DMABUF_INCONSISTENT;
	/* An accelerator: a device with no node that is known here. */
	if (!answer->card && !answer->render)
		return DMABUF_UNKNOWN;
	bpf_probe_read_kernel(&registered, 1, (const void *)(device + core.device_registered));
	answer->registered = registered == 1;

	driver = driver_of(buffer, device);
	if (driver) {
		answer->preferred = read_memory(&driver->preferred, object, &unused);
		answer->residency = read_memory(&driver->residency, object, &resource);
		/* It was not exchanged for another in the meantime. */
		if (resource && pointer(object + driver->residency.offset[0]) != resource)
			return DMABUF_CHANGED;
	}
	return (uint64_t)GET(buffer, priv) == object ? DMABUF_DEVICE : DMABUF_CHANGED;
}

/* Invariants: only a DMA-BUF's file has this release function, and the buffer points back to its file. The
 * inode is the one that the caller found by statx: else its fd has been closed and used again since. */
static ALWAYS_INLINE uint32_t look_at_file(struct file *file, uint64_t inode, struct answer *answer)
{
	struct dma_buf *buffer;
	uint64_t object;
	uint32_t status;

	if (function_at((uint64_t)GET(GET(file, f_op), release)) != RELEASES_DMABUF)
		return DMABUF_NONE;
	buffer = GET(file, private_data);
	if (GET(buffer, file) != file || GET(GET(file, f_inode), i_ino) != inode)
		return DMABUF_CHANGED;

	object = (uint64_t)GET(buffer, priv);
	if (is_gem(buffer, object)) {
		status = look_at_gem(buffer, object, answer);
	} else if (function_at((uint64_t)GET(GET(buffer, ops), release)) == RELEASES_NO_DEVICES) {
		status = DMABUF_NO_DEVICE;
		answer->registered = 1;
		answer->residency = answer->preferred = DMABUF_MEMORY_SYSTEM;
	} else {
		status = DMABUF_UNKNOWN;
	}
	count_attached(buffer, answer);

	/* It is still the same file's, and that file still this inode's: nothing above was read of a buffer
	 * that was freed. */
	if (GET(file, private_data) != buffer || GET(buffer, file) != file || GET(GET(file, f_inode), i_ino) != inode)
		return DMABUF_CHANGED;
	return status;
}

SEC("syscall") int look(struct dmabuf_look *look)
{
	struct answer answer = {};
	int fd = look->fd;
	struct file *file = file_at(fd);

	if (!file) {
		answer.status = DMABUF_NO_FD;
	} else {
		answer.status = look_at_file(file, look->inode, &answer);
		/* The caller held it open all the time. */
		if (file_at(fd) != file)
			answer.status = DMABUF_CHANGED;
	}
	if (answer.status != DMABUF_DEVICE && answer.status != DMABUF_NO_DEVICE)
		answer = (struct answer){ .status = answer.status };
	look->status = answer.status;
	look->card = answer.card;
	look->render = answer.render;
	look->registered = answer.registered;
	look->residency = answer.residency;
	look->preferred = answer.preferred;
	look->attached = answer.attached;
	look->peers = answer.peers;
	return 0;
}
