/* SPDX-License-Identifier: MIT */
#include "core/delayed/cpu_queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/barrier.h"
#include "core/base/percpu.h"
#include "core/base/plant.h"
#include "core/base/tally.h"

bool cpu_queue_possible(void)
{
#if CPU_QUEUE_HAS
	const struct rseq *area = (const struct rseq *)(percpu_thread_pointer() + __rseq_offset);

	return __rseq_size && (int32_t)area->cpu_id >= 0 && barrier_can_restart();
#else
	return false;
#endif
}

int cpu_queues_init(struct cpu_queues *queues, struct segment_pool *pool, unsigned count)
{
	unsigned at;

	queues->queues = alloc_aligned(ORDER_LINE, count, sizeof(queues->queues[0]));
	if (!queues->queues)
		return -ENOMEM;
	for (at = 0; at < count; at++)
		/* Relaxed: before anybody uses it. */
		order_store_relaxed(&queues->queues[at].current, &segment_full);
	queues->count = count;
	queues->pool = pool;
	return 0;
}

void cpu_queues_destroy(struct cpu_queues *queues)
{
	alloc_free(queues->queues);
	memset(queues, 0, sizeof(*queues));
}

/*
 * The segment seen may have been taken, gone back to the pool and come here again by the time of
 * the exchange. It is then the one that is being filled, and goes behind the new one like a
 * full one: appends that have begun end in it, and whoever takes the chain waits for them.
 */
int cpu_queue_switch(struct cpu_queues *queues)
{
	unsigned cpu = percpu_current();
	struct cpu_queue *queue;
	struct segment *fresh;
	void *seen;

	if (cpu >= queues->count)
		return 0;
	queue = &queues->queues[cpu];
	/* CPUQUEUE.segment: sees the segment's count. */
	seen = order_load_acquire(&queue->current);
	/* Relaxed: if it is not full the append is tried again. */
	if (order_load_relaxed(&((struct segment *)seen)->count) < SEGMENT_DELTAS)
		return 0;
	fresh = segment_open(queues->pool, cpu, false);
	if (!fresh)
		return -ENOMEM;
	/* Relaxed: published by the exchange. */
	order_store_relaxed(&fresh->link, seen == &segment_full ? NULL : seen);
	window_pass("queue.switching");
	/* CPUQUEUE.segment: the empty segment, and what it leads to. */
	if (!order_cas_acq_rel(&queue->current, &seen, fresh)) {
		segment_discard(fresh);
		tally_retry(TALLY_CPU_QUEUE_SWITCH);
	}
	return 0;
}

void cpu_queue_take(struct cpu_queues *queues, struct taken *taken)
{
	struct segment *chains = NULL;
	unsigned at;

	for (at = 0; at < queues->count; at++) {
		struct segment *segment;

		/* CPUQUEUE.segment: of a queue that another has taken, sees that it is at work. */
		if (order_load_acquire(&queues->queues[at].current) == (void *)&segment_full)
			continue;
		/* CPUQUEUE.segment: sees the chain; publishes that this thread is at work. */
		segment = order_exchange_acq_rel(&queues->queues[at].current, &segment_full);
		if (segment == &segment_full)
			continue;
		segment->next = chains;
		chains = segment;
	}
	if (!chains)
		return;
	window_pass("queue.taken");
	/* No append that has begun in a segment of these goes on in it: the counts are final. */
	barrier_restart();
	while (chains) {
		struct segment *segment = chains;

		chains = chains->next;
		if (plant_armed("queue.partial-missed"))
			segment = order_load_relaxed(&segment->link);
		while (segment) {
			/* Relaxed: seen with the first of the chain. */
			struct segment *before = order_load_relaxed(&segment->link);

			taken_add_whole(taken, segment);
			segment = before;
		}
	}
}

uint64_t cpu_queue_pending(const struct cpu_queues *queues, uint64_t *since)
{
	uint64_t pending = 0;
	unsigned at;

	*since = UINT64_MAX;
	for (at = 0; at < queues->count; at++) {
		/* CPUQUEUE.segment: sees the chain. */
		const struct segment *segment = order_load_acquire(&queues->queues[at].current);

		while (segment && segment != &segment_full) {
			/* QUEUE.publish: sees as many. */
			uint64_t count = order_load_acquire(&segment->count);
			/* Relaxed: set before the segment was published. */
			uint64_t time = order_load_relaxed(&segment->since);

			window_pass("queue.looking");
			assert(count <= SEGMENT_DELTAS);
			pending += count;
			*since = count && time < *since ? time : *since;
			/* Relaxed: published with the segment. */
			segment = order_load_relaxed(&segment->link);
		}
	}
	return pending;
}

void cpu_queue_forget(void)
{
#if CPU_QUEUE_HAS
	volatile struct rseq *area =
		(volatile struct rseq *)(percpu_thread_pointer() + __rseq_offset);

	if (__rseq_size)
		area->rseq_cs = 0;
#endif
}
