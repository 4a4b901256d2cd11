/* SPDX-License-Identifier: MIT */
/* What heads.c, heads_merge.c, heads_fold.c and heads_run.c share, and nobody else. */
#ifndef REFSTORM_DELAYED_HEADS_IMPL_H
#define REFSTORM_DELAYED_HEADS_IMPL_H

#include "core/delayed/heads.h"

/* Memory of runs and of entries; it goes when no run in a list is in it or has entries in it. */
struct heads_block {
	struct rcu_deferred deferred;
	struct block_cache *cache;
	uint64_t uses; /* by the caller's lock once it is installed */
	struct rs_delta *entries;
	struct heads_run runs[];
};

static inline struct heads_run *heads_run_observe(order_ptr *pointer)
{
	/* HEADS.run: sees the run, its entries, and all behind it. */
	return (struct heads_run *)order_load_acquire(pointer);
}

static inline size_t heads_run_entries(const struct heads_run *run)
{
	return run->ref_count + run->root_count;
}

/* The run goes into a list, or has left it. By the caller's lock. */
void heads_run_use(struct heads_run *run);
void heads_run_retire(struct heads_run *run);

/*
 * Puts `chain` in the place of `first` and all up to, not including, `stop`, which chain leads to;
 * those are retired. By the caller's lock; only pushes happen beside it.
 */
void heads_swap(struct heads_part *part, struct heads_run *first, struct heads_run *stop,
		struct heads_run *chain);

/* The first of `count` sorted entries whose extent is not below `bytenr`. */
size_t heads_entries_find(const struct rs_delta *entries, size_t count, uint64_t bytenr);

/* What has been run of a part and is still in its list. By the caller's lock. */
struct heads_done {
	uint64_t cut;
	uint64_t below;
};

static inline struct heads_done heads_done(const struct heads_part *part)
{
	/* Relaxed, both: written under the lock that the caller holds. */
	return (struct heads_done){ order_load_relaxed(&part->done_cut),
				    order_load_relaxed(&part->done_below) };
}

static inline bool heads_is_done(struct heads_done done, const struct rs_delta *entry)
{
	return entry->bytenr < done.below && rs_delta_seq(entry) <= done.cut;
}

/* Nothing of the part that is done is in its list any more, and marks nothing. */
void heads_done_clear(struct heads_part *part);

#endif /* REFSTORM_DELAYED_HEADS_IMPL_H */
