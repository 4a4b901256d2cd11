/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/forest/buffer.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"

/* Pages of pointers in three levels, for 2^40 units of 4 KiB. */
#define BUFFER_TOP_BITS 13U
#define BUFFER_MIDDLE_BITS 13U
#define BUFFER_LOW_BITS 14U
#define BUFFER_UNIT_BITS 12U
/* Turns of waiting for a lock before the CPU is given away. */
#define BUFFER_SPINS 200U

#define BUFFER_ENTRIES(bits) ((size_t)1 << (bits))

static size_t buffer_top(uint64_t bytenr)
{
	return (size_t)(bytenr >> (BUFFER_UNIT_BITS + BUFFER_LOW_BITS + BUFFER_MIDDLE_BITS));
}

static size_t buffer_middle(uint64_t bytenr)
{
	return (size_t)(bytenr >> (BUFFER_UNIT_BITS + BUFFER_LOW_BITS)) &
	       (BUFFER_ENTRIES(BUFFER_MIDDLE_BITS) - 1);
}

static size_t buffer_low(uint64_t bytenr)
{
	return (size_t)(bytenr >> BUFFER_UNIT_BITS) & (BUFFER_ENTRIES(BUFFER_LOW_BITS) - 1);
}

int buffer_map_init(struct buffer_map *map, uint32_t node_bytes)
{
	map->node_bytes = node_bytes;
	map->pages = alloc_zeroed(BUFFER_ENTRIES(BUFFER_TOP_BITS), sizeof(map->pages[0]));
	if (!map->pages)
		return -ENOMEM;
	buffer_pool_init(&map->pool, node_bytes);
	return 0;
}

static order_ptr *buffer_page(order_ptr *place)
{
	/* BUFFER.page: sees the page, all NULL or filled. */
	return order_load_acquire(place);
}

/* The page at the place, made if there is none. NULL: no memory. */
static order_ptr *buffer_page_make(order_ptr *place, unsigned bits)
{
	order_ptr *page = buffer_page(place);
	void *there = NULL;

	if (page)
		return page;
	page = alloc_zeroed(BUFFER_ENTRIES(bits), sizeof(page[0]));
	if (!page)
		return NULL;
	window_pass("buffer.growing");
	/* BUFFER.page: the page; sees another's, which came first. */
	if (order_cas_acq_rel(place, &there, page))
		return page;
	alloc_free(page);
	return there;
}

/* Where the buffer of the address stands; NULL if there is no page for it. */
static order_ptr *buffer_find_place(const struct buffer_map *map, uint64_t bytenr)
{
	order_ptr *page;

	assert(buffer_top(bytenr) < BUFFER_ENTRIES(BUFFER_TOP_BITS));
	page = buffer_page(&map->pages[buffer_top(bytenr)]);
	if (page)
		page = buffer_page(&page[buffer_middle(bytenr)]);
	return page ? &page[buffer_low(bytenr)] : NULL;
}

struct buffer *buffer_create(struct buffer_map *map, struct buffer_cache *cache, uint64_t bytenr,
			     uint64_t generation, uint8_t level)
{
	struct buffer *buffer = buffer_pool_take(&map->pool, cache);

	if (!buffer)
		return NULL;
	/* Relaxed: published with the buffer. */
	order_store_relaxed(&buffer->word, 1);
	buffer->map = map;
	buffer->bytenr = bytenr;
	buffer->generation = generation;
	buffer->level = level;
	return buffer;
}

int buffer_publish(struct buffer *buffer)
{
	struct buffer_map *map = buffer->map;
	uint64_t bytenr = buffer->bytenr;
	void *there = NULL;
	order_ptr *page;

	assert(buffer_top(bytenr) < BUFFER_ENTRIES(BUFFER_TOP_BITS));
	page = buffer_page_make(&map->pages[buffer_top(bytenr)], BUFFER_MIDDLE_BITS);
	if (page)
		page = buffer_page_make(&page[buffer_middle(bytenr)], BUFFER_LOW_BITS);
	if (!page)
		return -ENOMEM;
	/* BUFFER.publish: the buffer. */
	return order_cas_acq_rel(&page[buffer_low(bytenr)], &there, buffer) ? 0 : -EEXIST;
}

void buffer_discard(struct buffer *buffer)
{
	buffer_pool_give(&buffer->map->pool, buffer);
}

struct buffer *buffer_find(const struct buffer_map *map, uint64_t bytenr)
{
	order_ptr *place = buffer_find_place(map, bytenr);

	/* BUFFER.publish: sees the buffer. */
	return place ? order_load_acquire(place) : NULL;
}

static void buffer_take_out(struct buffer *buffer)
{
	order_ptr *place = buffer_find_place(buffer->map, buffer->bytenr);

	assert(place && order_load_relaxed(place) == buffer);
	/* Relaxed: publishes nothing. */
	order_store_relaxed(place, NULL);
}

static void buffer_deferred(struct rcu_deferred *deferred)
{
	struct buffer *buffer =
		(struct buffer *)((char *)deferred - offsetof(struct buffer, deferred));

	buffer_discard(buffer);
}

void buffer_remove(struct buffer *buffer)
{
	buffer_take_out(buffer);
	rcu_defer(&buffer->deferred, buffer_deferred);
}

void buffer_free(struct buffer *buffer)
{
	buffer_take_out(buffer);
	buffer_discard(buffer);
}

static int buffer_low_each(order_ptr *page, int (*fn)(void *argument, struct buffer *buffer),
			   void *argument)
{
	size_t at;
	int result = 0;

	for (at = 0; at < BUFFER_ENTRIES(BUFFER_LOW_BITS) && !result; at++) {
		/* BUFFER.publish: sees the buffer. */
		struct buffer *buffer = order_load_acquire(&page[at]);

		if (buffer)
			result = fn(argument, buffer);
	}
	return result;
}

int buffer_map_each(const struct buffer_map *map, int (*fn)(void *argument, struct buffer *buffer),
		    void *argument)
{
	size_t top;
	size_t at;
	int result = 0;

	for (top = 0; top < BUFFER_ENTRIES(BUFFER_TOP_BITS) && !result; top++) {
		order_ptr *middle = buffer_page(&map->pages[top]);

		for (at = 0; middle && at < BUFFER_ENTRIES(BUFFER_MIDDLE_BITS) && !result; at++) {
			order_ptr *low = buffer_page(&middle[at]);

			if (low)
				result = buffer_low_each(low, fn, argument);
		}
	}
	return result;
}

static int buffer_each_discard(void *unused, struct buffer *buffer)
{
	(void)unused;
	buffer_discard(buffer);
	return 0;
}

void buffer_map_destroy(struct buffer_map *map)
{
	size_t top;
	size_t at;

	if (!map->pages)
		return;
	if (map->pool.apart)
		(void)!buffer_map_each(map, buffer_each_discard, NULL);
	for (top = 0; top < BUFFER_ENTRIES(BUFFER_TOP_BITS); top++) {
		order_ptr *middle = buffer_page(&map->pages[top]);

		for (at = 0; middle && at < BUFFER_ENTRIES(BUFFER_MIDDLE_BITS); at++)
			alloc_free(buffer_page(&middle[at]));
		alloc_free(middle);
	}
	alloc_free(map->pages);
	map->pages = NULL;
	buffer_pool_destroy(&map->pool);
}

uint64_t buffer_lock(struct buffer *buffer)
{
	unsigned spins = 0;

	/* Ends: when the holder goes on, who waits for nothing. */
	for (;;) {
		/* BUFFER.word: sees what the last holder did to what the block refers to. */
		uint64_t word = order_fetch_or_acquire(&buffer->word, BUFFER_LOCK);

		if (!(word & BUFFER_LOCK))
			return word;
		/* Relaxed: only whether to try again. */
		while (order_load_relaxed(&buffer->word) & BUFFER_LOCK) {
			if (++spins < BUFFER_SPINS)
				order_pause();
			else
				sched_yield();
		}
	}
}

uint64_t buffer_unlock(struct buffer *buffer, int count, bool set_full)
{
	uint64_t change = (uint64_t)(int64_t)count - BUFFER_LOCK;
	uint64_t word;

	/* Relaxed: nobody else changes the flag while the lock is held. */
	assert(order_load_relaxed(&buffer->word) & BUFFER_LOCK);
	assert((int64_t)(order_load_relaxed(&buffer->word) & BUFFER_REFS) + count >= 0);
	if (set_full && !(order_load_relaxed(&buffer->word) & BUFFER_FULL))
		change += BUFFER_FULL;
	/* BUFFER.word: what the block refers to. One addition, so that no reference added meanwhile is lost. */
	word = order_fetch_add_release(&buffer->word, change);
	return word + change;
}

void buffer_ref(struct buffer *buffer)
{
	/* Relaxed: the caller's reference keeps the block; who decides by the count takes the lock. */
	order_fetch_add_relaxed(&buffer->word, 1);
}

uint64_t buffer_word_approx(const struct buffer *buffer)
{
	/* Relaxed: of some moment. */
	return order_load_relaxed(&buffer->word);
}
