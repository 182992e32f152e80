/* What was answered before: found by a statx a plane and one look-up. */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x9e3779b97f4a7c15u;
}

/* Any client may pass off a file of its own file system as a DMA-BUF: that is not asked, since it may never
 * answer. */
static int look(int fd, struct statx *s)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, s);
}

/* A DMA-BUF has none of the types of files. A simulated primed's buffers are memfds: they have seals, and ask nobody. */
bool primed_are_buffers(const struct primed_query *query)
{
	struct statx s;

	for (unsigned int i = 0; i < query->n_planes; i++)
		if (look(query->planes[i], &s) < 0 ||
		    (s.stx_mode & S_IFMT && fcntl(query->planes[i], F_GET_SEALS) < 0))
			return false;
	return true;
}

int primed_key_of(const struct primed_query *query, struct key *key)
{
	struct statx s;
	uint64_t rest = 0;

	for (unsigned int i = query->n_planes; i-- > 0;) {
		if (look(query->planes[i], &s) < 0)
			return -1;
		if (i > 0)
			rest = mix(rest, s.stx_ino);
	}
	rest = mix(rest, query->sampling_device);
	rest = mix(rest, query->target_device);
	rest = mix(rest, query->primary_device);
	rest = mix(rest, query->usage | (uint64_t)query->format << 32);
	rest = mix(rest, query->modifier);
	*key = (struct key){
		.device = makedev(s.stx_dev_major, s.stx_dev_minor),
		.inode = s.stx_ino,
		.rest = rest,
	};
	return 0;
}

uint64_t primed_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct cached *slot(struct cache *cache, const struct key *key)
{
	return &cache->slots[(mix(key->inode, key->rest) >> 32) % CACHE_SIZE];
}

struct cached *primed_cache_find(struct cache *cache, const struct key *key, uint64_t generation)
{
	struct cached *c = slot(cache, key);

	if (!c->placement.buffer || c->placement.generation != generation ||
	    c->key.inode != key->inode || c->key.device != key->device || c->key.rest != key->rest)
		return NULL;
	return c;
}

void primed_cache_store(struct cache *cache, const struct key *key,
			const struct primed_placement *placement)
{
	*slot(cache, key) = (struct cached){
		.key = *key,
		.placement = *placement,
		.due = placement->recheck ? primed_now_ms() + placement->recheck : 0,
	};
}

void primed_cache_drop(struct cache *cache, uint64_t buffer)
{
	for (int i = 0; i < CACHE_SIZE; i++)
		if (cache->slots[i].placement.buffer == buffer)
			cache->slots[i].placement.buffer = 0;
}

void primed_cache_clear(struct cache *cache)
{
	memset(cache, 0, sizeof(*cache));
}
