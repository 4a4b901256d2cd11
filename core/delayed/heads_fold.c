/* SPDX-License-Identifier: MIT */
/* Folding runs of heads into fewer. By the caller's lock. */
#include <errno.h>

#include "core/delayed/heads_merge.h"

/* Runs of one part, `first` up to, not including, `stop`. */
struct fold_part {
	struct heads_run *first;
	struct heads_run *stop;
	size_t entries; /* at most, in what comes out; 0: nothing to be done */
};

struct fold {
	struct heads *heads;
	const struct sequence_groups *groups;
	struct heads_block *block;
	struct rs_delta *free; /* in the block */
	size_t dropped;        /* entries that were folded into others, or cancelled */
	struct fold_part parts[DELTA_PARTS];
};

static void fold_put(struct fold *fold, struct heads_run *run, const struct rs_delta *entry)
{
	uint64_t seq = rs_delta_seq(entry);

	if (delta_is_empty(entry)) {
		fold->dropped++;
		return;
	}
	run->seq_first = seq < run->seq_first ? seq : run->seq_first;
	run->seq_last = seq > run->seq_last ? seq : run->seq_last;
	*fold->free++ = *entry;
}

/* Sorted entries of one extent: those of one key and one group become one. */
static void fold_extent(struct fold *fold, struct heads_run *run, const struct rs_delta *entries,
			size_t count)
{
	struct rs_delta open;
	size_t at;

	for (at = 0; at < count; at++) {
		struct rs_delta entry = entries[at];

		entry.seq_type = sequence_group(fold->groups, rs_delta_seq(&entry)) << 8 |
				 (entry.seq_type & 0xff);
		if (at && entry.seq_type == open.seq_type && !delta_order(&open, &entry) &&
		    delta_fold(&open, &entry)) {
			fold->dropped++;
			continue;
		}
		if (at)
			fold_put(fold, run, &open);
		open = entry;
	}
	if (count)
		fold_put(fold, run, &open);
}

/* Folds the refs, or the roots, of a part's runs into the block. */
static int fold_kind(struct fold *fold, const struct fold_part *part, struct heads_done done,
		     bool roots, struct heads_run *into)
{
	struct heads_scratch *scratch = fold->heads->scratch;
	struct heads_merge *merge = &scratch->merge;
	struct heads_lowest lowest;
	struct heads_run *run;

	merge->count = 0;
	for (run = part->first; run != part->stop; run = heads_run_observe(&run->next)) {
		size_t count = roots ? run->root_count : run->ref_count;

		if (count && heads_merge_add(merge, roots ? run->roots : run->refs, count, run,
					     done, DELTA_SEQ_MAX))
			return -ENOMEM;
	}
	*(roots ? &into->roots : &into->refs) = fold->free;
	for (;;) {
		const struct rs_delta *entries;
		size_t count;
		bool single;

		lowest = heads_merge_lowest(merge, 0, merge->count);
		if (lowest.bytenr == UINT64_MAX)
			break;
		entries = heads_merge_extent(merge, lowest, merge->count, &scratch->refs, &count,
					     &single);
		if (!entries)
			return -ENOMEM;
		fold_extent(fold, into, entries, count);
	}
	*(roots ? &into->root_count : &into->ref_count) =
		(size_t)(fold->free - (roots ? into->roots : into->refs));
	return 0;
}

static int fold_one(struct fold *fold, unsigned at)
{
	const struct fold_part *part = &fold->parts[at];
	struct heads_done done = heads_done(&fold->heads->parts[at]);
	struct heads_run *into = &fold->block->runs[at];
	struct heads_run *run;

	into->block = fold->block;
	into->source = fold->block;
	into->since = UINT64_MAX;
	into->seq_first = UINT64_MAX;
	for (run = part->first; run != part->stop; run = heads_run_observe(&run->next))
		into->since = run->since < into->since ? run->since : into->since;
	if (fold_kind(fold, part, done, false, into) || fold_kind(fold, part, done, true, into))
		return -ENOMEM;
	return 0;
}

/* Takes what was folded into the list. */
static void fold_commit(struct fold *fold, unsigned at)
{
	const struct fold_part *part = &fold->parts[at];
	struct heads_run *into = &fold->block->runs[at];
	struct heads_run *chain = part->stop;

	if (heads_run_entries(into)) {
		/* Relaxed: published with the chain. */
		order_store_relaxed(&into->next, chain);
		chain = into;
	}
	heads_swap(&fold->heads->parts[at], part->first, part->stop, chain);
}

static int fold_all(struct fold *fold)
{
	size_t capacity = 0;
	unsigned used = 0;
	unsigned at;

	for (at = 0; at < DELTA_PARTS; at++)
		capacity += fold->parts[at].entries;
	if (!capacity)
		return 0;
	fold->block = heads_block_create(fold->heads, DELTA_PARTS, capacity);
	if (!fold->block)
		return -ENOMEM;
	fold->free = fold->block->entries;
	for (at = 0; at < DELTA_PARTS; at++) {
		if (fold->parts[at].entries && fold_one(fold, at)) {
			heads_block_discard(fold->block);
			return -ENOMEM;
		}
	}
	for (at = 0; at < DELTA_PARTS; at++) {
		if (!heads_run_entries(&fold->block->runs[at]))
			continue;
		heads_run_use(&fold->block->runs[at]);
		used++;
	}
	for (at = 0; at < DELTA_PARTS; at++)
		if (fold->parts[at].entries)
			fold_commit(fold, at);
	if (!used)
		heads_block_discard(fold->block);
	/* Relaxed, both: sums; merged first, so that together they are never too few. */
	order_fetch_add_relaxed(&fold->heads->merged, fold->dropped);
	order_fetch_sub_relaxed(&fold->heads->entries, fold->dropped);
	return 0;
}

/*
 * From the first run as far as the last one that is not larger than all before it: so each entry is
 * folded log(n) times, and as many runs stay.
 */
static void fold_choose(struct fold_part *part)
{
	size_t before = heads_run_entries(part->first);
	struct heads_run *run = heads_run_observe(&part->first->next);

	part->stop = run;
	for (; run; run = heads_run_observe(&run->next)) {
		bool larger = heads_run_entries(run) > before;

		before += heads_run_entries(run);
		if (larger)
			continue;
		part->entries = before;
		part->stop = heads_run_observe(&run->next);
	}
}

int heads_fold(struct heads *heads, const struct sequence_groups *groups)
{
	struct fold fold = { .heads = heads, .groups = groups };
	unsigned at;

	/* Relaxed: a hint. */
	order_store_relaxed(&heads->installs, 0);
	for (at = 0; at < DELTA_PARTS; at++) {
		struct fold_part *part = &fold.parts[at];

		part->first = heads_run_observe(&heads->parts[at].runs);
		if (part->first)
			fold_choose(part);
	}
	return fold_all(&fold);
}
