/* ioctl(), as the program calls it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>

#include "guard.h"

static ioctl_function next_ioctl;

/* Looked up at the first ioctl: a constructor would run in every program, also in those that
 * never import. */
static ioctl_function look_up(void)
{
	ioctl_function found = (ioctl_function)dlsym(RTLD_NEXT, "ioctl");

	__atomic_store_n(&next_ioctl, found, __ATOMIC_RELAXED);
	return found;
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
	ioctl_function real = __atomic_load_n(&next_ioctl, __ATOMIC_RELAXED);
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (__builtin_expect(!real, 0))
		real = look_up();
	/* The kernel uses 32 bits of the request, and some callers extend the sign. */
	if (__builtin_expect((uint32_t)request == (uint32_t)PRIME_FD_TO_HANDLE && argument, 0))
		return guard_import(real, fd, argument);
	return real(fd, request, argument);
}
