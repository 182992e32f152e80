/* A request of no device, for fake_drm.c. */
#pragma once

#define NOTHING 0x64ffu
