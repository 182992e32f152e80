/* A DRM driver below libprimed-guard.so, for test_guard.py: preloaded after it. Every import succeeds; its handle is 100
 * and the flags, so that who calls sees with what the kernel was asked. NOTHING is answered without a system call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>

#include "../../Sources/CPrimedClient/prime.h"
#include "fake_drm.h"

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PRIME_FD_TO_HANDLE) {
		struct prime_handle *prime = argument;

		prime->handle = 100 + prime->flags;
		return 0;
	}
	if (request == NOTHING)
		return 0;
	if (!real)
		real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, argument);
}
