/* SPDX-License-Identifier: MIT */
/*
 * Segments of deltas, and the pool that they come from and go back to.
 *
 * Who may call: any thread; segment_release from threads enrolled with RCU. Progress: lock-free
 * but for the operating system when the pool grows. A segment is released after a grace period:
 * readers of a queue look at segments inside RCU sections. Memory of segments stays theirs until
 * the pool is destroyed, so that a stale pointer to one is a pointer to some segment.
 * Shared lines written: two each time a segment is opened (a free list, the number in use).
 */
#ifndef REFSTORM_DELAYED_SEGMENT_H
#define REFSTORM_DELAYED_SEGMENT_H

#include <assert.h>
#include <stddef.h>

#include "core/base/rcu.h"
#include "core/delayed/delta.h"

#define SEGMENT_BYTES 32768U
#define SEGMENT_DELTAS ((SEGMENT_BYTES - 2 * ORDER_LINE) / sizeof(struct rs_delta))

struct segment {
	/* The producer's line. */
	order_u64 count; /* deltas that are whole; of a CPU's queue written by its sequences alone */
	order_ptr link;  /* a CPU's queue: the full one before it; a thread's: the one after it */

	/* The consumers' line. */
	order_u64 claimed __attribute__((
		aligned(ORDER_LINE))); /* upper half: times opened; lower: deltas claimed */
	order_u64 done; /* of what was claimed; one more once the producer has gone on */
	order_u64 since; /* clock_now_ns() before which nothing in it was recorded that is still there */
	order_u32 free_next;  /* in a free list: the next one's number, SEGMENT_NONE at its end */
	uint32_t number;      /* in its pool; does not change */
	uint32_t cpu;         /* whose free list it goes back to */
	struct segment *next; /* in a list of whoever owns it */
	struct rcu_deferred deferred;
	struct segment_pool *pool;

	struct rs_delta deltas[] __attribute__((aligned(ORDER_LINE)));
};

static_assert(offsetof(struct segment, deltas) == 2 * ORDER_LINE, "two lines in front");

/* What is written over the count of a segment that nobody may look at, where windows are compiled in. */
#define SEGMENT_POISON UINT64_C(0x6b6b6b6b6b6b6b6b)

/* In place of a segment where there is none: it is full for ever. */
extern struct segment segment_full;

#define SEGMENT_NONE UINT32_MAX
#define SEGMENT_CHUNK 64U     /* segments that the pool grows by: 2 MiB */
#define SEGMENT_CHUNKS 16384U /* at most: 32 GiB */

struct segment_list; /* free segments of one CPU */

struct segment_pool {
	struct segment_list *lists;
	unsigned cpus;
	order_ptr *chunks;
	order_u32 chunk_count __attribute__((aligned(ORDER_LINE)));
	order_u64 used __attribute__((aligned(ORDER_LINE))); /* opened and not released */
};

/* Free lists for `cpus` CPUs, at least 1. 0 or -ENOMEM. */
int segment_pool_init(struct segment_pool *pool, unsigned cpus) __attribute__((warn_unused_result));

/* Nobody uses it. Waits for what was released. One that was never made, all zero, is allowed. */
void segment_pool_destroy(struct segment_pool *pool);

/*
 * An empty segment, from the list of `cpu` if that has one; NULL if there is no memory. Only a
 * `claimable` one can have deltas claimed by thread_queue_take.
 */
struct segment *segment_open(struct segment_pool *pool, unsigned cpu, bool claimable);

/* One that was opened and never put into a queue. */
void segment_discard(struct segment *segment);

/*
 * All of the list, by `next`, goes back to the pool once the RCU sections that are open now have
 * ended. Their deltas have been taken.
 */
void segment_release(struct segment *list);

static inline struct segment *segment_of_number(const struct segment_pool *pool, uint32_t number)
{
	/* Relaxed: whoever has the number got it after the chunk was published. */
	char *chunk = (char *)order_load_relaxed(&pool->chunks[number / SEGMENT_CHUNK]);

	return (struct segment *)(chunk + (size_t)(number % SEGMENT_CHUNK) * SEGMENT_BYTES);
}

/* Segments in queues, or being merged. */
static inline uint64_t segment_used(const struct segment_pool *pool)
{
	/* Relaxed: a number that was right a moment ago. */
	return order_load_relaxed(&pool->used);
}

#endif /* REFSTORM_DELAYED_SEGMENT_H */
