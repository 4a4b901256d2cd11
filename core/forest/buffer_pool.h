/* SPDX-License-Identifier: MIT */
/*
 * Where buffers come from and go to: room for a tree block and what is known of it, side by side on
 * huge pages. What was once taken is kept for later blocks until the forest goes.
 *
 * Who may call: any thread, a cache one at a time. Progress: a cache hands out blocks without a lock,
 * and takes the pool's lock once for BUFFER_CACHE_BLOCKS of them; giving takes it each time.
 */
#ifndef REFSTORM_FOREST_BUFFER_POOL_H
#define REFSTORM_FOREST_BUFFER_POOL_H

#include "core/base/arena.h"
#include "core/base/lock.h"

#define BUFFER_CACHE_BLOCKS 32U

struct buffer;

struct buffer_pool {
	struct lock lock;    /* LOCK_RANK_BUFFER_POOL: protects what follows */
	struct buffer *free; /* linked by next_free */
	struct arena arena;
	uint8_t *next; /* of the first piece: not used yet, up to the end */
	uint8_t *end;
	size_t block_bytes; /* of a block with its buffer; does not change */
	/*
	 * Each block is an allocation of its own, so that sanitizers see one used after it was given
	 * back. Does not change but before the first is taken.
	 */
	bool apart;
};

/* Blocks that one writer has for later. Zeroed: none. */
struct buffer_cache {
	struct buffer *free;
};

void buffer_pool_init(struct buffer_pool *pool, uint32_t node_bytes);

/* Pools that are made from now on keep blocks apart, or not, in place of what the build would have. For tests, by one thread. */
void buffer_pool_keep_apart(bool apart);

/* All that was ever taken goes, but for blocks that are apart: those have been given back. */
void buffer_pool_destroy(struct buffer_pool *pool);

/* All undefined but `data`. `cache` may be NULL. NULL: no memory. */
struct buffer *buffer_pool_take(struct buffer_pool *pool, struct buffer_cache *cache)
	__attribute__((warn_unused_result));
void buffer_pool_give(struct buffer_pool *pool, struct buffer *buffer);
/* All that the cache has. */
void buffer_pool_give_cache(struct buffer_pool *pool, struct buffer_cache *cache);

#endif /* REFSTORM_FOREST_BUFFER_POOL_H */
