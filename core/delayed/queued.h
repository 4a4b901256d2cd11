/* SPDX-License-Identifier: MIT */
/*
 * The record path without locks: queues that producers append to, merged in batches into the head
 * tree.
 *
 * Who may call: as store.h; queued_merge any thread enrolled with RCU, several at a time.
 * Progress: a merge is lock-free. A run waits for merges that took deltas before it began.
 */
#ifndef REFSTORM_DELAYED_QUEUED_H
#define REFSTORM_DELAYED_QUEUED_H

#include "core/delayed/cpu_queue.h"
#include "core/delayed/heads.h"
#include "core/delayed/producer.h"
#include "core/delayed/store.h"
#include "core/delayed/taken.h"

/* One merge at a time; as many as there are threads that merge at once. */
struct queued_merger {
	order_u64 ticket; /* odd: at work */
	struct batch *batch;
	struct taken *taken; /* list: its own, and takings that another could not merge */
	struct batch_span *spans;
	size_t span_capacity;
	struct queued_merger *next;
} __attribute__((aligned(ORDER_LINE)));

struct store {
	struct segment_pool pool;
	struct cpu_queues cpus; /* count 0: there are none */
	struct heads heads;
	struct block_cache cache;
	struct sequence *sequence;
	order_ptr mergers;       /* push only */
	order_ptr returned;      /* takings that could not be merged */
	order_u64 give_backs;    /* how often that happened */
	order_u64 thread_queues; /* threads whose queue has a segment */
	order_u64 taken_deltas
		__attribute__((aligned(ORDER_LINE))); /* since it was made; sums, from here on */
	order_u64 taking;         /* merges that take from queues and have not counted it yet */
	order_u64 merging_deltas; /* taken and not merged yet */
	order_u64 merges;
};

/*
 * `cpus` queues of CPUs, 0 for none: then only threads have queues. `kept_bytes` of memory are kept
 * for entries to come. 0 or -ENOMEM.
 */
int queued_create(struct sequence *sequence, unsigned cpus, uint64_t kept_bytes, struct store **out)
	__attribute__((warn_unused_result));

/* Merges all that is queued. 0 or -ENOMEM, and then nothing is lost. */
int queued_merge(struct store *store) __attribute__((warn_unused_result));

/*
 * The same, and waits for merges that have taken something before and not installed it yet: all
 * that was appended before is in the heads.
 */
int queued_merge_all(struct store *store) __attribute__((warn_unused_result));

/* Deltas in queues: an upper bound, by as much as segments have room. Reads two shared lines. */
uint64_t queued_waiting(const struct store *store);

/* What of that may be room: one segment for each queue. */
uint64_t queued_room(const struct store *store);

extern const struct store_functions queued_functions;

#endif /* REFSTORM_DELAYED_QUEUED_H */
