/* SPDX-License-Identifier: MIT */
/*
 * The queue of one thread, on C11 atomics alone: a chain of segments that the thread fills and
 * any number of consumers take from.
 *
 * Who may call: append the queue's thread; take any thread, several at a time. Progress: append
 * wait-free, but for memory; take lock-free. A thread stopped anywhere in either holds up nobody:
 * what it has not published nobody waits for, and what it claimed is its own.
 * Shared lines written: none in an append (the count's line is the thread's own), two in a switch
 * of segments; a take writes one for each segment that it takes from.
 *
 * Consumers claim ranges of a segment by one exchange of its word `claimed`. Its upper half says how
 * often the segment was opened, so that a claim by a consumer whose segment went back to the pool
 * and into another queue fails, or takes what nobody else takes.
 */
#ifndef REFSTORM_DELAYED_THREAD_QUEUE_H
#define REFSTORM_DELAYED_THREAD_QUEUE_H

#include <errno.h>

#include "core/base/plant.h"
#include "core/delayed/taken.h"

struct thread_queue {
	/* The thread's line. */
	struct segment *current __attribute__((aligned(ORDER_LINE)));
	uint64_t count; /* in it */

	/* The consumers' line: the oldest segment's number plus 1, 0 for none; its upper half changes each time. */
	order_u64 oldest __attribute__((aligned(ORDER_LINE)));
};

void thread_queue_init(struct thread_queue *queue);

static inline bool thread_queue_is_full(const struct thread_queue *queue)
{
	return queue->count == SEGMENT_DELTAS;
}

/* A new segment behind the current one. 0 or -ENOMEM. */
int thread_queue_switch(struct thread_queue *queue, struct segment_pool *pool)
	__attribute__((warn_unused_result));

/* 0, or -ENOMEM, and then the delta is not recorded. */
static inline int thread_queue_append(struct thread_queue *queue, struct segment_pool *pool,
				      const struct rs_delta *delta, uint64_t seq)
{
	struct segment *segment;
	struct rs_delta *to;

	if (__builtin_expect(thread_queue_is_full(queue), 0) && thread_queue_switch(queue, pool))
		return -ENOMEM;
	segment = queue->current;
	to = &segment->deltas[queue->count];
	__builtin_prefetch((const char *)to + 1024, 1);
	if (plant_armed("queue.publish-early"))
		/* QUEUE.publish: nothing yet; the delta is written after this. */
		order_own_store_release(&segment->count, queue->count + 1);
	window_pass("queue.unwritten");
	*to = *delta;
	to->seq_type |= seq << 8;
	window_pass("queue.unpublished");
	queue->count++;
	if (plant_armed("queue.switch-uncounted") && queue->count == SEGMENT_DELTAS)
		return 0;
	if (plant_armed("queue.publish-relaxed"))
		order_own_store_relaxed(&segment->count, queue->count);
	else
		/* QUEUE.publish: the delta. */
		order_own_store_release(&segment->count, queue->count);
	return 0;
}

/* Takes what is published. 0, or -ENOMEM, and then the rest is still in the queue. */
int thread_queue_take(struct thread_queue *queue, struct segment_pool *pool, struct taken *taken)
	__attribute__((warn_unused_result));

/* `count` claimed deltas of the segment have been merged. True if it is used up: the caller's to release. */
bool thread_queue_done(struct segment *segment, uint64_t count);

/* What an RCU reader sees: deltas published and not claimed; since when the oldest is there, UINT64_MAX for none. */
uint64_t thread_queue_pending(const struct thread_queue *queue, const struct segment_pool *pool,
			      uint64_t *since);

#endif /* REFSTORM_DELAYED_THREAD_QUEUE_H */
