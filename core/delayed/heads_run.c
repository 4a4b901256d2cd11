/* SPDX-License-Identifier: MIT */
/* Running heads by ascending address, and taking out what has been run. By the caller's lock. */
#include <errno.h>
#include <string.h>

#include "core/base/plant.h"
#include "core/delayed/heads_merge.h"

/* Inputs of one part: those of its refs up to `roots`, those of its roots from there. */
struct runner_part {
	size_t first;
	size_t roots;
	size_t end;
	struct heads_lowest ref; /* of its refs, and of its roots */
	struct heads_lowest root;
	uint64_t bytenr; /* the next head's; UINT64_MAX for none */
};

struct runner {
	struct heads *heads;
	const struct store_run *order;
	uint64_t taken; /* entries that came out of runs */
	struct runner_part parts[DELTA_PARTS];
};

/* Adds the refs or the roots of all runs of the part. */
static int runner_part_add(struct runner *runner, struct heads_part *part, bool roots)
{
	struct heads_merge *merge = &runner->heads->scratch->merge;
	struct heads_run *run = heads_run_observe(&part->runs);

	for (; run; run = heads_run_observe(&run->next)) {
		size_t count = roots ? run->root_count : run->ref_count;

		if (count && run->seq_first <= runner->order->cut &&
		    heads_merge_add(merge, roots ? run->roots : run->refs, count, run,
				    (struct heads_done){ 0 }, runner->order->cut))
			return -ENOMEM;
	}
	return 0;
}

static void runner_part_next(struct runner_part *part)
{
	part->bytenr = part->ref.bytenr < part->root.bytenr ? part->ref.bytenr : part->root.bytenr;
}

static int runner_part_open(struct runner *runner, unsigned at)
{
	struct heads_merge *merge = &runner->heads->scratch->merge;
	struct runner_part *part = &runner->parts[at];

	part->first = merge->count;
	if (runner_part_add(runner, &runner->heads->parts[at], false))
		return -ENOMEM;
	part->roots = merge->count;
	if (runner_part_add(runner, &runner->heads->parts[at], true))
		return -ENOMEM;
	part->end = merge->count;
	part->ref = heads_merge_lowest(merge, part->first, part->roots);
	part->root = heads_merge_lowest(merge, part->roots, part->end);
	runner_part_next(part);
	return 0;
}

/* Entries of one key become one, whatever their numbers; those that net to nothing go. In place. */
static void runner_fold(struct heads_entries *entries)
{
	struct rs_delta *all = entries->at;
	size_t count = 0;
	size_t at;

	for (at = 0; at < entries->count; at++) {
		if (count && !delta_order(&all[count - 1], &all[at]) &&
		    delta_fold(&all[count - 1], &all[at]))
			continue;
		if (count && delta_is_empty(&all[count - 1]))
			count--;
		all[count++] = all[at];
	}
	if (count && delta_is_empty(&all[count - 1]))
		count--;
	entries->count = count;
}

/* The next extent's entries of some inputs, folded. NULL: no memory. */
static const struct rs_delta *runner_entries(struct runner *runner, struct heads_lowest lowest,
					     size_t end, struct heads_entries *room, size_t *count)
{
	struct heads_merge *merge = &runner->heads->scratch->merge;
	const struct rs_delta *entries;
	bool single;

	entries = heads_merge_extent(merge, lowest, end, room, count, &single);
	if (!entries)
		return NULL;
	runner->taken += *count;
	if (single)
		return entries;
	if (entries != room->at) {
		if (heads_entries_reserve(room, *count))
			return NULL;
		memcpy(room->at, entries, *count * sizeof(entries[0]));
	}
	room->count = *count;
	runner_fold(room);
	*count = room->count;
	return room->at;
}

/* Additions before drops: in place where they stand so already, else turned. NULL: no memory. */
static const struct rs_delta *runner_turn(struct heads_entries *room, const struct rs_delta *refs,
					  size_t count)
{
	size_t drops = 0;
	size_t late = 0; /* additions behind a drop */
	size_t to = 0;
	size_t at;

	for (at = 0; at < count; at++) {
		bool drop = refs[at].count < 0;

		drops += drop;
		late += !drop && drops;
	}
	if (!late)
		return refs;
	if (heads_entries_reserve(room, count))
		return NULL;
	for (at = 0; at < count; at++)
		if (refs[at].count >= 0)
			room->at[to++] = refs[at];
	for (at = 0; at < count; at++)
		if (refs[at].count < 0)
			room->at[to++] = refs[at];
	return room->at;
}

/* What stands in the array from which the head came, some entries behind it. */
static void runner_look_ahead(const struct heads_input *input, struct rs_head *head)
{
	static const ptrdiff_t entries[RS_HEAD_AHEAD] = { 32, 16, 8 };
	unsigned at;

	for (at = 0; at < RS_HEAD_AHEAD; at++)
		if (input->end - input->at > entries[at])
			head->ahead[at] = input->at[entries[at]].bytenr;
}

/* Puts together the next head of the part. 0 or -ENOMEM. */
static int runner_head(struct runner *runner, struct runner_part *part, struct rs_head *head)
{
	struct heads_scratch *scratch = runner->heads->scratch;
	struct heads_merge *merge = &scratch->merge;

	head->bytenr = part->bytenr;
	if (part->ref.bytenr == head->bytenr) {
		head->refs = runner_entries(runner, part->ref, part->roots, &scratch->refs,
					    &head->ref_count);
		if (!head->refs)
			return -ENOMEM;
		runner_look_ahead(&merge->inputs[part->ref.input], head);
		head->refs = runner_turn(&scratch->turned, head->refs, head->ref_count);
		if (!head->refs)
			return -ENOMEM;
		part->ref = heads_merge_lowest(merge, part->first, part->roots);
	}
	if (part->root.bytenr == head->bytenr) {
		head->roots = runner_entries(runner, part->root, part->end, &scratch->roots,
					     &head->root_count);
		if (!head->roots)
			return -ENOMEM;
		part->root = heads_merge_lowest(merge, part->roots, part->end);
	}
	return 0;
}

/* Runs the next head of the part. */
static int runner_step(struct runner *runner, struct runner_part *part, struct heads_part *done)
{
	struct heads *heads = runner->heads;
	const struct store_run *order = runner->order;
	struct rs_head head = { .transaction = order->transaction };
	uint64_t before = runner->taken;
	int result = runner_head(runner, part, &head);

	if (!result && head.ref_count + head.root_count) {
		/* HEADS.running: the heads before this one are marked. */
		order_own_store_release(&heads->running, head.bytenr);
		result = order->run(order->argument, &head);
		if (!result) {
			order->result->heads++;
			order->result->entries += head.ref_count + head.root_count;
		}
	}
	if (result) {
		runner->taken = before;
		return result;
	}
	/* HEADS.below: that nothing of this run was below it before. */
	order_own_store_release(&done->done_below, head.bytenr + 1);
	runner_part_next(part);
	return 0;
}

static unsigned runner_lowest(const struct runner *runner)
{
	unsigned lowest = 0;
	unsigned at;

	for (at = 1; at < DELTA_PARTS; at++)
		if (runner->parts[at].bytenr < runner->parts[lowest].bytenr)
			lowest = at;
	return lowest;
}

static int runner_run(struct runner *runner)
{
	unsigned at;

	while (runner->parts[at = runner_lowest(runner)].bytenr != UINT64_MAX) {
		struct runner_part *part = &runner->parts[at];
		uint64_t stripe = part->bytenr >> DELTA_STRIPE_BITS;

		/* The stripe is this part's alone, so that nothing lower is elsewhere before its end. */
		while (part->bytenr != UINT64_MAX && part->bytenr >> DELTA_STRIPE_BITS == stripe) {
			int result = runner_step(runner, part, &runner->heads->parts[at]);

			if (result)
				return result;
		}
	}
	return 0;
}

/* Copies what is not done of an array. */
static size_t runner_keep(const struct rs_delta *entries, size_t count, struct heads_done done,
			  struct rs_delta *to)
{
	size_t kept = 0;
	size_t at;

	for (at = 0; at < count; at++)
		if (!heads_is_done(done, &entries[at]))
			to[kept++] = entries[at];
	return kept;
}

/* Another of the run without what is done; `free` is where its entries go. */
static void runner_clone(const struct heads_run *run, struct heads_done done,
			 struct heads_block *block, struct heads_run *clone, struct rs_delta **free)
{
	*clone = *run;
	clone->block = block;
	if (run->seq_first > done.cut)
		return;
	clone->source = block;
	clone->refs = *free;
	clone->ref_count = runner_keep(run->refs, run->ref_count, done, *free);
	*free += clone->ref_count;
	clone->roots = *free;
	clone->root_count = runner_keep(run->roots, run->root_count, done, *free);
	*free += clone->root_count;
	if (done.below == UINT64_MAX)
		clone->seq_first = done.cut + 1;
}

/*
 * Takes what is done out of the part's list; what stays was not recorded before `since`. 0, or
 * -ENOMEM, and then the marks must stay.
 */
static int runner_purge(struct heads *heads, unsigned at, uint64_t since)
{
	struct heads_part *part = &heads->parts[at];
	struct heads_done done = heads_done(part);
	struct heads_run *first = heads_run_observe(&part->runs);
	struct heads_block *block = NULL;
	struct heads_run *chain = NULL;
	struct heads_run *run;
	order_ptr *tail = NULL;
	struct rs_delta *free = NULL;
	size_t capacity = 0;
	unsigned runs = 0;

	while (first && first->seq_first > done.cut)
		first = heads_run_observe(&first->next);
	for (run = first; run; run = heads_run_observe(&run->next)) {
		bool gone = run->seq_last <= done.cut && done.below == UINT64_MAX;

		runs += !gone;
		capacity += !gone && run->seq_first <= done.cut ? heads_run_entries(run) : 0;
	}
	if (runs) {
		block = heads_block_create(heads, runs, capacity);
		if (!block)
			return -ENOMEM;
		free = block->entries;
	}
	for (run = first, runs = 0; run && block; run = heads_run_observe(&run->next)) {
		struct heads_run *clone = &block->runs[runs];

		if (run->seq_last <= done.cut && done.below == UINT64_MAX)
			continue;
		runner_clone(run, done, block, clone, &free);
		clone->since = since > run->since ? since : run->since;
		if (!heads_run_entries(clone))
			continue;
		runs++;
		heads_run_use(clone);
		/* Relaxed, both: published with the chain. */
		order_store_relaxed(&clone->next, NULL);
		if (tail)
			order_store_relaxed(tail, clone);
		else
			chain = clone;
		tail = &clone->next;
	}
	/* HEADS.turn: with the list that it leaves behind, for look-ups that are in it. */
	order_own_store_release(&part->turn, order_load_relaxed(&part->turn) + 1);
	if (first)
		heads_swap(part, first, NULL, chain);
	if (block && !chain)
		heads_block_discard(block);
	heads_done_clear(part);
	return 0;
}

/* What an earlier run left behind, for want of memory or since its runner failed. */
static int runner_purge_all(struct heads *heads)
{
	unsigned at;

	for (at = 0; at < DELTA_PARTS; at++)
		if (heads_done(&heads->parts[at]).below && runner_purge(heads, at, 0))
			return -ENOMEM;
	return 0;
}

static void runner_count(struct runner *runner, uint64_t entries)
{
	struct heads *heads = runner->heads;

	/* Relaxed, all of them: sums; what is pending last, so that together they are never too few. */
	order_fetch_add_relaxed(&heads->run, entries);
	order_fetch_add_relaxed(&heads->merged, runner->taken - entries);
	order_fetch_sub_relaxed(&heads->entries, runner->taken);
}

int heads_run(struct heads *heads, const struct store_run *order)
{
	struct runner runner = { .heads = heads, .order = order };
	uint64_t before = order->result->entries;
	unsigned at;
	int result = runner_purge_all(heads);

	heads->scratch->merge.count = 0;
	for (at = 0; at < DELTA_PARTS && !result; at++)
		result = runner_part_open(&runner, at);
	if (result)
		return result;
	for (at = 0; at < DELTA_PARTS; at++)
		/* HEADS.cut: that nothing is marked. */
		order_own_store_release(&heads->parts[at].done_cut, order->cut);
	result = runner_run(&runner);
	runner_count(&runner, order->result->entries - before);
	for (at = 0; at < DELTA_PARTS && !result; at++) {
		/* HEADS.below: all that the cut covers. */
		order_own_store_release(&heads->parts[at].done_below, UINT64_MAX);
		/* Without memory the marks stay, and the next run begins with this. */
		(void)!runner_purge(heads, at, order->since);
	}
	/* HEADS.running: all heads up to the last one are marked. */
	order_own_store_release(&heads->running, HEADS_NONE);
	return result;
}
