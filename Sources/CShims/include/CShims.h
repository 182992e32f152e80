/* What Swift can't import: vtable macros, DRM_IOCTL_*, eventfd, statx. */
#pragma once
