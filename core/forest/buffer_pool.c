/* SPDX-License-Identifier: MIT */
#include "core/forest/buffer_pool.h"

#include "core/base/alloc.h"
#include "core/forest/buffer.h"

/* What is known of a block stands before it, so that blocks do not all begin in the same cache sets. */
#define POOL_FRONT ((sizeof(struct buffer) + ORDER_LINE - 1) / ORDER_LINE * ORDER_LINE)
/* A piece's own head. */
#define POOL_PIECE_FRONT ((size_t)ORDER_LINE)

static_assert(sizeof(struct arena_piece) <= ORDER_LINE, "a piece's head is in its first line");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_APART true
#elif defined(__has_feature)
#define POOL_APART (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define POOL_APART false
#endif

static bool pool_apart = POOL_APART;

void buffer_pool_keep_apart(bool apart)
{
	pool_apart = apart;
}

void buffer_pool_init(struct buffer_pool *pool, uint32_t node_bytes)
{
	*pool = (struct buffer_pool){
		.block_bytes = POOL_FRONT + node_bytes,
		.apart = pool_apart,
	};
	lock_init(&pool->lock, LOCK_RANK_BUFFER_POOL, "buffer pool");
}

void buffer_pool_destroy(struct buffer_pool *pool)
{
	arena_destroy(&pool->arena);
	lock_destroy(&pool->lock);
}

static struct buffer *pool_place(void *block)
{
	struct buffer *buffer = block;

	if (buffer)
		buffer->data = (uint8_t *)block + POOL_FRONT;
	return buffer;
}

/* Both under the lock: NULL if there is none. */
static struct buffer *pool_take_free(struct buffer_pool *pool)
{
	struct buffer *buffer = pool->free;

	if (buffer)
		pool->free = buffer->next_free;
	return buffer;
}

static struct buffer *pool_take_fresh(struct buffer_pool *pool)
{
	uint8_t *block = pool->next;

	if (!block || (size_t)(pool->end - block) < pool->block_bytes)
		return NULL;
	pool->next += pool->block_bytes;
	return pool_place(block);
}

/* As many as there are up to a cache full; NULL if there is none. Under the lock. */
static struct buffer *pool_fill(struct buffer_pool *pool, struct buffer_cache *cache)
{
	struct buffer *taken = pool_take_free(pool);
	struct buffer *more;
	unsigned left = cache ? BUFFER_CACHE_BLOCKS - 1 : 0;

	if (!taken)
		return pool_take_fresh(pool);
	for (; left && (more = pool_take_free(pool)); left--) {
		more->next_free = cache->free;
		cache->free = more;
	}
	return taken;
}

/* What is left of the piece before it stays unused. */
static void pool_add(struct buffer_pool *pool, struct arena_piece *piece)
{
	arena_add(&pool->arena, piece);
	pool->next = (uint8_t *)piece + POOL_PIECE_FRONT;
	pool->end = (uint8_t *)piece + ARENA_PIECE_BYTES;
}

static struct buffer *pool_take(struct buffer_pool *pool, struct buffer_cache *cache)
{
	struct arena_piece *piece;
	struct buffer *buffer;
	bool huge;

	lock_acquire(&pool->lock);
	buffer = pool_fill(pool, cache);
	huge = pool->arena.first;
	lock_release(&pool->lock);
	if (buffer)
		return buffer;
	/* Not under the lock: the system clears all of a huge page. Others may do the same meanwhile. */
	piece = arena_piece_make(huge);
	if (!piece)
		return NULL;
	lock_acquire(&pool->lock);
	buffer = pool_fill(pool, cache);
	if (!buffer) {
		pool_add(pool, piece);
		piece = NULL;
		buffer = pool_take_fresh(pool);
	}
	lock_release(&pool->lock);
	alloc_free(piece);
	return buffer;
}

struct buffer *buffer_pool_take(struct buffer_pool *pool, struct buffer_cache *cache)
{
	struct buffer *buffer;

	if (pool->apart)
		return pool_place(alloc_undefined(ORDER_LINE, pool->block_bytes));
	if (!cache || !cache->free)
		return pool_take(pool, cache);
	buffer = cache->free;
	cache->free = buffer->next_free;
	return buffer;
}

void buffer_pool_give(struct buffer_pool *pool, struct buffer *buffer)
{
	if (pool->apart) {
		alloc_free(buffer);
		return;
	}
	lock_acquire(&pool->lock);
	buffer->next_free = pool->free;
	pool->free = buffer;
	lock_release(&pool->lock);
}

void buffer_pool_give_cache(struct buffer_pool *pool, struct buffer_cache *cache)
{
	struct buffer *buffer;

	lock_acquire(&pool->lock);
	while ((buffer = cache->free)) {
		cache->free = buffer->next_free;
		buffer->next_free = pool->free;
		pool->free = buffer;
	}
	lock_release(&pool->lock);
}
