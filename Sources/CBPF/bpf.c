/* bpf(2), as CBPF.h has it. */
#define _GNU_SOURCE
#include "CBPF.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ADDRESS(pointer) ((uint64_t)(uintptr_t)(pointer))

static int bpf(enum bpf_cmd command, union bpf_attr *arguments)
{
	return (int)syscall(SYS_bpf, command, arguments, sizeof(*arguments));
}

int primed_bpf_create_map(enum primed_map_kind kind, const char *name, uint32_t key_size, uint32_t value_size,
			  uint32_t entries, bool read_only)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = kind == PRIMED_MAP_HASH ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY;
	a.key_size = key_size;
	a.value_size = value_size;
	a.max_entries = entries;
	a.map_flags = read_only ? BPF_F_RDONLY_PROG : 0;
	strncpy(a.map_name, name, sizeof(a.map_name) - 1);
	return bpf(BPF_MAP_CREATE, &a);
}

int primed_bpf_put(int map, const void *key, const void *value)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)map;
	a.key = ADDRESS(key);
	a.value = ADDRESS(value);
	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

int primed_bpf_freeze(int map)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)map;
	return bpf(BPF_MAP_FREEZE, &a);
}

int primed_bpf_load_types(const void *data, uint32_t size)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.btf = ADDRESS(data);
	a.btf_size = size;
	return bpf(BPF_BTF_LOAD, &a);
}

int primed_bpf_load_program(const char *name, const char *license, const void *instructions, size_t size, int types,
			    const void *functions, size_t functions_size, size_t function_size,
			    const void *relocations, size_t relocations_size, size_t relocation_size,
			    char *log, size_t log_size)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SYSCALL;
	/* Required of this type; this program never sleeps. */
	a.prog_flags = BPF_F_SLEEPABLE;
	strncpy(a.prog_name, name, sizeof(a.prog_name) - 1);
	a.license = ADDRESS(license);
	a.insns = ADDRESS(instructions);
	a.insn_cnt = (uint32_t)(size / sizeof(struct bpf_insn));
	a.prog_btf_fd = (uint32_t)types;
	a.func_info = ADDRESS(functions);
	a.func_info_cnt = (uint32_t)(functions_size / function_size);
	a.func_info_rec_size = (uint32_t)function_size;
	a.core_relos = ADDRESS(relocations);
	a.core_relo_cnt = (uint32_t)(relocations_size / relocation_size);
	a.core_relo_rec_size = (uint32_t)relocation_size;
	if (log_size) {
		memset(log, 0, log_size);
		a.log_buf = ADDRESS(log);
		a.log_size = (uint32_t)log_size;
		a.log_level = 1;
	}
	return bpf(BPF_PROG_LOAD, &a);
}

int primed_bpf_run(int program, struct dmabuf_look *look)
{
	union bpf_attr a;

	/* The kernel looks at no more than this, and wants the rest of it zero. */
	memset(&a, 0, sizeof(a.test));
	a.test.prog_fd = (uint32_t)program;
	a.test.ctx_in = ADDRESS(look);
	a.test.ctx_size_in = sizeof(*look);
	return (int)syscall(SYS_bpf, BPF_PROG_RUN, &a, sizeof(a.test));
}

const void *primed_find(const void *in, size_t size, const void *wanted, size_t wanted_size)
{
	return memmem(in, size, wanted, wanted_size);
}
