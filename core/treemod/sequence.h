/* SPDX-License-Identifier: MIT */
/*
 * The tree-mod sequence: one counter that moves for cuts only, the operations that
 * read it, and the cuts that wait for them.
 *
 * Who may call: begin and end the slot's thread; join and leave one thread a slot;
 * all else any thread. Progress: begin and end wait-free, one line of the thread's
 * own written, no locked instruction where the kernel has membarrier; a cut
 * wait-free; closing it looks at all slots.
 * Guarantee: a cut that is closed has all operations with numbers up to it ended,
 * and whoever learns that it is closed sees what they wrote; none can come later.
 * Stale: what is closed may be known later than it is true.
 */
#ifndef REFSTORM_TREEMOD_SEQUENCE_H
#define REFSTORM_TREEMOD_SEQUENCE_H

#include "core/base/barrier.h"
#include "core/base/order.h"
#include "core/base/plant.h"
#include "core/treemod/view.h"

/* States of a slot other than the number of the operation that its thread is in. */
#define SEQUENCE_IDLE UINT64_MAX
#define SEQUENCE_READING UINT64_C(0) /* about to read the counter: counts as the oldest number */

/* One for each thread that begins operations; written by that thread only. */
struct sequence_slot {
	order_u64 state;
	order_u32 thread; /* the kernel's id, for whoever waits */
	struct sequence_slot *next;
} __attribute__((aligned(ORDER_LINE)));

#define SEQUENCE_COMMITS_MAX 64U

struct sequence {
	order_u64 counter __attribute__((aligned(ORDER_LINE))); /* read by every operation */
	order_u64 closed __attribute__((aligned(ORDER_LINE)));  /* all cuts up to it are closed */
	order_ptr slots;                                        /* push only */
	struct views views;
	/* Transactions: transaction t ends at the cut commits[t % SEQUENCE_COMMITS_MAX]. */
	order_u64 commits[SEQUENCE_COMMITS_MAX];
	order_u64 transaction; /* the running one; all before it have a cut */
	order_u64 oldest;      /* the oldest that is not run */
	order_u64 run_limit;   /* of the run that goes on; UINT64_MAX: none does */
};

/* Whom a cut waits for; as rs_cut_waiting. */
struct sequence_waiting {
	unsigned operations;
	uint32_t thread;
	uint64_t seq;
};

/* Numbers and transactions begin at 1. */
void sequence_init(struct sequence *sequence);

/* No slot is in use. */
void sequence_destroy(struct sequence *sequence);

/* Adds a slot for the calling thread; it stays until the sequence is destroyed, and may be idle. */
void sequence_join(struct sequence *sequence, struct sequence_slot *slot);

/* All slots that were ever added, by `next`. */
static inline struct sequence_slot *sequence_slots(const struct sequence *sequence)
{
	/* SEQUENCE.slot: sees the slot's members, and those of all behind it. */
	return (struct sequence_slot *)order_load_acquire(&sequence->slots);
}

/* Reads the counter, once: the number of all that the operation does. */
static inline uint64_t sequence_begin(struct sequence *sequence, struct sequence_slot *slot)
{
	uint64_t seq;

	/*
	 * The barrier orders the store before the read of the counter, and pairs with barrier_heavy
	 * in sequence_close: either the closer sees the slot in use, or this thread sees the counter
	 * past the cut. Forbidden: the closer finds the slot idle, and the operation has a number up
	 * to the cut.
	 *
	 * SEQUENCE.ended: all that earlier operations of the thread did.
	 */
	order_own_store_release(&slot->state, SEQUENCE_READING);
	barrier_light();
	window_pass("sequence.reading");
	/* SEQUENCE.cut: what was done before the cut is seen by operations after it. */
	seq = order_load_acquire(&sequence->counter);
	/* SEQUENCE.ended: as above. */
	order_own_store_release(&slot->state, seq);
	return seq;
}

static inline void sequence_end(struct sequence_slot *slot)
{
	/* SEQUENCE.ended: all that the operation did. */
	order_own_store_release(&slot->state, SEQUENCE_IDLE);
}

/* The new cut: the number of the last operations before it. Writes one shared line. */
uint64_t sequence_cut(struct sequence *sequence);

static inline uint64_t sequence_current(const struct sequence *sequence)
{
	/* Relaxed: a number that was right a moment ago, and never goes back. */
	return order_load_relaxed(&sequence->counter);
}

/*
 * A cut that ends the running transaction: 0, -EAGAIN (SEQUENCE_COMMITS_MAX transactions are not
 * run) or -ENOMEM. One thread at a time.
 */
int sequence_commit(struct sequence *sequence, uint64_t *cut) __attribute__((warn_unused_result));

/* The oldest transaction that is not run, and the cut that ends it (UINT64_MAX: it is running). By one thread at a time. */
uint64_t sequence_oldest_end(const struct sequence *sequence, uint64_t *end);

/* All of it is run; the oldest one, and ended. */
void sequence_transaction_run(struct sequence *sequence, uint64_t transaction);

/* A view of a cut of its own; NULL: no memory. */
struct view_slot *sequence_view(struct sequence *sequence);

/*
 * Closes what can be closed up to `cut`, which was taken: looks at all slots. True if it is; else
 * `waiting`, which may be NULL, says for whom it waits.
 */
bool sequence_close(struct sequence *sequence, uint64_t cut, struct sequence_waiting *waiting);

/* All up to here is closed, as far as is known. */
static inline uint64_t sequence_closed(const struct sequence *sequence)
{
	/* SEQUENCE.closed: sees what ended operations wrote. */
	return order_load_acquire(&sequence->closed);
}

/*
 * Which numbers nobody can tell apart any more: all of a group are closed, of one transaction,
 * and no view lies between them. What has numbers of one group may be merged.
 */
#define SEQUENCE_GROUPS_MAX 256U

struct sequence_groups {
	unsigned count;
	uint64_t last[SEQUENCE_GROUPS_MAX]; /* ascending: the last number of each group */
};

/* With more groups than have room there are none: every number is a group of its own. */
void sequence_groups(struct sequence *sequence, struct sequence_groups *groups);

/*
 * How far heads may be run: what is closed, and no view holds back; 0 where that cannot be told at
 * the moment. Until sequence_run_end no group spans that number: what is merged meanwhile, by threads
 * that know of later cuts, does not carry deltas past it. One thread at a time.
 */
uint64_t sequence_run_begin(struct sequence *sequence);
void sequence_run_end(struct sequence *sequence);

/* The last number of the group of `seq`; seq itself where it is in none. */
static inline uint64_t sequence_group(const struct sequence_groups *groups, uint64_t seq)
{
	unsigned at;

	for (at = 0; at < groups->count; at++)
		if (seq <= groups->last[at])
			return groups->last[at];
	return seq;
}

#endif /* REFSTORM_TREEMOD_SEQUENCE_H */
