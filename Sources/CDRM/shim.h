/* libdrm: drmIoctl and the kernel interfaces of DRM drivers. */
#include <xf86drm.h>
#include <drm_fourcc.h>
