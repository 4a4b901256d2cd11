/* SPDX-License-Identifier: MIT */
#include "core/delayed/thread_queue.h"

#include <assert.h>
#include <errno.h>

#include "core/base/clock.h"
#include "core/base/percpu.h"
#include "core/base/tally.h"

void thread_queue_init(struct thread_queue *queue)
{
	queue->current = NULL;
	queue->count = SEGMENT_DELTAS;
	/* Relaxed: before anybody uses it. */
	order_store_relaxed(&queue->oldest, 0);
}

static uint64_t thread_queue_word(uint64_t before, const struct segment *segment)
{
	return ((before >> 32) + 1) << 32 | (segment->number + UINT64_C(1));
}

int thread_queue_switch(struct thread_queue *queue, struct segment_pool *pool)
{
	struct segment *segment = segment_open(pool, percpu_current(), true);

	if (!segment)
		return -ENOMEM;
	window_pass("queue.switching");
	if (queue->current)
		/* QUEUE.link: the empty segment. */
		order_store_release(&queue->current->link, segment);
	else
		/* QUEUE.oldest: the same; nobody else changes the word while it says none. */
		order_store_release(&queue->oldest, thread_queue_word(0, segment));
	queue->current = segment;
	queue->count = 0;
	return 0;
}

bool thread_queue_done(struct segment *segment, uint64_t count)
{
	/* QUEUE.done: the reads of the deltas; whoever comes to the sum has all of them behind it. */
	return order_fetch_add_acq_rel(&segment->done, count) + count == SEGMENT_DELTAS + 1;
}

/* How much too old a queue's first delta may look after the queue was idle. */
#define THREAD_QUEUE_IDLE_NS UINT64_C(50000000)

/*
 * Nothing unclaimed was found in the segment after `now`: what comes is younger. Seldom, so that a look
 * at an idle queue writes no shared line. `since` was read after `now`: of a stale segment's next use it
 * is later than `now`, and one that another has changed meanwhile stays.
 */
static void thread_queue_idle(struct segment *segment, uint64_t since, uint64_t now)
{
	if (now > since && now - since > THREAD_QUEUE_IDLE_NS)
		/* Relaxed: a time, which orders nothing. */
		(void)order_cas_relaxed(&segment->since, &since, now);
}

/*
 * Claims what is published of one segment. The word is looked at before the count: a count of a
 * later use of the segment comes with a changed word, and one of an earlier use is not seen
 * (SEGMENT.opened).
 */
static void thread_queue_claim(struct segment *segment, uint64_t now, struct taken *taken)
{
	/* SEGMENT.opened: the count is of this use or a later one. */
	uint64_t claimed = order_load_acquire(&segment->claimed);

	/* Ends: each failure is the claim of another consumer, of what is published. */
	for (;;) {
		struct taken_part part = { .segment = segment, .first = (uint32_t)claimed };
		/* QUEUE.publish: sees the deltas. */
		uint64_t count = order_load_acquire(&segment->count);
		/* Relaxed: an older time only makes the age look longer; a later one comes with a claim. */
		uint64_t since = order_load_relaxed(&segment->since);

		/* Beyond the segment only if it is poisoned: the pointer is stale. */
		if (count <= part.first || count > SEGMENT_DELTAS) {
			thread_queue_idle(segment, since, now);
			return;
		}
		part.count = (uint32_t)count - part.first;
		window_pass("queue.claiming");
		if (plant_armed("queue.taken-twice")) {
			taken_add_part(taken, part, since);
			return;
		}
		/* QUEUE.claim: nothing of ours; sees what consumers before did, those that failed too. */
		if (order_cas_acq_rel(&segment->claimed, &claimed, (claimed >> 32) << 32 | count)) {
			taken_add_part(taken, part, since);
			/* Relaxed: what is left is younger than that. */
			order_store_relaxed(&segment->since, now);
			return;
		}
		tally_retry(TALLY_THREAD_QUEUE_CLAIM);
	}
}

/* The segment behind `segment`, once that is full and claimed to its end; NULL before. */
static struct segment *thread_queue_behind(const struct segment *segment)
{
	/* QUEUE.claim: all of it is somebody's. */
	if ((uint32_t)order_load_acquire(&segment->claimed) != SEGMENT_DELTAS)
		return NULL;
	/* QUEUE.link: sees the segment. */
	return order_load_acquire(&segment->link);
}

int thread_queue_take(struct thread_queue *queue, struct segment_pool *pool, struct taken *taken)
{
	uint64_t now = clock_now_ns();
	/* QUEUE.oldest: sees the segment. */
	uint64_t oldest = order_load_acquire(&queue->oldest);

	/* Ends: at the last segment; each change of the word is another consumer's step. */
	while (oldest) {
		struct segment *segment = segment_of_number(pool, (uint32_t)oldest - 1);
		struct segment *behind;

		if (taken_reserve(taken))
			return -ENOMEM;
		thread_queue_claim(segment, now, taken);
		behind = thread_queue_behind(segment);
		if (!behind) {
			/* QUEUE.oldest: sees the segment that is the oldest now. */
			uint64_t word = order_load_acquire(&queue->oldest);

			/* The word changes each time: it was this segment all along, and not in another use. */
			if (word == oldest)
				return 0;
			oldest = word;
			continue;
		}

		window_pass("queue.passing");
		/* QUEUE.oldest: the segment behind; sees how far others have come. */
		if (!order_cas_acq_rel(&queue->oldest, &oldest,
				       thread_queue_word(oldest, behind))) {
			tally_retry(TALLY_THREAD_QUEUE_OLDEST);
			continue;
		}
		/* The word changes each time, so that it was this segment all along. */
		oldest = thread_queue_word(oldest, behind);
		if (thread_queue_done(segment, 1)) {
			segment->next = NULL;
			segment_release(segment);
		}
	}
	return 0;
}

uint64_t thread_queue_pending(const struct thread_queue *queue, const struct segment_pool *pool,
			      uint64_t *since)
{
	uint64_t now = clock_now_ns();
	/* QUEUE.oldest: sees the segment. */
	uint64_t oldest = order_load_acquire(&queue->oldest);
	struct segment *segment = oldest ? segment_of_number(pool, (uint32_t)oldest - 1) : NULL;
	uint64_t pending = 0;

	*since = UINT64_MAX;
	while (segment) {
		/* SEGMENT.opened: the count is not of an earlier use. */
		uint32_t claimed = (uint32_t)order_load_acquire(&segment->claimed);
		/* QUEUE.publish: sees as many. */
		uint64_t count = order_load_acquire(&segment->count);

		/* Relaxed: an older time only makes the age look longer. */
		uint64_t time = order_load_relaxed(&segment->since);

		window_pass("queue.looking");
		assert(count <= SEGMENT_DELTAS);
		if (count <= claimed) {
			thread_queue_idle(segment, time, now);
		} else {
			pending += count - claimed;
			*since = time < *since ? time : *since;
		}
		/* QUEUE.link: sees the segment behind. */
		segment = order_load_acquire(&segment->link);
	}
	return pending;
}
