/* What becomes of an import: with the flag, nothing that moves or may move is done; without it, by
 * --all, nothing that is known to move or hang; by --log alone, all. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guard.h"

static bool is_drm(int fd, dev_t *device)
{
	struct stat s;
	int error = errno;
	bool is = fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && major(s.st_rdev) == DRM_MAJOR;

	*device = is ? s.st_rdev : 0;
	errno = error;
	return is;
}

/* The size of a DMA-BUF; 0 for a simulated one. */
static uint64_t size_of(int buffer)
{
	struct stat s;

	return fstat(buffer, &s) == 0 && !(s.st_mode & S_IFMT) ? (uint64_t)s.st_blocks * 512
							       : (uint64_t)s.st_size;
}

static void ask(struct primed_client *c, int buffer, struct import *import)
{
	struct primed_placement now = PRIMED_PLACEMENT_INIT;
	struct primed_query query = PRIMED_QUERY_INIT;

	query.planes = &buffer;
	query.n_planes = 1;
	query.verdicts = true;
	/* What came since the last import: primed may have come or gone, the answer be another one.
	 */
	primed_catch_up(c);
	import->known =
		primed_wait_for_access(c, &query, import->device, &now, &import->access) > 0;
	if (now.is_default)
		guard_note_absence();
	import->exporter = now.home;
	import->bytes = size_of(buffer);
}

static enum done decide(const struct primed_client *c, const struct import *import, bool flagged)
{
	bool stays =
		import->access == PRIMED_ACCESS_NATIVE || import->access == PRIMED_ACCESS_IN_PLACE;
	bool harms = import->access == PRIMED_ACCESS_MOVES ||
		     import->access == PRIMED_ACCESS_UNREACHABLE;

	if (flagged && c && primed_honours_no_move(&c->devices, import->device))
		return DONE_FLAGGED;
	if (flagged)
		return import->known && stays ? DONE_LET_THROUGH : DONE_REFUSED;
	return import->known && harms && guard_has("PRIMED_GUARD_ALL") ? DONE_REFUSED
								       : DONE_LET_THROUGH;
}

static int refuse(void)
{
	errno = EINVAL;
	return -1;
}

int guard_import(ioctl_function real, int drm_fd, struct prime_handle *prime)
{
	bool flagged = prime->flags & PRIME_NO_MOVE;
	struct import import = {0};
	struct primed_client *c;
	struct prime_handle plain;
	struct entry entry;
	int r;

	if (!flagged && !guard_has("PRIMED_GUARD_ALL") && !guard_has("PRIMED_GUARD_LOG"))
		return real(drm_fd, PRIME_FD_TO_HANDLE, prime);
	if (guard_is_filtered())
		return flagged ? refuse() : real(drm_fd, PRIME_FD_TO_HANDLE, prime);
	if (!is_drm(drm_fd, &import.device))
		return real(drm_fd, PRIME_FD_TO_HANDLE, prime);
	c = guard_enter(&entry);
	if (c)
		ask(c, prime->fd, &import);
	else if (!guard_is_filtered())
		guard_note_absence();
	import.done = decide(c, &import, flagged);
	guard_report(&import);
	guard_leave(&entry);
	if (import.done == DONE_REFUSED)
		return refuse();
	if (!flagged || import.done == DONE_FLAGGED)
		return real(drm_fd, PRIME_FD_TO_HANDLE, prime);
	/* A kernel that does not heed the flag may yet refuse it. */
	plain = *prime;
	plain.flags &= ~PRIME_NO_MOVE;
	r = real(drm_fd, PRIME_FD_TO_HANDLE, &plain);
	prime->handle = plain.handle;
	return r;
}
