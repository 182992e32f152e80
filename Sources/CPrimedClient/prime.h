/* DRM_IOCTL_PRIME_FD_TO_HANDLE, as include/uapi/drm/drm.h has it, and the flag of the RFC
 * "drm/prime: introduce DRM_PRIME_FD_TO_HANDLE_NO_MOVE" (Simon Ser, dri-devel, 2024-10-13). No
 * header of libdrm is needed. */
#pragma once
#include <stdint.h>
#include <sys/ioctl.h>

#define DRM_MAJOR 226

struct prime_handle {
	uint32_t handle;
	uint32_t flags;
	int32_t fd;
};

#define PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime_handle)
#define PRIME_NO_MOVE	   1u
