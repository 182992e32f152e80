/* Cached answers, found by one statx a plane and one look-up. */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x9e3779b97f4a7c15u;
}

/* A client may pass a file of its own file system as a DMA-BUF. AT_STATX_DONT_SYNC keeps statx
 * from calling that file system, which may never answer. */
static int look(int fd, struct statx *s)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, s);
}

/* A DMA-BUF has none of the file types. The buffers of a simulated primed are memfds, which are
 * told by their seals; no file system is called for that. */
bool primed_are_buffers(const struct primed_query *query)
{
	struct statx s;

	for (unsigned int i = 0; i < query->n_planes; i++)
		if (look(query->planes[i], &s) < 0 ||
		    (s.stx_mode & S_IFMT && fcntl(query->planes[i], F_GET_SEALS) < 0))
			return false;
	return true;
}

/* Includes every hint that can change an answer, so neither `client` nor `fresh`. */
static uint64_t mix_hints(uint64_t hash, const struct primed_query *query)
{
	hash = mix(hash, query->sampling_device);
	hash = mix(hash, query->target_device);
	hash = mix(hash, query->primary_device);
	hash = mix(hash, query->usage | (uint64_t)query->format << 32);
	hash = mix(hash, query->modifier);
	hash = mix(hash, (uint64_t)query->has_modifier | (uint64_t)query->verdicts << 1 |
				 (uint64_t)query->wake << 2 |
				 (uint64_t)(query->candidates != NULL) << 3);
	for (unsigned int i = 0; i < query->n_candidates; i++)
		hash = mix(hash, query->candidates[i]);
	return hash;
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
	*key = (struct key){
		.device = makedev(s.stx_dev_major, s.stx_dev_minor),
		.inode = s.stx_ino,
		.rest = mix_hints(rest, query),
	};
	return 0;
}

bool primed_is_same_key(const struct key *a, const struct key *b)
{
	return a->inode == b->inode && a->device == b->device && a->rest == b->rest;
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

	if (!c->used || !primed_is_same_key(&c->key, key))
		return NULL;
	return c->placement.is_default || c->placement.generation == generation ? c : NULL;
}

static void empty(struct cached *c)
{
	free((void *)c->placement.verdicts);
	*c = (struct cached){0};
}

struct cached *primed_cache_store(struct cache *cache, const struct key *key,
				  const struct primed_placement *placement)
{
	struct cached *c = slot(cache, key);

	empty(c);
	*c = (struct cached){
		.key = *key,
		.used = true,
		.placement = *placement,
		.due = placement->recheck ? primed_now_ms() + placement->recheck : 0,
	};
	return c;
}

void primed_cache_drop(struct cache *cache, uint64_t buffer)
{
	for (int i = 0; i < CACHE_SIZE; i++)
		if (cache->slots[i].used && cache->slots[i].placement.buffer == buffer)
			empty(&cache->slots[i]);
}

void primed_cache_clear(struct cache *cache)
{
	for (int i = 0; i < CACHE_SIZE; i++)
		if (cache->slots[i].used)
			empty(&cache->slots[i]);
}
