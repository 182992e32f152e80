/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */
/* What the BPF program, its loader and the daemon have in common: the question and answer of one look
 * at one DMA-BUF, and where a kernel keeps what is asked. Fixed-size types only. */
#pragma once

#ifdef __bpf__
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#else
#include <stdint.h>
#endif

enum dmabuf_status {
	DMABUF_UNANSWERED,	/* the program has not run */
	DMABUF_DEVICE,		/* exported by the device that is named */
	DMABUF_NO_DEVICE,	/* of no device: udmabuf, a heap */
	DMABUF_UNKNOWN,		/* a DMA-BUF whose exporter this program does not recognise */
	DMABUF_NONE,		/* the fd is no DMA-BUF */
	DMABUF_NO_FD,		/* the fd is not open */
	DMABUF_CHANGED,		/* something was exchanged while the program looked: ask again */
	DMABUF_INCONSISTENT,	/* what was read contradicts itself: the layout is not this kernel's */
};

/* Where a buffer's memory is; the words of Placement/Memory. */
enum dmabuf_memory { DMABUF_MEMORY_UNKNOWN, DMABUF_MEMORY_DEDICATED, DMABUF_MEMORY_SYSTEM };

/* More attachments than this are not counted. */
#define DMABUF_MOST_ATTACHED 16
#define DMABUF_ATTACHED_UNKNOWN 255

/* The program's context. All that comes out is in the second half; unless `status` is DMABUF_DEVICE or
 * DMABUF_NO_DEVICE the rest of it is 0. */
struct dmabuf_look {
	/* in */
	uint64_t inode;		/* of the DMA-BUF that `fd` is believed to be */
	int32_t fd;		/* in the caller's own table */
	uint32_t reserved;
	/* out */
	uint32_t status;	/* enum dmabuf_status */
	uint32_t card, render;	/* 1 + minor number of the exporter's nodes; 0: has none */
	uint8_t registered;	/* 0 once the exporter was unplugged */
	uint8_t residency;	/* enum dmabuf_memory: where it is now */
	uint8_t preferred;	/* enum dmabuf_memory: what it was allocated for */
	uint8_t attached;	/* importers, or DMABUF_ATTACHED_UNKNOWN; a hint: read without its lock */
	uint8_t peers;		/* of these, how many can use the exporter's memory where it is, peer to
				 * peer (dma_buf_attachment.peer2peer); likewise a hint */
	uint8_t unused[7];
};

/* DRM core's own types: offsets in bytes. */
struct dmabuf_core {
	uint32_t gem_device, gem_resv, gem_size, gem_buffer;
	uint32_t device_card, device_render, device_driver, device_registered;
	uint32_t minor_device, minor_node;
	uint32_t driver_name;
	uint32_t known;		/* 0: of no use, this kernel has other types */
};

/* One value of a driver's buffer object: read at offset[0] from the GEM object, or, where there are
 * pointers to follow, at the last offset from what the one before it points to. */
struct dmabuf_value {
	int32_t offset[3];
	uint8_t pointers;	/* 0 to 2 */
	uint8_t size;		/* of the value: 1, 2, 4 or 8 bytes; 0: not known of this driver */
	uint8_t is_number;	/* it is the number of a memory; else a mask of them */
	uint8_t both;		/* enum dmabuf_memory: what a mask with bits of both means */
	uint32_t dedicated, system;	/* as masks */
	/* What is pointed to points back: the pointer at offset `back` of it is the address of what lies
	 * at offset `back_to` from the GEM object. TTM's resources do. */
	int32_t back, back_to;
	uint32_t has_back;
};

/* What is known of a driver's buffers beyond DRM core. */
struct dmabuf_driver {
	uint32_t btf_size;	/* of the module's type data that this was read from; 0: built in */
	uint32_t padding;
	struct dmabuf_value residency, preferred;
};

/* Key of a driver: its module's name (MODULE_NAME_LEN on 64 bits), zero-padded. */
#define DMABUF_DRIVER_NAME 56
#define DMABUF_MOST_DRIVERS 16
/* Functions whose names were looked up once. */
#define DMABUF_MOST_FUNCTIONS 16
