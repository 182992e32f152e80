/* What was answered before: found by an fstat a plane and one look-up. */
#define _GNU_SOURCE
#include "internal.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x9e3779b97f4a7c15u;
}

int primed_key_of(const struct primed_query *query, struct key *key)
{
	struct stat s;
	uint64_t rest = 0;

	for (unsigned int i = query->n_planes; i-- > 0;) {
		if (fstat(query->planes[i], &s) < 0)
			return -1;
		if (i > 0)
			rest = mix(rest, s.st_ino);
	}
	rest = mix(rest, query->sampling_device);
	rest = mix(rest, query->target_device);
	rest = mix(rest, query->primary_device);
	rest = mix(rest, query->usage | (uint64_t)query->format << 32);
	rest = mix(rest, query->modifier);
	*key = (struct key){.device = s.st_dev, .inode = s.st_ino, .rest = rest};
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
