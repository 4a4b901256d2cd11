/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/delayed/queued.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/percpu.h"
#include "core/base/plant.h"
#include "core/base/tally.h"

/* Turns of waiting for another's merge before the CPU is given away, and for how long then. */
#define QUEUED_SPINS 1000U
#define QUEUED_NAP_NS 50000L
/* How often the queues are looked at for numbers that fit together. */
#define QUEUED_LOOKS 4U

static void queued_destroy(struct store *store);

int queued_create(struct sequence *sequence, unsigned cpus, uint64_t kept_bytes, struct store **out)
{
	struct store *store = alloc_aligned(ORDER_LINE, 1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->sequence = sequence;
	block_cache_init(&store->cache, kept_bytes);
	if (segment_pool_init(&store->pool, cpus ? cpus : percpu_possible()) ||
	    (cpus && cpu_queues_init(&store->cpus, &store->pool, cpus)) ||
	    heads_init(&store->heads, &store->cache)) {
		queued_destroy(store);
		return -ENOMEM;
	}
	*out = store;
	return 0;
}

static void queued_taken_free(struct taken *taken)
{
	while (taken) {
		struct taken *next = taken->next;

		taken_destroy(taken);
		alloc_free(taken);
		taken = next;
	}
}

static struct queued_merger *queued_mergers(const struct store *store)
{
	/* QUEUED.merger: sees its next. */
	return (struct queued_merger *)order_load_acquire(&store->mergers);
}

static void queued_destroy(struct store *store)
{
	struct queued_merger *merger = queued_mergers(store);

	while (merger) {
		struct queued_merger *next = merger->next;

		batch_destroy(merger->batch);
		queued_taken_free(merger->taken);
		alloc_free(merger->spans);
		alloc_free(merger);
		merger = next;
	}
	/* Relaxed: nobody else is left. */
	queued_taken_free(order_load_relaxed(&store->returned));
	heads_destroy(&store->heads);
	rcu_defer_barrier();
	cpu_queues_destroy(&store->cpus);
	segment_pool_destroy(&store->pool);
	block_cache_destroy(&store->cache);
	alloc_free(store);
}

static struct queued_merger *queued_merger_add(struct store *store)
{
	struct queued_merger *merger = alloc_aligned(ORDER_LINE, 1, sizeof(*merger));
	void *head;

	if (!merger)
		return NULL;
	if (batch_create(&merger->batch)) {
		alloc_free(merger);
		return NULL;
	}
	/* Relaxed, both: published with the merger; the second is compared by the exchange. */
	order_store_relaxed(&merger->ticket, 1);
	head = order_load_relaxed(&store->mergers);
	do
		merger->next = head;
	/* QUEUED.merger: the merger, at work, and its next. */
	while (!order_cas_weak_acq_rel(&store->mergers, &head, merger) &&
	       tally_retry(TALLY_QUEUED_MERGER_ADD));
	return merger;
}

/* One for the calling thread, with a taking to fill; NULL: no memory. */
static struct queued_merger *queued_merger_get(struct store *store)
{
	struct queued_merger *merger;

	for (merger = queued_mergers(store); merger; merger = merger->next) {
		/* Relaxed: a hint. */
		uint64_t ticket = order_load_relaxed(&merger->ticket);

		/*
		 * MERGE.ticket: sees what the last one left in it. What is taken from here on is
		 * taken after the ticket is odd, so that whoever misses it in a queue finds the ticket.
		 */
		if (ticket & 1)
			continue;
		if (order_cas_acq_rel(&merger->ticket, &ticket, ticket + 1))
			break;
		tally_retry(TALLY_QUEUED_MERGER_GET);
	}
	if (!merger)
		merger = queued_merger_add(store);
	if (!merger)
		return NULL;
	return merger;
}

static void queued_merger_put(struct queued_merger *merger)
{
	/* MERGE.ticket: what was merged is installed; what is left in the merger. */
	order_fetch_add_release(&merger->ticket, 1);
}

/* A merge that failed leaves what it took to the next one. */
static void queued_give_back(struct store *store, struct queued_merger *merger)
{
	struct taken *last = merger->taken;
	void *head;

	while (last->next)
		last = last->next;
	/* Relaxed: compared by the exchange. */
	head = order_load_relaxed(&store->returned);
	do
		last->next = head;
	/* QUEUED.returned: the takings. */
	while (!order_cas_weak_acq_rel(&store->returned, &head, merger->taken) &&
	       tally_retry(TALLY_QUEUED_RETURN));
	merger->taken = NULL;
	/* QUEUED.give-back: that the takings are there. */
	order_fetch_add_release(&store->give_backs, 1);
}

/* Takes from all queues, and what others gave back. -ENOMEM: what was taken is taken all the same. */
static int queued_take(struct store *store, struct queued_merger *merger)
{
	struct taken *taken = merger->taken;
	struct rs_producer *producer = producer_first(store->sequence);

	/* QUEUED.returned: sees the takings; and, if they are another's now, that it is at work. */
	if (order_load_acquire(&store->returned))
		/* QUEUED.returned: the same; and that this thread is at work. */
		taken->next = order_exchange_acq_rel(&store->returned, NULL);
	if (store->cpus.count)
		cpu_queue_take(&store->cpus, taken);
	for (; producer; producer = producer_next(producer))
		if (thread_queue_take(&producer->queue, &store->pool, taken))
			return -ENOMEM;
	return 0;
}

/* Spans of all takings of the merger. */
static int queued_spans(struct queued_merger *merger, size_t *count, size_t *deltas,
			uint64_t *since)
{
	const struct taken *taken;

	*count = 0;
	*deltas = 0;
	*since = UINT64_MAX;
	for (taken = merger->taken; taken; taken = taken->next) {
		if (taken_spans(taken, &merger->spans, &merger->span_capacity, count))
			return -ENOMEM;
		*deltas += taken->deltas;
		*since = taken->since < *since ? taken->since : *since;
	}
	return 0;
}

static void queued_release(struct store *store, struct queued_merger *merger)
{
	struct taken *taken;

	for (taken = merger->taken; taken; taken = taken->next) {
		/* Relaxed: a sum. */
		order_fetch_sub_relaxed(&store->merging_deltas, taken->deltas);
		taken_release(taken);
	}
	queued_taken_free(merger->taken->next);
	merger->taken->next = NULL;
}

static int queued_merge_taken(struct store *store, struct queued_merger *merger)
{
	struct sequence_groups groups;
	struct batch_result result;
	struct heads_block *block;
	size_t spans;
	size_t deltas;
	uint64_t since;

	if (queued_spans(merger, &spans, &deltas, &since))
		return -ENOMEM;
	if (!deltas) {
		queued_release(store, merger);
		return 0;
	}
	block = heads_block_create(&store->heads, DELTA_PARTS, deltas);
	if (!block)
		return -ENOMEM;
	sequence_groups(store->sequence, &groups);
	window_pass("queued.merging");
	if (batch_merge(merger->batch, &groups, merger->spans, spans, heads_block_entries(block),
			&result)) {
		heads_block_discard(block);
		return -ENOMEM;
	}
	heads_install(&store->heads, block, &result, since);
	queued_release(store, merger);
	order_fetch_add_relaxed(&store->merges, 1);
	return 0;
}

int queued_merge(struct store *store)
{
	struct queued_merger *merger = queued_merger_get(store);
	int result;

	if (!merger)
		return -ENOMEM;
	if (!merger->taken) {
		merger->taken = alloc_zeroed(1, sizeof(*merger->taken));
		if (!merger->taken) {
			queued_merger_put(merger);
			return -ENOMEM;
		}
		taken_init(merger->taken);
	}
	/* Relaxed: before what it says is missing, which is taken by acquire and release. */
	order_fetch_add_relaxed(&store->taking, 1);
	result = queued_take(store, merger);
	/* QUEUED.taken: that they are not in the queues any more. */
	order_fetch_add_release(&store->taken_deltas, merger->taken->deltas);
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&store->merging_deltas, merger->taken->deltas);
	/* QUEUED.taking: what was taken is counted. */
	order_fetch_sub_release(&store->taking, 1);
	if (!result)
		result = queued_merge_taken(store, merger);
	if (result)
		queued_give_back(store, merger);
	queued_merger_put(merger);
	return result;
}

/* Returns when all merges that are at work now have ended. */
static void queued_settle(const struct store *store)
{
	const struct timespec nap = { .tv_nsec = QUEUED_NAP_NS };
	struct queued_merger *merger;

	for (merger = queued_mergers(store); merger; merger = merger->next) {
		/* MERGE.ticket: what the merge installed. */
		uint64_t ticket = order_load_acquire(&merger->ticket);
		unsigned spins = 0;

		/* MERGE.ticket: as above. Ends: when that merge does. */
		while (ticket & 1 && order_load_acquire(&merger->ticket) == ticket) {
			if (++spins < QUEUED_SPINS)
				order_pause();
			else
				nanosleep(&nap, NULL);
		}
	}
}

/*
 * Merges everything that was appended before. A merge that was at work may fail and give back
 * what it took before ours: then once more. Ends: unless merges fail for ever, and ours with them.
 */
int queued_merge_all(struct store *store)
{
	uint64_t give_backs;

	do {
		int result;

		/* QUEUED.give-back: takings that are counted here are found by the merge. */
		give_backs = order_load_acquire(&store->give_backs);
		result = queued_merge(store);
		if (result)
			return result;
		queued_settle(store);
		/* Relaxed: what came before a ticket was put back is seen with the ticket. */
	} while (order_load_relaxed(&store->give_backs) != give_backs);
	return 0;
}

static int queued_run(struct store *store, const struct store_run *run)
{
	int result = queued_merge_all(store);

	return result ? result : heads_run(&store->heads, run);
}

static int queued_append(struct store *store, const struct rs_delta *delta)
{
	(void)store;
	(void)delta;
	/* Producers append to queues themselves. */
	abort();
}

static int queued_lookup(struct store *store, uint64_t bytenr, uint64_t seq_max,
			 struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
{
	return heads_lookup(&store->heads, bytenr, seq_max, pending, entries, capacity);
}

uint64_t queued_waiting(const struct store *store)
{
	uint64_t room = segment_used(&store->pool) * SEGMENT_DELTAS;
	/* Relaxed: a number that was right a moment ago. */
	uint64_t merging = order_load_relaxed(&store->merging_deltas);

	return room > merging ? room - merging : 0;
}

uint64_t queued_room(const struct store *store)
{
	/* Relaxed: a number that was right a moment ago. */
	return (store->cpus.count + order_load_relaxed(&store->thread_queues)) * SEGMENT_DELTAS;
}

static uint64_t queued_pending(const struct store *store)
{
	/* Relaxed, here and below: sums of some moment. */
	return segment_used(&store->pool) * SEGMENT_DELTAS +
	       order_load_relaxed(&store->heads.entries);
}

/* Deltas in queues, and since when the oldest is there. */
static uint64_t queued_look(struct store *store, uint64_t *oldest)
{
	struct rs_producer *producer;
	uint64_t since;
	uint64_t deltas;

	rcu_section_enter();
	deltas = cpu_queue_pending(&store->cpus, &since);
	*oldest = since < *oldest ? since : *oldest;
	for (producer = producer_first(store->sequence); producer;
	     producer = producer_next(producer)) {
		deltas += thread_queue_pending(&producer->queue, &store->pool, &since);
		*oldest = since < *oldest ? since : *oldest;
	}
	rcu_section_exit();
	return deltas;
}

static void queued_statistics(struct store *store, struct store_statistics *statistics)
{
	uint64_t oldest = UINT64_MAX;
	uint64_t since;
	unsigned turn;

	/* What is taken meanwhile would count twice: looked at again. What is being taken is missing. */
	for (turn = 0; turn < QUEUED_LOOKS; turn++) {
		/* QUEUED.taken: what is counted is not found in the queues too. */
		uint64_t taken = order_load_acquire(&store->taken_deltas);

		statistics->recorded = taken + queued_look(store, &oldest);
		/* QUEUED.taking: what those that have ended took is counted in what is read next. */
		statistics->taking = order_load_acquire(&store->taking) != 0;
		/* Relaxed: hardly ever missed, and then a number is too high for a moment. */
		if (order_load_relaxed(&store->taken_deltas) == taken)
			break;
	}
	/* After the queues: what moves on meanwhile is seen twice and not missed. */
	since = heads_since(&store->heads);
	oldest = since < oldest ? since : oldest;
	statistics->merged = order_load_relaxed(&store->heads.merged);
	statistics->run = order_load_relaxed(&store->heads.run);
	statistics->merges = order_load_relaxed(&store->merges);
	statistics->pending_bytes =
		segment_used(&store->pool) * SEGMENT_BYTES +
		order_load_relaxed(&store->heads.entries) * sizeof(struct rs_delta);
	statistics->oldest_time = oldest == UINT64_MAX ? 0 : oldest;
}

const struct store_functions queued_functions = {
	.name = "percpu",
	.destroy = queued_destroy,
	.append = queued_append,
	.run = queued_run,
	.lookup = queued_lookup,
	.statistics = queued_statistics,
	.pending = queued_pending,
};
