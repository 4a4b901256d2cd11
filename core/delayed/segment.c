/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/delayed/segment.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/tally.h"

/*
 * A stack of segment numbers: the top in the lower half of the word, in the upper a number that
 * each change raises, so that a thread which was stopped between looking and exchanging fails
 * (but after just 2^32 changes).
 */
struct segment_list {
	order_u64 top;
} __attribute__((aligned(ORDER_LINE)));

struct segment segment_full = { .count = SEGMENT_DELTAS, .number = SEGMENT_NONE };

static uint64_t segment_top(uint64_t before, uint32_t number)
{
	return ((before >> 32) + 1) << 32 | number;
}

int segment_pool_init(struct segment_pool *pool, unsigned cpus)
{
	unsigned cpu;

	memset(pool, 0, sizeof(*pool));
	pool->lists = alloc_aligned(ORDER_LINE, cpus, sizeof(*pool->lists));
	pool->chunks = alloc_zeroed(SEGMENT_CHUNKS, sizeof(*pool->chunks));
	if (!pool->lists || !pool->chunks) {
		alloc_free(pool->lists);
		alloc_free(pool->chunks);
		memset(pool, 0, sizeof(*pool));
		return -ENOMEM;
	}
	for (cpu = 0; cpu < cpus; cpu++)
		/* Relaxed: before anybody uses it. */
		order_store_relaxed(&pool->lists[cpu].top, SEGMENT_NONE);
	pool->cpus = cpus;
	return 0;
}

void segment_pool_destroy(struct segment_pool *pool)
{
	unsigned at;

	if (!pool->chunks)
		return;
	rcu_defer_barrier();
	for (at = 0; at < SEGMENT_CHUNKS; at++)
		/* Relaxed: nobody else is left. */
		alloc_free(order_load_relaxed(&pool->chunks[at]));
	alloc_free(pool->chunks);
	alloc_free(pool->lists);
	memset(pool, 0, sizeof(*pool));
}

/* `first` to `last` are linked by free_next. */
static void segment_list_push(struct segment_list *list, const struct segment *first,
			      struct segment *last)
{
	/* Relaxed: compared by the exchange. */
	uint64_t top = order_load_relaxed(&list->top);

	do
		/* Relaxed: published by the exchange. */
		order_store_relaxed(&last->free_next, (uint32_t)top);
	/* SEGMENT.free: the segments, and the links between them. */
	while (!order_cas_weak_release(&list->top, &top, segment_top(top, first->number)) &&
	       tally_retry(TALLY_SEGMENT_PUSH));
}

static struct segment *segment_list_pop(struct segment_pool *pool, struct segment_list *list)
{
	/* SEGMENT.free: sees the segment on top. */
	uint64_t top = order_load_acquire(&list->top);

	/* Ends: each failure is another thread's success, and the list gets empty. */
	while ((uint32_t)top != SEGMENT_NONE) {
		struct segment *segment = segment_of_number(pool, (uint32_t)top);
		/* Relaxed: if it is not on top any more, this may be anything, and the exchange fails. */
		uint32_t next = order_load_relaxed(&segment->free_next);

		window_pass("segment.popping");
		/* SEGMENT.free: sees the segment below too, for the next pop; publishes nothing. */
		if (order_cas_weak_acq_rel(&list->top, &top, segment_top(top, next)))
			return segment;
		tally_retry(TALLY_SEGMENT_POP);
	}
	return NULL;
}

/* Makes a chunk; all but one of its segments go to the list. */
static struct segment *segment_pool_grow(struct segment_pool *pool, unsigned cpu)
{
	size_t bytes = (size_t)SEGMENT_CHUNK * SEGMENT_BYTES;
	char *chunk;
	uint32_t number;
	uint32_t at;

	/* Relaxed, both: only a number is taken. */
	if (order_load_relaxed(&pool->chunk_count) >= SEGMENT_CHUNKS)
		return NULL;
	chunk = alloc_aligned(bytes, 1, bytes);
	if (!chunk)
		return NULL;
	number = order_fetch_add_relaxed(&pool->chunk_count, 1);
	if (number >= SEGMENT_CHUNKS) {
		order_fetch_sub_relaxed(&pool->chunk_count, 1);
		alloc_free(chunk);
		return NULL;
	}
	for (at = 0; at < SEGMENT_CHUNK; at++) {
		struct segment *segment = (struct segment *)(chunk + (size_t)at * SEGMENT_BYTES);

		segment->number = number * SEGMENT_CHUNK + at;
		segment->pool = pool;
		/* Relaxed: published by the list. */
		order_store_relaxed(&segment->free_next, segment->number + 1);
	}
	/* Relaxed: published by the list with the first number, which is how others get to it. */
	order_store_relaxed(&pool->chunks[number], chunk);
	segment_list_push(&pool->lists[cpu], (struct segment *)(chunk + SEGMENT_BYTES),
			  (struct segment *)(chunk + bytes - SEGMENT_BYTES));
	return (struct segment *)chunk;
}

static struct segment *segment_find(struct segment_pool *pool, unsigned cpu)
{
	struct segment *segment = segment_list_pop(pool, &pool->lists[cpu]);
	unsigned other;

	for (other = 1; !segment && other < pool->cpus; other++)
		segment = segment_list_pop(pool, &pool->lists[(cpu + other) % pool->cpus]);
	return segment ? segment : segment_pool_grow(pool, cpu);
}

struct segment *segment_open(struct segment_pool *pool, unsigned cpu, bool claimable)
{
	struct segment *segment = segment_find(pool, cpu % pool->cpus);
	uint64_t generation;

	if (!segment)
		return NULL;
	segment->cpu = cpu % pool->cpus;
	/* Relaxed, both: published with the segment. */
	order_store_relaxed(&segment->done, 0);
	order_store_relaxed(&segment->since, clock_now_ns());
	/* QUEUE.link, QUEUE.publish: that it left its queue, for a consumer with a stale pointer. */
	order_store_release(&segment->link, NULL);
	order_store_release(&segment->count, 0);
	generation = (order_load_relaxed(&segment->claimed) >> 32) + 1;
	/*
	 * SEGMENT.opened: the count, for a consumer with a stale pointer: one that sees the new
	 * generation does not see the old count, and one that saw the old generation claims nothing.
	 */
	order_store_release(&segment->claimed, generation << 32 | (claimable ? 0 : SEGMENT_DELTAS));
	order_fetch_add_relaxed(&pool->used, 1);
	return segment;
}

static void segment_free(struct segment *segment)
{
#ifdef RS_WINDOWS
	/* Relaxed: nobody may look. */
	order_store_relaxed(&segment->count, SEGMENT_POISON);
	memset(segment->deltas, 0x6b, SEGMENT_DELTAS * sizeof(segment->deltas[0]));
#endif
	segment_list_push(&segment->pool->lists[segment->cpu], segment, segment);
}

void segment_discard(struct segment *segment)
{
	/* Relaxed: a sum. */
	order_fetch_sub_relaxed(&segment->pool->used, 1);
	segment_free(segment);
}

static void segment_released(struct rcu_deferred *deferred)
{
	struct segment *segment =
		(struct segment *)((char *)deferred - offsetof(struct segment, deferred));

	while (segment) {
		struct segment *next = segment->next;

		segment_free(segment);
		segment = next;
	}
}

void segment_release(struct segment *list)
{
	const struct segment *segment;
	uint64_t count = 0;

	if (!list)
		return;
	for (segment = list; segment; segment = segment->next)
		count++;
	/* Relaxed: a sum. */
	order_fetch_sub_relaxed(&list->pool->used, count);
	if (plant_armed("segment.no-grace"))
		segment_released(&list->deferred);
	else
		rcu_defer(&list->deferred, segment_released);
}
