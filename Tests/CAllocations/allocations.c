/* Counts the calling thread's heap allocations and their bytes, in front of glibc's allocator, for tests
 * that say that something allocates nothing, or so much. */
#include "CAllocations.h"

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
/* A sanitizer's allocator has to be in front of glibc's: nothing is counted, so a test that asks is ended. */
unsigned long allocations_of_this_thread(void)
{
	abort();
}

long bytes_held_by_this_thread(void)
{
	abort();
}
#else
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

static _Thread_local unsigned long count;
static _Thread_local long held;

static void *took(void *block)
{
	count++;
	held += (long)malloc_usable_size(block);
	return block;
}

void *malloc(size_t size)
{
	return took(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return took(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
	held -= (long)malloc_usable_size(old);
	return took(__libc_realloc(old, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return took(__libc_memalign(alignment, size));
}

void free(void *block)
{
	held -= (long)malloc_usable_size(block);
	__libc_free(block);
}

unsigned long allocations_of_this_thread(void)
{
	return count;
}

long bytes_held_by_this_thread(void)
{
	return held;
}
#endif
