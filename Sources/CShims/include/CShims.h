/* What Swift can't import: DRM_IOCTL_*, variadic and glibc-only calls. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* --- files ------------------------------------------------------------------------------------ */

/* st_dev and st_ino of an open file, without asking the file system that it is on (statx with
 * AT_STATX_DONT_SYNC): a FUSE server can't stall the caller. 0, or -1 and errno. */
int primed_identity(int fd, dev_t *device, ino_t *inode);

/* Whether the inode has none of the file types, as a DMA-BUF's. Calls no file system either. */
bool primed_has_no_type(int fd);

/* Whether it was opened with O_PATH, which gives no access to the file. */
bool primed_is_path_only(int fd);

/* How many fds this process may have open: RLIMIT_NOFILE. */
uint64_t primed_fd_limit(void);

/* Nanoseconds of CLOCK_BOOTTIME. */
uint64_t primed_boottime_ns(void);

/* eventfd(2), close-on-exec; `semaphore`: a read takes 1, else it takes all and never blocks. */
int primed_eventfd(bool semaphore);

/* pipe2(2), close-on-exec, never blocking. */
int primed_pipe(int *reading, int *writing);

/* A memfd; sealed against shrinking if `sealed`, as udmabuf wants it. -1 and errno. */
int primed_memfd(const char *name, uint64_t size, bool sealed);

/* Makes malloc return blocks of 128 KiB and more, as of large messages, to the kernel when they are freed. */
void primed_return_large_memory(void);

/* Names the calling thread, 15 characters at most. */
void primed_name_thread(const char *name);

/* pidfd_open(2), close-on-exec. */
int primed_pidfd_open(pid_t pid);

/* Whether it is a pidfd, of any process. Calls no file system. */
bool primed_is_pidfd(int fd);

/* Blocks one signal, or (0) all of them, in the calling thread. */
void primed_block_signal(int signal);

/* --- DRM: every call is one ioctl, repeated on EINTR and EAGAIN; 0 or -1 and errno --------------- */

/* PRIME_FD_TO_HANDLE by hand: libdrm's wrapper passes no flags. */
int primed_prime_import(int node, int dmabuf, uint32_t flags, uint32_t *handle);
int primed_prime_export(int node, uint32_t handle, int *dmabuf);
int primed_gem_close(int node, uint32_t handle);
int primed_drop_master(int node);

/* A DMA-BUF over `size` bytes of a fresh memfd, of no device. -1 and errno. */
int primed_udmabuf_create(uint64_t size);

/* A buffer by MODE_CREATE_DUMB (card nodes only). */
int primed_dumb_create(int node, uint32_t width, uint32_t height, uint32_t *handle);

/* Whether the driver of this DRM name has ioctls of its own that are known here. */
bool primed_driver_known(const char *driver);

/* GEM handle of a buffer in dedicated (`vram`) or system memory. -1 and errno; ENOSYS: the driver is not
 * known. */
int primed_driver_create(int node, const char *driver, uint64_t size, bool vram, uint32_t *handle);

enum primed_record { PRIMED_RECORD_NONE, PRIMED_RECORD_DEDICATED, PRIMED_RECORD_SYSTEM };

/* The domain that `driver` recorded when the buffer was allocated. Only meaningful on the exporter; NONE
 * if the driver records nothing. */
enum primed_record primed_driver_record(int node, const char *driver, uint32_t handle);
