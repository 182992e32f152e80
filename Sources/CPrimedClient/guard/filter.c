/*
 * System call filters (seccomp). One may end the process for whatever it does not know of, to ask
 * for the filter included, so its coming is looked out for: programs set one by prctl(), or as
 * libseccomp does by syscall(). From then on the guard makes no calls but the ioctl itself, and the
 * one write that says so.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard.h"

typedef int (*prctl_function)(int option, ...);
typedef long (*syscall_function)(long number, ...);

static bool is_filtered, has_said;

void guard_note_filter(void)
{
	__atomic_store_n(&is_filtered, true, __ATOMIC_RELAXED);
}

bool guard_is_filtered(void)
{
	static const char text[] = "primed-guard: this program has a system call filter; nothing "
				   "is guarded any more\n";

	if (!__atomic_load_n(&is_filtered, __ATOMIC_RELAXED))
		return false;
	if (!__atomic_exchange_n(&has_said, true, __ATOMIC_RELAXED))
		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	return true;
}

__attribute__((visibility("default"))) int prctl(int option, ...)
{
	static prctl_function next;
	unsigned long arguments[4];
	prctl_function real = __atomic_load_n(&next, __ATOMIC_RELAXED);
	va_list list;
	int r;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		arguments[i] = va_arg(list, unsigned long);
	va_end(list);
	if (!real) {
		real = (prctl_function)dlsym(RTLD_NEXT, "prctl");
		__atomic_store_n(&next, real, __ATOMIC_RELAXED);
	}
	r = real(option, arguments[0], arguments[1], arguments[2], arguments[3]);
	if (option == PR_SET_SECCOMP && r == 0)
		guard_note_filter();
	return r;
}

__attribute__((visibility("default"))) long syscall(long number, ...)
{
	static syscall_function next;
	syscall_function real = __atomic_load_n(&next, __ATOMIC_RELAXED);
	long a[6], r;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (!real) {
		real = (syscall_function)dlsym(RTLD_NEXT, "syscall");
		__atomic_store_n(&next, real, __ATOMIC_RELAXED);
	}
	r = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_seccomp && a[0] <= SECCOMP_SET_MODE_FILTER && r >= 0)
		guard_note_filter();
	return r;
}
