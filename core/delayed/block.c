/* SPDX-License-Identifier: MIT */
#include "core/delayed/block.h"

#include <string.h>

#include "core/base/alloc.h"
#include "core/base/tally.h"

/* In front of each block. */
struct block {
	unsigned class; /* of the bytes behind this */
} __attribute__((aligned(ORDER_LINE)));

#define BLOCK_BITS_MIN 14U

/* One of this class or the next ones, up to four times what is asked for, will do. */
#define BLOCK_CLASSES_LOOKED 3U

void block_cache_init(struct block_cache *cache, uint64_t kept_bytes_max)
{
	memset(cache, 0, sizeof(*cache));
	cache->kept_bytes_max = kept_bytes_max;
}

void block_cache_destroy(struct block_cache *cache)
{
	unsigned class;
	unsigned at;

	for (class = 0; class < BLOCK_CLASSES; class ++)
		for (at = 0; at < BLOCK_KEPT; at++)
			/* Relaxed: nobody else is left. */
			alloc_free(order_load_relaxed(&cache->kept[class][at]));
}

static bool block_keep(struct block_cache *cache, struct block *block)
{
	unsigned at;

	for (at = 0; at < BLOCK_KEPT; at++) {
		order_ptr *place = &cache->kept[block->class][at];
		void *none = NULL;

		/* Relaxed: a hint. */
		if (order_load_relaxed(place))
			continue;
		/* BLOCK.kept: its class. */
		if (order_cas_release(place, &none, block))
			return true;
		tally_retry(TALLY_BLOCK_KEEP);
	}
	return false;
}

static uint64_t block_bytes(unsigned class)
{
	return UINT64_C(1) << (BLOCK_BITS_MIN + class);
}

static void block_return(struct block_cache *cache, struct block *block)
{
	uint64_t bytes = block_bytes(block->class);

	/* Relaxed, here and below: a sum. The bytes are counted first, so that it never goes below 0. */
	if (order_fetch_add_relaxed(&cache->kept_bytes, bytes) + bytes <= cache->kept_bytes_max &&
	    block_keep(cache, block))
		return;
	order_fetch_sub_relaxed(&cache->kept_bytes, bytes);
	alloc_free(block);
}

static struct block *block_take(struct block_cache *cache, unsigned class)
{
	unsigned at;

	for (at = 0; at < BLOCK_KEPT; at++) {
		order_ptr *place = &cache->kept[class][at];
		struct block *block;

		/* Relaxed: a hint. */
		if (!order_load_relaxed(place))
			continue;
		/* BLOCK.kept: sees its class; it is ours alone from here. */
		block = order_exchange_acquire(place, NULL);
		if (!block)
			continue;
		order_fetch_sub_relaxed(&cache->kept_bytes, block_bytes(class));
		return block;
	}
	return NULL;
}

void *block_get(struct block_cache *cache, size_t bytes)
{
	struct block *block = NULL;
	unsigned class = 0;
	unsigned more;

	while (class < BLOCK_CLASSES && block_bytes(class) < bytes)
		class ++;
	if (class == BLOCK_CLASSES)
		return NULL;
	for (more = 0; more < BLOCK_CLASSES_LOOKED && class + more < BLOCK_CLASSES && !block;
	     more++)
		block = block_take(cache, class + more);
	if (block)
		return block + 1;
	block = alloc_undefined(ORDER_LINE, sizeof(*block) + block_bytes(class));
	if (!block)
		return NULL;
	block->class = class;
	return block + 1;
}

void block_put(struct block_cache *cache, void *block)
{
	if (block)
		block_return(cache, (struct block *)block - 1);
}
