// SPDX-License-Identifier: MIT
/* Any change of one extent: several roots, several layers, none left. */
#include <errno.h>
#include <stdlib.h>

#include "core/base/array.h"
#include "core/base/plant.h"
#include "core/qgroup/live_ledger_impl.h"

#define STEPS_INSERTED 24U /* up to here insertion is quicker */

static void fault_set(struct live_worker *worker, const struct live_fault *fault)
{
	if (worker->fault.kind == LIVE_FAULT_NONE || fault->at < worker->fault.at)
		worker->fault = *fault;
}

static int step_compare(const void *a, const void *b)
{
	const struct live_step *first = (const struct live_step *)a;
	const struct live_step *second = (const struct live_step *)b;

	return (first->label > second->label) - (first->label < second->label);
}

/* In the order of the lineage, so that the sets on the way are runs. */
static void steps_sort(struct live_step *steps, size_t count)
{
	size_t at;

	if (count > STEPS_INSERTED) {
		qsort(steps, count, sizeof(*steps), step_compare);
		return;
	}
	for (at = 1; at < count; at++) {
		struct live_step step = steps[at];
		size_t to = at;

		for (; to && steps[to - 1].label > step.label; to--)
			steps[to] = steps[to - 1];
		steps[to] = step;
	}
}

static int steps_load(struct live_worker *worker, const struct live_delta *deltas, size_t count)
{
	const struct lineage *lineage = &worker->ledger->lineage;
	struct live_step *steps =
		array_grow(worker->steps, 0, count, &worker->step_capacity, sizeof(*steps));
	struct live_pass *passes =
		array_grow(worker->passes, 0, count, &worker->pass_capacity, sizeof(*passes));
	size_t at;

	if (steps)
		worker->steps = steps;
	if (passes)
		worker->passes = passes;
	if (count && (!steps || !passes))
		return -ENOMEM;
	for (at = 0; at < count; at++) {
		uint32_t element = live_worker_element(worker, deltas[at].root);

		steps[at] = (struct live_step){
			.label = lineage->elements[element].label,
			.root = deltas[at].root,
			.count = deltas[at].count,
			.element = element,
		};
	}
	steps_sort(steps, count);
	worker->pass_count = 0;
	return 0;
}

/* How many layers have the root: these come first, since each is inside the one before it. */
static uint32_t stack_count(const struct live_worker *worker, uint32_t element)
{
	const struct live_stack *stack = &worker->stack;
	uint32_t count = 0;
	size_t at;

	for (at = 0; at < stack->count; at++) {
		if (!live_sets_has(worker->ledger->sets, stack->layers[at].set, element))
			break;
		count = stack->layers[at].upto;
	}
	return count;
}

/* One layer ends at `upto`, where there is room for one more. */
static void stack_split(struct live_stack *stack, uint32_t upto)
{
	struct live_layer *layers = stack->layers;
	size_t at = 0;
	size_t move;

	while (at < stack->count && layers[at].upto < upto)
		at++;
	if (!upto || (at < stack->count && layers[at].upto == upto))
		return;
	/* Behind the last nobody references the extent. */
	if (at == stack->count) {
		layers[at] = (struct live_layer){ .upto = upto, .set = LIVE_SET_EMPTY };
	} else {
		for (move = stack->count; move > at; move--)
			layers[move] = layers[move - 1];
		layers[at].upto = upto;
	}
	stack->count++;
}

/* Toggles the root in the layers above `low`, up to `high`. */
static int stack_toggle(struct live_worker *worker, uint32_t element, uint32_t low, uint32_t high)
{
	struct live_stack *stack = &worker->stack;
	uint32_t below = 0;
	size_t at;

	if (live_stack_reserve(stack, 2))
		return -ENOMEM;
	stack_split(stack, low);
	stack_split(stack, high);
	for (at = 0; at < stack->count && below < high; below = stack->layers[at++].upto) {
		struct live_layer *layer = &stack->layers[at];
		struct live_fold *fold;
		int ret;

		if (below < low)
			continue;
		ret = live_fold_get(worker, layer->set, element, &fold);
		if (ret)
			return ret;
		if (!below)
			worker->passes[worker->pass_count++] = (struct live_pass){
				.fold = (uint32_t)(fold - worker->folds),
				.gains = fold->small == layer->set,
			};
		layer->set = fold->small == layer->set ? fold->big : fold->small;
	}
	live_stack_trim(stack);
	return 0;
}

/* The net of one root: 0, -ENOMEM, -E2BIG, or -EUCLEAN with what is wrong. */
static int step_take(struct live_worker *worker, const struct live_step *step,
		     struct live_fault *fault)
{
	uint32_t has;
	int64_t then;

	fault->root = step->root;
	fault->count = step->count;
	fault->kind = LIVE_FAULT_ROOT;
	if (step->element == LINEAGE_NONE)
		return -EUCLEAN;
	has = stack_count(worker, step->element);
	fault->has = has;
	fault->kind = LIVE_FAULT_LOSES;
	if (__builtin_add_overflow((int64_t)has, step->count, &then) || then < 0)
		return -EUCLEAN;
	fault->kind = LIVE_FAULT_MANY;
	if (then > LIVE_COUNT_MAX)
		return -EUCLEAN;
	fault->kind = LIVE_FAULT_NONE;
	if (plant_armed("ledger.layer-off") && has > 1 && then > has)
		then--;
	return stack_toggle(worker, step->element, has < then ? has : (uint32_t)then,
			    has < then ? (uint32_t)then : has);
}

static int steps_take(struct live_worker *worker, const struct live_change *change,
		      struct live_fault *fault)
{
	uint32_t at;
	int ret = 0;

	for (at = 0; at < change->count && !ret; at++)
		ret = step_take(worker, &worker->steps[at], fault);
	if (ret || !change->gone || !worker->stack.count)
		return ret;
	fault->kind = LIVE_FAULT_GONE;
	return -EUCLEAN;
}

static void passes_move(struct live_worker *worker, const struct live_change *change)
{
	size_t at;

	for (at = 0; at < worker->pass_count; at++) {
		const struct live_pass *pass = &worker->passes[at];

		live_fold_move(&worker->folds[pass->fold], pass->gains, change->bytes,
			       change->metadata);
	}
}

int live_change_apply(struct live_worker *worker, struct live_change *change, size_t at,
		      const struct live_delta *deltas)
{
	struct live_fault fault = { .at = at, .bytenr = change->bytenr };
	int ret = live_stack_load(worker, change->word);

	if (!ret)
		ret = steps_load(worker, deltas + change->first, change->count);
	if (ret)
		return ret;
	ret = steps_take(worker, change, &fault);
	if (ret == -EUCLEAN) {
		fault_set(worker, &fault);
		/* Its owner forgets the extent, whatever was known of it. */
		if (!change->gone)
			return 0;
		worker->stack.count = 0;
		return live_stack_store(worker, &change->word);
	}
	if (ret)
		return ret == -E2BIG ? -ENOMEM : ret;
	ret = live_stack_store(worker, &change->word);
	if (!ret)
		passes_move(worker, change);
	return ret == -E2BIG ? -ENOMEM : ret;
}
