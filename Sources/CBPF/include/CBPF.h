/* bpf(2) as far as it is used here: its union of arguments can't be filled from Swift in a way that can be
 * read. And file descriptors over a socket. Every call returns -1 and errno where it fails. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmabuf.h"

/* --- the loader's: take CAP_BPF, the program CAP_PERFMON as well -------------------------------------- */

enum primed_map_kind { PRIMED_MAP_HASH, PRIMED_MAP_ARRAY };

/* A map of `entries`. A program can't write one that is `read_only`. */
int primed_bpf_create_map(enum primed_map_kind kind, const char *name, uint32_t key_size, uint32_t value_size,
			  uint32_t entries, bool read_only);
int primed_bpf_put(int map, const void *key, const void *value);

/* After this no system call can change the map, with any descriptor and any capability. */
int primed_bpf_freeze(int map);

/* Type data (BTF) of a program. */
int primed_bpf_load_types(const void *data, uint32_t size);

/* Loads a SEC("syscall") program of `size` bytes with `types` of primed_bpf_load_types(). `functions` and
 * `relocations` are tables of .BTF.ext: bytes in all, and bytes a record; the kernel applies the
 * relocations itself (since 5.17). `log`, if it is not NULL, gets the verifier's log, NUL-terminated. */
int primed_bpf_load_program(const char *name, const char *license, const void *instructions, size_t size, int types,
			    const void *functions, size_t functions_size, size_t function_size,
			    const void *relocations, size_t relocations_size, size_t relocation_size,
			    char *log, size_t log_size);

/* --- the daemon's: takes no capability (since about 5.19) --------------------------------------------- */

/* Runs the program once on `look`. */
int primed_bpf_run(int program, struct dmabuf_look *look);

/* --- sockets ------------------------------------------------------------------------------------------ */

/* A socket connected to the SOCK_SEQPACKET one at `path`, close-on-exec and never blocking. */
int primed_connect(const char *path);

/* Sends one message, with `fd` in it unless that is negative. */
int primed_send(int socket, const void *data, size_t size, int fd);

/* Receives one message of at most `size` bytes and returns its length, 0 at the end. `fd` becomes the one
 * that came with it, close-on-exec, or -1; more than one is refused. */
long primed_receive(int socket, void *data, size_t size, int *fd);

/* --- memory ------------------------------------------------------------------------------------------- */

/* memmem(3). */
const void *primed_find(const void *in, size_t size, const void *wanted, size_t wanted_size);
