// SPDX-License-Identifier: MIT
/* Words that a rescan makes. */
#include <errno.h>

#include "core/qgroup/live_ledger_impl.h"

/* The sets have room for more when they settle; what a rescan makes can be all of them. */
#define WORDS_SETTLE 1024U

int live_ledger_set_of(struct live_ledger *ledger, uint64_t root, uint32_t *set)
{
	uint32_t element = live_roots_find(ledger, root);

	if (element == LINEAGE_NONE)
		return -ENOENT;
	return live_sets_toggle(ledger->sets, LIVE_SET_EMPTY, element, set);
}

/* Layers of a word, with those of the same word `times` higher. */
struct lift {
	struct live_cursor plain;
	struct live_cursor lifted;
	struct live_layer low;  /* where the first is; upto UINT32_MAX and empty behind its end */
	struct live_layer high; /* where the second is; `all` up to `times` */
	uint32_t times;
	bool all;
};

static void lift_low(struct lift *lift)
{
	if (!live_cursor_next(&lift->plain, &lift->low))
		lift->low = (struct live_layer){ UINT32_MAX, LIVE_SET_EMPTY };
}

/* False: more references than can be counted. */
static bool lift_high(struct lift *lift)
{
	lift->all = false;
	if (!live_cursor_next(&lift->lifted, &lift->high))
		lift->high = (struct live_layer){ UINT32_MAX, LIVE_SET_EMPTY };
	else if (__builtin_add_overflow(lift->high.upto, lift->times, &lift->high.upto) ||
		 lift->high.upto > LIVE_COUNT_MAX)
		return false;
	return true;
}

/*
 * A root of `set` references the extent k times now if it did k - times before: layer k is what
 * it was, and what layer k - times shares with `set`.
 */
static int lift_take(struct live_worker *worker, struct lift *lift, uint32_t set)
{
	struct live_sets *sets = worker->ledger->sets;
	struct live_stack *stack = &worker->stack;
	uint32_t more = set;
	int ret;

	while (lift->low.upto != UINT32_MAX || lift->high.upto != UINT32_MAX) {
		struct live_layer *layer;

		if (live_stack_reserve(stack, 1))
			return -ENOMEM;
		layer = &stack->layers[stack->count++];
		layer->upto = lift->low.upto < lift->high.upto ? lift->low.upto : lift->high.upto;
		ret = lift->all ? 0 : live_sets_meet(sets, lift->high.set, set, &more);
		if (!ret)
			ret = live_sets_join(sets, lift->low.set, more, &layer->set);
		if (ret)
			return ret;
		if (lift->low.upto == layer->upto)
			lift_low(lift);
		if (lift->high.upto == layer->upto && !lift_high(lift))
			return -E2BIG;
	}
	live_stack_trim(stack);
	return 0;
}

int live_ledger_word_add(struct live_ledger *ledger, uint32_t *word, uint32_t set, uint32_t times)
{
	struct live_worker *worker = &ledger->workers[0];
	struct lift lift = { .times = times, .all = true };
	int ret;

	if (set == LIVE_SET_EMPTY || !times)
		return 0;
	if (++ledger->words_made % WORDS_SETTLE == 0) {
		ret = live_sets_settle(ledger->sets);
		if (ret)
			return ret;
	}
	if (*word == LIVE_WORD_NONE && times == 1) {
		live_sets_hold(ledger->sets, set, 1);
		*word = set;
		return 0;
	}
	if (times > LIVE_COUNT_MAX)
		return -E2BIG;
	live_cursor_begin(&lift.plain, ledger, *word);
	live_cursor_begin(&lift.lifted, ledger, *word);
	lift.high.upto = times;
	lift_low(&lift);
	worker->stack.count = 0;
	ret = lift_take(worker, &lift, set);
	if (!ret)
		ret = live_stack_store(worker, word);
	if (!ret)
		live_worker_settle(worker);
	return ret;
}

void live_ledger_word_drop(struct live_ledger *ledger, uint32_t word)
{
	live_word_forget(&ledger->workers[0], word);
}

bool live_ledger_word_same(const struct live_ledger *ledger, uint32_t a, uint32_t b)
{
	struct live_cursor cursors[2];
	struct live_layer layers[2];

	live_cursor_begin(&cursors[0], ledger, a);
	live_cursor_begin(&cursors[1], ledger, b);
	for (;;) {
		bool more = live_cursor_next(&cursors[0], &layers[0]);

		if (live_cursor_next(&cursors[1], &layers[1]) != more)
			return false;
		if (!more)
			return true;
		if (layers[0].upto != layers[1].upto || layers[0].set != layers[1].set)
			return false;
	}
}

uint32_t live_ledger_word_set(const struct live_ledger *ledger, uint32_t word)
{
	struct live_cursor cursor;
	struct live_layer layer;

	live_cursor_begin(&cursor, ledger, word);
	return live_cursor_next(&cursor, &layer) ? layer.set : LIVE_SET_EMPTY;
}

static void set_move(struct live_ledger *ledger, uint32_t set, int64_t bytes, bool metadata)
{
	struct live_set *found;

	set = live_sets_find(ledger->sets, set);
	if (set == LIVE_SET_EMPTY)
		return;
	found = live_set_at(ledger->sets, set);
	if (metadata)
		found->metadata += (uint64_t)bytes;
	else
		found->data += (uint64_t)bytes;
}

void live_ledger_move(struct live_ledger *ledger, uint32_t from, uint32_t to, uint64_t bytes,
		      bool metadata)
{
	set_move(ledger, from, -(int64_t)bytes, metadata);
	set_move(ledger, to, (int64_t)bytes, metadata);
}
