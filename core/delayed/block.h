/* SPDX-License-Identifier: MIT */
/*
 * Memory for merged entries, which comes and goes in large pieces. A few are kept, since memory
 * that the operating system has to hand out again costs more than a merge.
 *
 * Callers: any thread. Progress: lock-free but for the allocator.
 */
#ifndef REFSTORM_DELAYED_BLOCK_H
#define REFSTORM_DELAYED_BLOCK_H

#include <stddef.h>

#include "core/base/order.h"

#define BLOCK_CLASSES 32U /* sizes: each is twice the one before */
#define BLOCK_KEPT 4U     /* of each */

struct block_cache {
	order_ptr kept[BLOCK_CLASSES][BLOCK_KEPT];
	order_u64 kept_bytes;
	uint64_t kept_bytes_max;
};

void block_cache_init(struct block_cache *cache, uint64_t kept_bytes_max);
void block_cache_destroy(struct block_cache *cache);

/* At least `bytes` bytes, aligned to ORDER_LINE, contents undefined; NULL if there is no memory. */
void *block_get(struct block_cache *cache, size_t bytes);
void block_put(struct block_cache *cache, void *block);

#endif /* REFSTORM_DELAYED_BLOCK_H */
