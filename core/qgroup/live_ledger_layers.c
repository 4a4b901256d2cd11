// SPDX-License-Identifier: MIT
/* Words: layers are read from one, worked on in a stack, and stored in one. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/plant.h"
#include "core/qgroup/live_ledger_impl.h"

static struct live_layers *record_at(const struct live_ledger *ledger, uint32_t number)
{
	return (struct live_layers *)segments_at(&ledger->records, number);
}

static const struct live_layer *record_layers(const struct live_layers *record)
{
	return record->count > LIVE_LAYERS_INSIDE ? record->many : record->few;
}

void live_cursor_begin(struct live_cursor *cursor, const struct live_ledger *ledger, uint32_t word)
{
	cursor->ledger = ledger;
	cursor->at = 0;
	if (word & LIVE_WORD_LAYERED) {
		const struct live_layers *record = record_at(ledger, word & ~LIVE_WORD_LAYERED);

		cursor->layers = record_layers(record);
		cursor->count = record->count;
		return;
	}
	cursor->plain = (struct live_layer){ .upto = 1, .set = word };
	cursor->layers = &cursor->plain;
	cursor->count = word != LIVE_WORD_NONE;
}

static uint32_t cursor_set(const struct live_cursor *cursor)
{
	uint32_t set = cursor->layers[cursor->at].set;

	return plant_armed("ledger.forward-ignored") ? set :
						       live_sets_find(cursor->ledger->sets, set);
}

bool live_cursor_next(struct live_cursor *cursor, struct live_layer *layer)
{
	if (cursor->at == cursor->count)
		return false;
	layer->set = cursor_set(cursor);
	/* Each layer is inside the one before it: behind an empty one all are. */
	if (layer->set == LIVE_SET_EMPTY)
		return false;
	do {
		layer->upto = cursor->layers[cursor->at++].upto;
	} while (cursor->at < cursor->count && cursor_set(cursor) == layer->set);
	return true;
}

int live_stack_reserve(struct live_stack *stack, size_t more)
{
	struct live_layer *larger =
		array_grow(stack->layers, stack->count, more, &stack->capacity, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	stack->layers = larger;
	return 0;
}

int live_stack_load(struct live_worker *worker, uint32_t word)
{
	struct live_stack *stack = &worker->stack;
	struct live_cursor cursor;
	int ret;

	live_cursor_begin(&cursor, worker->ledger, word);
	stack->count = 0;
	ret = live_stack_reserve(stack, (size_t)cursor.count + 1);
	if (ret)
		return ret;
	while (live_cursor_next(&cursor, &stack->layers[stack->count]))
		stack->count++;
	return 0;
}

void live_stack_trim(struct live_stack *stack)
{
	struct live_layer *layers = stack->layers;
	size_t count = 0;
	size_t at;

	for (at = 0; at < stack->count && layers[at].set != LIVE_SET_EMPTY; at++) {
		if (count && layers[count - 1].set == layers[at].set)
			count--;
		layers[count++] = layers[at];
	}
	stack->count = count;
}

/* Of those that the phase found unused. 0: none is left. */
static uint32_t record_pop(struct live_ledger *ledger)
{
	/*
	 * Relaxed: the list was made before the phase, in which records are only taken from it; the
	 * exchange fails where somebody else has taken the first, whose `next` may be anything
	 * then.
	 */
	uint32_t first = order_load_relaxed(&ledger->unused);

	while (first) {
		struct live_layers *record = record_at(ledger, first - 1);

		/* Ends: a failed exchange means that another worker has got a record. */
		if (order_cas_weak_relaxed(&ledger->unused, &first,
					   order_load_relaxed(&record->next)))
			break;
	}
	return first;
}

static int record_take(struct live_worker *worker, uint32_t *number)
{
	uint32_t first = worker->given_first;

	if (first) {
		/* Relaxed, of `next`: the worker's own list. */
		worker->given_first =
			order_load_relaxed(&record_at(worker->ledger, first - 1)->next);
		*number = first - 1;
		return 0;
	}
	first = record_pop(worker->ledger);
	if (first) {
		*number = first - 1;
		return 0;
	}
	return segments_reserve(&worker->ledger->records, number);
}

static void record_empty(struct live_worker *worker, struct live_layers *record)
{
	if (record->count > LIVE_LAYERS_INSIDE) {
		worker->layer_bytes -= (int64_t)(record->count * sizeof(*record->many));
		alloc_free(record->many);
	}
	record->count = 0;
}

static void record_give(struct live_worker *worker, uint32_t number)
{
	struct live_layers *record = record_at(worker->ledger, number);

	record_empty(worker, record);
	/* Relaxed: the worker's own list. */
	order_store_relaxed(&record->next, worker->given_first);
	if (!worker->given_first)
		worker->given_last = number + 1;
	worker->given_first = number + 1;
	worker->layered--;
}

/* The record, emptied, gets what is in the stack; `many` is room for that, where it is needed. */
static void record_fill(struct live_worker *worker, struct live_layers *record,
			struct live_layer *many)
{
	const struct live_stack *stack = &worker->stack;

	record_empty(worker, record);
	record->count = (uint32_t)stack->count;
	if (many) {
		record->many = many;
		worker->layer_bytes += (int64_t)(stack->count * sizeof(*many));
	}
	memcpy(many ? many : record->few, stack->layers, stack->count * sizeof(*many));
}

int live_holds_reserve(struct live_worker *worker, size_t more)
{
	struct live_hold *larger = array_grow(worker->holds, worker->hold_count, more,
					      &worker->hold_capacity, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	worker->holds = larger;
	return 0;
}

/* Each set that the word names, forwarding or not; there is room. */
static void word_release(struct live_worker *worker, uint32_t word)
{
	const struct live_layers *record;
	uint32_t at;

	if (!(word & LIVE_WORD_LAYERED)) {
		live_hold_add(worker, word, -1);
		return;
	}
	record = record_at(worker->ledger, word & ~LIVE_WORD_LAYERED);
	for (at = 0; at < record->count; at++)
		live_hold_add(worker, record_layers(record)[at].set, -1);
}

static size_t word_names(const struct live_ledger *ledger, uint32_t word)
{
	return word & LIVE_WORD_LAYERED ? record_at(ledger, word & ~LIVE_WORD_LAYERED)->count : 1;
}

/* With a record, which is the word's own or a fresh one. */
static int stack_store_layered(struct live_worker *worker, uint32_t *word)
{
	const struct live_stack *stack = &worker->stack;
	struct live_layer *many = NULL;
	uint32_t number = *word & ~LIVE_WORD_LAYERED;

	if (stack->count > LIVE_LAYERS_INSIDE) {
		many = alloc_array(stack->count, sizeof(*many));
		if (!many)
			return -ENOMEM;
	}
	if (!(*word & LIVE_WORD_LAYERED)) {
		int ret = record_take(worker, &number);

		if (ret) {
			alloc_free(many);
			return ret;
		}
		worker->layered++;
	}
	word_release(worker, *word);
	record_fill(worker, record_at(worker->ledger, number), many);
	*word = LIVE_WORD_LAYERED | number;
	return 0;
}

int live_stack_store(struct live_worker *worker, uint32_t *word)
{
	const struct live_stack *stack = &worker->stack;
	size_t at;
	int ret = live_holds_reserve(worker, word_names(worker->ledger, *word) + stack->count);

	if (ret)
		return ret;
	if (stack->count > 1 || (stack->count && stack->layers[0].upto > 1)) {
		ret = stack_store_layered(worker, word);
		if (ret)
			return ret;
	} else {
		word_release(worker, *word);
		if (*word & LIVE_WORD_LAYERED)
			record_give(worker, *word & ~LIVE_WORD_LAYERED);
		*word = stack->count ? stack->layers[0].set : LIVE_WORD_NONE;
	}
	for (at = 0; at < stack->count; at++)
		live_hold_add(worker, stack->layers[at].set, 1);
	return 0;
}

void live_word_forget(struct live_worker *worker, uint32_t word)
{
	const struct live_layers *record;
	uint32_t at;

	if (!(word & LIVE_WORD_LAYERED)) {
		live_sets_hold(worker->ledger->sets, word, -1);
		return;
	}
	record = record_at(worker->ledger, word & ~LIVE_WORD_LAYERED);
	for (at = 0; at < record->count; at++)
		live_sets_hold(worker->ledger->sets, record_layers(record)[at].set, -1);
	record_give(worker, word & ~LIVE_WORD_LAYERED);
	live_worker_settle(worker);
}

void live_worker_settle(struct live_worker *worker)
{
	struct live_ledger *ledger = worker->ledger;
	size_t at;

	/*
	 * No set loses more than it had or has got meanwhile, in whichever order: what is lost
	 * was named before.
	 */
	for (at = 0; at < worker->hold_count; at++)
		live_sets_hold(ledger->sets, worker->holds[at].set, worker->holds[at].change);
	worker->hold_count = 0;
	if (worker->given_first) {
		struct live_layers *last = record_at(ledger, worker->given_last - 1);

		/* Relaxed: outside of phases. */
		order_store_relaxed(&last->next, order_load_relaxed(&ledger->unused));
		order_store_relaxed(&ledger->unused, worker->given_first);
		worker->given_first = 0;
	}
	ledger->layered += (uint64_t)worker->layered;
	ledger->layer_bytes += (uint64_t)worker->layer_bytes;
	worker->layered = 0;
	worker->layer_bytes = 0;
}

void live_layers_clear(struct live_ledger *ledger)
{
	uint32_t number;
	uint32_t at;

	for (number = 0; number < segments_used(&ledger->records); number++)
		record_empty(&ledger->workers[0], record_at(ledger, number));
	segments_destroy(&ledger->records);
	segments_init(&ledger->records, sizeof(struct live_layers), LIVE_LAYERS_MAX);
	order_store_relaxed(&ledger->unused, 0); /* relaxed: outside of phases */
	for (at = 0; at < ledger->worker_count; at++) {
		ledger->workers[at].given_first = 0;
		ledger->workers[at].hold_count = 0;
		ledger->workers[at].layered = 0;
		ledger->workers[at].layer_bytes = 0;
	}
	ledger->layered = 0;
	ledger->layer_bytes = 0;
}
