/* SPDX-License-Identifier: MIT */
/*
 * The head tree: what is merged and not run yet, by (transaction, bytenr), in parts.
 *
 * Each part is a list of runs, newest first. A run is an array of entries, sorted by extent and
 * key, that never changes once it is in the list: a batch is installed by pushing its runs, runs
 * are folded into fewer by replacing a stretch of a list with one store, and an extent is found by a
 * search in each of the few runs of its part. That makes the tree a log-structured one: everything
 * is written in order, and memory comes and goes by batches.
 *
 * Who may call: heads_install any thread; heads_run, heads_fold one thread at a time (the caller's
 * lock); heads_lookup any thread enrolled with RCU. Progress: install is lock-free, a look-up too:
 * it begins again when its extent was run meanwhile. Neither waits for a thread that was stopped in
 * any of these.
 * Guarantee: a look-up sees what was pending for the extent at some moment while it ran: each
 * installed entry once, whatever is folded meanwhile, until its head has been run. Shared lines
 * written: one for each part that a batch has something for.
 */
#ifndef REFSTORM_DELAYED_HEADS_H
#define REFSTORM_DELAYED_HEADS_H

#include "core/base/rcu.h"
#include "core/delayed/batch.h"
#include "core/delayed/block.h"
#include "core/delayed/store.h"

struct heads_block;

/* One part's share of a batch. */
struct heads_run {
	order_ptr next; /* the next older one */
	const struct rs_delta *refs;
	const struct rs_delta *roots;
	size_t ref_count;
	size_t root_count;
	uint64_t since;     /* clock_now_ns() not after its oldest delta was recorded */
	uint64_t seq_first; /* the lowest and the highest number in it */
	uint64_t seq_last;
	struct heads_block *block;  /* has this struct */
	struct heads_block *source; /* has the entries */
};

/* What has been run of a part is marked first, and taken out of its list when all of it is. */
struct heads_part {
	order_ptr runs;
	order_u64 done_cut;   /* entries of operations up to this one ... */
	order_u64 done_below; /* ... of extents below this address have been run */
	order_u64 turn;       /* how often what was done has been taken out of the list */
} __attribute__((aligned(ORDER_LINE)));

#define HEADS_NONE UINT64_MAX

struct heads_scratch;

struct heads {
	struct heads_part parts[DELTA_PARTS];
	order_u64 running __attribute__((
		aligned(ORDER_LINE))); /* the extent in the runner's hands, or HEADS_NONE */
	order_u64 entries
		__attribute__((aligned(ORDER_LINE))); /* sums of all threads, from here on */
	order_u64 merged;
	order_u64 run;
	order_u64 installs; /* batches since runs were folded last */
	struct block_cache *cache;
	struct heads_scratch *scratch; /* by the caller's lock */
};

/* 0 or -ENOMEM. */
int heads_init(struct heads *heads, struct block_cache *cache) __attribute__((warn_unused_result));

/* Nobody uses it. */
void heads_destroy(struct heads *heads);

/* A block with room for `runs` runs and `capacity` entries; NULL if there is no memory. */
struct heads_block *heads_block_create(struct heads *heads, unsigned runs, size_t capacity);
struct rs_delta *heads_block_entries(struct heads_block *block);
void heads_block_discard(struct heads_block *block);

/*
 * The entries of `result` stand in `block`, which has DELTA_PARTS runs and is not the caller's any
 * more; none of them was recorded before `since`.
 */
void heads_install(struct heads *heads, struct heads_block *block,
		   const struct batch_result *result, uint64_t since);

/* Folds runs of similar size, so that a part has few. 0, or -ENOMEM, and then nothing has changed. */
int heads_fold(struct heads *heads, const struct sequence_groups *groups)
	__attribute__((warn_unused_result));

/*
 * Runs what was recorded up to run->cut, by ascending bytenr; as store_functions.run. All of it is
 * installed, and nothing more of it will be.
 */
int heads_run(struct heads *heads, const struct store_run *run) __attribute__((warn_unused_result));

/* As rs_head_lookup. */
int heads_lookup(struct heads *heads, uint64_t bytenr, uint64_t seq_max,
		 struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
	__attribute__((warn_unused_result));

/* The time that the oldest entry is not older than; UINT64_MAX for none. By threads enrolled with RCU. */
uint64_t heads_since(struct heads *heads);

#endif /* REFSTORM_DELAYED_HEADS_H */
