/* SPDX-License-Identifier: MIT */
#include "core/delayed/heads.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/base/tally.h"
#include "core/delayed/head.h"
#include "core/delayed/heads_impl.h"
#include "core/delayed/heads_merge.h"

int heads_init(struct heads *heads, struct block_cache *cache)
{
	memset(heads, 0, sizeof(*heads));
	heads->cache = cache;
	/* Relaxed: before anybody uses it. */
	order_store_relaxed(&heads->running, HEADS_NONE);
	heads->scratch = alloc_zeroed(1, sizeof(*heads->scratch));
	return heads->scratch ? 0 : -ENOMEM;
}

void heads_destroy(struct heads *heads)
{
	unsigned part;

	for (part = 0; part < DELTA_PARTS && heads->scratch; part++) {
		struct heads_run *run = heads_run_observe(&heads->parts[part].runs);

		while (run) {
			struct heads_run *next = heads_run_observe(&run->next);

			heads_run_retire(run);
			run = next;
		}
	}
	heads_scratch_destroy(heads->scratch);
	alloc_free(heads->scratch);
}

struct heads_block *heads_block_create(struct heads *heads, unsigned runs, size_t capacity)
{
	size_t front = sizeof(struct heads_block) + runs * sizeof(struct heads_run);
	struct heads_block *block;
	size_t bytes;

	front += ORDER_LINE - front % ORDER_LINE;
	if (__builtin_mul_overflow(capacity, sizeof(struct rs_delta), &bytes) ||
	    __builtin_add_overflow(bytes, front, &bytes))
		return NULL;
	block = block_get(heads->cache, bytes);
	if (!block)
		return NULL;
	memset(block, 0, front);
	block->cache = heads->cache;
	block->entries = (struct rs_delta *)((char *)block + front);
	return block;
}

struct rs_delta *heads_block_entries(struct heads_block *block)
{
	return block->entries;
}

void heads_block_discard(struct heads_block *block)
{
	block_put(block->cache, block);
}

static void heads_block_free(struct rcu_deferred *deferred)
{
	/* `deferred` is the first member. */
	heads_block_discard((struct heads_block *)deferred);
}

void heads_run_use(struct heads_run *run)
{
	run->block->uses++;
	run->source->uses++;
}

static void heads_block_unuse(struct heads_block *block)
{
	if (!--block->uses)
		rcu_defer(&block->deferred, heads_block_free);
}

void heads_run_retire(struct heads_run *run)
{
	struct heads_block *source = run->source;

	heads_block_unuse(run->block);
	heads_block_unuse(source);
}

void heads_swap(struct heads_part *part, struct heads_run *first, struct heads_run *stop,
		struct heads_run *chain)
{
	void *head = first;
	struct heads_run *run;

	window_pass("heads.swapping");
	/* HEADS.run: the runs and their entries; sees what was pushed instead. */
	if (!order_cas_acq_rel(&part->runs, &head, chain)) {
		for (run = head; heads_run_observe(&run->next) != first;)
			run = heads_run_observe(&run->next);
		/* HEADS.run: the runs and their entries. */
		order_store_release(&run->next, chain);
	}
	while (first != stop) {
		run = first;
		first = heads_run_observe(&run->next);
		heads_run_retire(run);
	}
}

void heads_done_clear(struct heads_part *part)
{
	/* HEADS.below: what was done is not in the list. */
	order_own_store_release(&part->done_below, 0);
}

/* A push never looks at what is behind it, so that it needs no RCU section. */
static void heads_push(struct heads_part *part, struct heads_run *run)
{
	/* Relaxed: compared by the exchange. */
	void *head = order_load_relaxed(&part->runs);

	do
		/* Relaxed: published by the exchange. */
		order_store_relaxed(&run->next, head);
	/* HEADS.run: the run and its entries; what is behind was published by its pusher. */
	while (!order_cas_weak_acq_rel(&part->runs, &head, run) && tally_retry(TALLY_HEADS_PUSH));
}

/* The part's share of the result becomes a run of the block. True if it has any. */
static bool heads_install_prepare(struct heads_block *block, const struct batch_result *result,
				  unsigned part, uint64_t since)
{
	struct heads_run *run = &block->runs[part];

	run->refs = result->refs + result->ref_begin[part];
	run->ref_count = result->ref_begin[part + 1] - result->ref_begin[part];
	run->roots = result->roots + result->root_begin[part];
	run->root_count = result->root_begin[part + 1] - result->root_begin[part];
	run->since = since;
	run->seq_first = result->seq_first;
	run->seq_last = result->seq_last;
	run->block = block;
	run->source = block;
	if (!heads_run_entries(run))
		return false;
	heads_run_use(run);
	return true;
}

void heads_install(struct heads *heads, struct heads_block *block,
		   const struct batch_result *result, uint64_t since)
{
	unsigned left = 0;
	unsigned part;

	/* Relaxed, both: sums; entries first, so that they do not fall below 0. */
	order_fetch_add_relaxed(&heads->entries,
				result->ref_begin[DELTA_PARTS] + result->root_begin[DELTA_PARTS]);
	order_fetch_add_relaxed(&heads->merged, result->merged);
	for (part = 0; part < DELTA_PARTS; part++)
		left += heads_install_prepare(block, result, part, since);
	if (!left) {
		heads_block_discard(block);
		return;
	}
	/* Once its last run has been pushed, the block may go at any time. */
	for (part = 0; left; part++) {
		if (!heads_run_entries(&block->runs[part]))
			continue;
		left--;
		window_pass("heads.installing");
		heads_push(&heads->parts[part], &block->runs[part]);
	}
	/* Relaxed: a hint. */
	order_fetch_add_relaxed(&heads->installs, 1);
}

size_t heads_entries_find(const struct rs_delta *entries, size_t count, uint64_t bytenr)
{
	size_t first = 0;

	while (count) {
		size_t half = count / 2;
		bool below = entries[first + half].bytenr < bytenr;

		first = below ? first + half + 1 : first;
		count = below ? count - half - 1 : half;
	}
	return first;
}

static void heads_gather(struct head_gather *gather, const struct rs_delta *entries, size_t count,
			 uint64_t bytenr, struct heads_done done, uint64_t seq_max)
{
	size_t at = heads_entries_find(entries, count, bytenr);

	for (; at < count && entries[at].bytenr == bytenr; at++)
		if (rs_delta_seq(&entries[at]) <= seq_max && !heads_is_done(done, &entries[at]))
			head_gather_take(gather, &entries[at]);
}

/* What a look-up goes by; if it is the same after the walk, the walk saw one state. */
struct heads_marks {
	uint64_t turn;
	struct heads_done done;
};

static struct heads_marks heads_marks(const struct heads_part *part)
{
	struct heads_marks marks;

	/* HEADS.turn: the list is that of this turn or a later one. */
	marks.turn = order_load_acquire(&part->turn);
	/* HEADS.cut: the address is not that of an earlier run. */
	marks.done.cut = order_load_acquire(&part->done_cut);
	window_pass("heads.looking");
	/* HEADS.below: what it does not cover is not in the list, or has not been run. */
	marks.done.below = order_load_acquire(&part->done_below);
	return marks;
}

/* Nothing of the extent was run, and no run was taken out, between the two. */
static bool heads_marks_same(struct heads_marks a, struct heads_marks b, uint64_t bytenr)
{
	return a.turn == b.turn && a.done.cut == b.done.cut &&
	       (bytenr < a.done.below) == (bytenr < b.done.below);
}

int heads_lookup(struct heads *heads, uint64_t bytenr, uint64_t seq_max,
		 struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity)
{
	struct heads_part *part = &heads->parts[delta_part(bytenr)];
	struct heads_marks marks;
	struct head_gather gather;
	struct heads_run *run;
	bool running;

	rcu_section_enter();
	/* HEADS.running: heads run before it are marked. */
	running = order_load_acquire(&heads->running) == bytenr;
	/* Ends: each turn more is a step of a run meanwhile, of three that it has for one extent. */
	do {
		marks = heads_marks(part);
		head_gather_init(&gather, pending, entries, capacity);
		run = heads_run_observe(&part->runs);
		for (; run; run = heads_run_observe(&run->next)) {
			window_pass("heads.looking");
			heads_gather(&gather, run->refs, run->ref_count, bytenr, marks.done,
				     seq_max);
			heads_gather(&gather, run->roots, run->root_count, bytenr, marks.done,
				     seq_max);
		}
	} while (!heads_marks_same(marks, heads_marks(part), bytenr));
	/* HEADS.running: the head may have been taken up meanwhile. */
	running = running || order_load_acquire(&heads->running) == bytenr;
	rcu_section_exit();
	pending->running = running;
	return head_gather_finish(&gather);
}

uint64_t heads_since(struct heads *heads)
{
	uint64_t since = UINT64_MAX;
	unsigned part;

	rcu_section_enter();
	for (part = 0; part < DELTA_PARTS; part++) {
		struct heads_run *run = heads_run_observe(&heads->parts[part].runs);

		for (; run; run = heads_run_observe(&run->next))
			since = run->since < since ? run->since : since;
	}
	rcu_section_exit();
	return since;
}
