/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/qgroup/live_sets_impl.h"
#include "tests/support/threads.h"

#define ROOTS 60U /* bits of a mask */
#define PLACES (2 * ROOTS + 2)
#define NAMES 48U

/*
 * The model: the lineage as an array of roots, a set as a mask of roots, and names, as extents are,
 * each of which holds an id and has bytes. It knows neither runs nor boundaries.
 */
struct place {
	uint32_t element;
	uint32_t root; /* ROOTS: the end of a family */
};

struct name {
	uint32_t id; /* as it was handed out; LIVE_SET_EMPTY: none */
	uint64_t mask;
	uint64_t data;
	uint64_t metadata;
};

struct model {
	struct lineage lineage;
	struct live_sets *sets;
	struct random_state random;
	struct place places[PLACES];
	uint32_t count; /* of places */
	uint64_t roots;
	uint32_t size; /* about so many roots are there */
	struct name names[NAMES];
	bool failing; /* allocations fail now and then */
	unsigned failures;
};

static void model_begin(struct model *model, uint64_t seed)
{
	memset(model, 0, sizeof(*model));
	random_state_seed(&model->random, seed, 0);
	assert_int_equal(lineage_init(&model->lineage), 0);
	assert_int_equal(live_sets_create(&model->lineage, &model->sets), 0);
}

static void model_end(struct model *model)
{
	live_sets_destroy(model->sets);
	lineage_destroy(&model->lineage);
}

static uint32_t below(struct model *model, uint64_t bound)
{
	return (uint32_t)random_state_below(&model->random, bound);
}

/* Before a call that may fail, which is made again if it does. */
static void fail_begin(struct model *model)
{
	if (model->failing && below(model, 2))
		alloc_fail_arm(1 + below(model, 3), 0);
}

/* Whether the call is to be made again. */
static bool fail_end(struct model *model, int ret)
{
	bool failed = ret == -ENOMEM && alloc_fail_count();

	alloc_fail_arm(0, 0);
	model->failures += failed;
	assert_true(failed || !ret);
	return failed;
}

static void settle(struct model *model)
{
	int ret;

	do {
		fail_begin(model);
		ret = live_sets_settle(model->sets);
	} while (fail_end(model, ret));
}

static uint32_t free_root(struct model *model)
{
	uint32_t root = 0;

	while (model->roots >> root & 1)
		root++;
	model->roots |= UINT64_C(1) << root;
	return root;
}

static void places_insert(struct model *model, uint32_t at, uint32_t element, uint32_t root)
{
	assert_true(model->count < PLACES);
	memmove(&model->places[at + 1], &model->places[at],
		(model->count - at) * sizeof(model->places[0]));
	model->places[at] = (struct place){ element, root };
	model->count++;
}

static void places_remove(struct model *model, uint32_t at)
{
	lineage_remove(&model->lineage, model->places[at].element);
	model->count--;
	memmove(&model->places[at], &model->places[at + 1],
		(model->count - at) * sizeof(model->places[0]));
}

static void add_family(struct model *model)
{
	uint32_t root = free_root(model);
	uint32_t element;

	assert_int_equal(lineage_add_family(&model->lineage, root + 1, &element), 0);
	places_insert(model, model->count, element, root);
	places_insert(model, model->count, lineage_next(&model->lineage, element), ROOTS);
}

static void add_snapshot(struct model *model, uint32_t source)
{
	uint32_t root = free_root(model);
	uint32_t element;
	uint32_t at;

	assert_int_equal(lineage_add_snapshot(&model->lineage, model->places[source].element,
					      root + 1, &element),
			 0);
	for (at = 0; at < NAMES; at++) {
		if (model->names[at].mask >> model->places[source].root & 1)
			model->names[at].mask |= UINT64_C(1) << root;
	}
	places_insert(model, source + 1, element, root);
}

static void drop(struct model *model, uint32_t place)
{
	uint32_t element = model->places[place].element;
	uint64_t bit = UINT64_C(1) << model->places[place].root;
	uint32_t at;
	int ret;

	do {
		fail_begin(model);
		ret = live_sets_drop(model->sets, element);
		if (ret) /* as before, the root too */
			assert_int_equal(live_sets_check(model->sets), 0);
	} while (fail_end(model, ret));
	places_remove(model, place);
	/* A family of which nothing is left. */
	if (model->places[place].root == ROOTS &&
	    (!place || model->places[place - 1].root == ROOTS))
		places_remove(model, place);
	model->roots &= ~bit;
	for (at = 0; at < NAMES; at++)
		model->names[at].mask &= ~bit;
}

/* A place with a root. */
static uint32_t random_place(struct model *model)
{
	uint32_t place;

	do
		place = below(model, model->count);
	while (model->places[place].root == ROOTS);
	return place;
}

static void name_clear(struct model *model, struct name *name)
{
	uint32_t last = live_sets_find(model->sets, name->id);

	if (name->id == LIVE_SET_EMPTY)
		return;
	if (last != LIVE_SET_EMPTY) {
		live_set_at(model->sets, last)->data -= name->data;
		live_set_at(model->sets, last)->metadata -= name->metadata;
	}
	live_sets_hold(model->sets, name->id, -1);
	*name = (struct name){ 0 };
}

/* The name is given up, and holds this from now on. */
static void name_set(struct model *model, struct name *name, uint32_t id, uint64_t mask)
{
	struct name fresh = { id, mask, 0, 0 };

	if (id != LIVE_SET_EMPTY) {
		fresh.data = below(model, 100);
		fresh.metadata = below(model, 100);
		live_sets_hold(model->sets, id, 1);
		live_set_at(model->sets, id)->data += fresh.data;
		live_set_at(model->sets, id)->metadata += fresh.metadata;
	}
	name_clear(model, name);
	*name = fresh;
	assert_int_equal(id == LIVE_SET_EMPTY, !mask);
}

static uint32_t toggled(struct model *model, uint32_t id, uint32_t element)
{
	uint32_t out = LIVE_SET_NONE;
	int ret;

	do {
		fail_begin(model);
		ret = live_sets_toggle(model->sets, id, element, &out);
	} while (fail_end(model, ret));
	return out;
}

/* One to many roots more or less. */
static void step_toggle(struct model *model)
{
	struct name *from = &model->names[below(model, NAMES)];
	uint32_t id = live_sets_find(model->sets, from->id);
	uint32_t times = below(model, 4) ? 1 : below(model, 2 * ROOTS);
	uint64_t mask = from->mask;

	do {
		const struct place *place = &model->places[random_place(model)];

		id = toggled(model, id, place->element);
		mask ^= UINT64_C(1) << place->root;
	} while (times--);
	name_set(model, &model->names[below(model, NAMES)], id, mask);
}

/* Every second root: as many boundaries as can be. */
static void step_comb(struct model *model)
{
	uint32_t id = LIVE_SET_EMPTY;
	uint64_t mask = 0;
	uint32_t at;

	for (at = below(model, 2); at < model->count; at += 2) {
		if (model->places[at].root == ROOTS)
			continue;
		id = toggled(model, id, model->places[at].element);
		mask |= UINT64_C(1) << model->places[at].root;
	}
	name_set(model, &model->names[below(model, NAMES)], id, mask);
}

static void step_combine(struct model *model)
{
	struct name *a = &model->names[below(model, NAMES)];
	struct name *b = &model->names[below(model, NAMES)];
	bool join = below(model, 2);
	uint32_t out = LIVE_SET_NONE;
	int ret;

	do {
		uint32_t id_a = live_sets_find(model->sets, a->id);
		uint32_t id_b = live_sets_find(model->sets, b->id);

		fail_begin(model);
		ret = join ? live_sets_join(model->sets, id_a, id_b, &out) :
			     live_sets_meet(model->sets, id_a, id_b, &out);
	} while (fail_end(model, ret));
	name_set(model, &model->names[below(model, NAMES)], out,
		 join ? a->mask | b->mask : a->mask & b->mask);
}

static void step_sweep(struct model *model)
{
	struct live_sets_figures figures;
	bool failed;

	fail_begin(model);
	live_sets_sweep(model->sets);
	failed = alloc_fail_count();
	alloc_fail_arm(0, 0);
	live_sets_figures_read(model->sets, &figures);
	if (!failed)
		assert_int_equal(figures.unused, 0);
}

static void random_step(struct model *model)
{
	uint32_t kind = below(model, 100);
	uint32_t roots = (uint32_t)__builtin_popcountll(model->roots);

	if (!roots || (kind < 2 && roots < ROOTS && model->count + 2 < PLACES))
		add_family(model);
	else if (kind < 20 && roots < model->size && model->count < PLACES)
		add_snapshot(model, random_place(model));
	else if (kind < (roots < model->size ? 26 : 36))
		drop(model, random_place(model));
	else if (kind < 38)
		step_comb(model);
	else if (kind < 60)
		step_toggle(model);
	else if (kind < 80)
		step_combine(model);
	else if (kind < 95)
		name_clear(model, &model->names[below(model, NAMES)]);
	else if (kind < 98)
		live_sets_follow(model->sets, model->names[below(model, NAMES)].id);
	else
		step_sweep(model);
	settle(model);
}

/* By walking the list: roots between the boundaries of odd and even number. */
static uint64_t mask_of(const struct model *model, uint32_t id)
{
	const struct live_set *set = live_set_at(model->sets, id);
	const uint32_t *boundaries = live_set_boundaries(set);
	uint32_t boundary = 0;
	uint64_t mask = 0;
	uint32_t at;

	for (at = 0; at < model->count; at++) {
		const struct place *place = &model->places[at];

		if (boundary < set->count && boundaries[boundary] == place->element)
			boundary++;
		if (boundary % 2 && place->root != ROOTS)
			mask |= UINT64_C(1) << place->root;
		/* An end is in no set. */
		assert_false(boundary % 2 && place->root == ROOTS);
		assert_int_equal(live_sets_has(model->sets, id, place->element), boundary % 2);
	}
	assert_int_equal(boundary, set->count);
	return mask;
}

static void check_names(struct model *model)
{
	uint32_t at;
	uint32_t other;

	for (at = 0; at < NAMES; at++) {
		const struct name *name = &model->names[at];
		uint32_t id = live_sets_find(model->sets, name->id);
		uint64_t data = 0;
		uint64_t metadata = 0;

		assert_int_equal(mask_of(model, id), name->mask);
		for (other = 0; other < NAMES; other++) {
			const struct name *same = &model->names[other];

			if (same->mask != name->mask)
				continue;
			assert_int_equal(live_sets_find(model->sets, same->id), id);
			data += same->data;
			metadata += same->metadata;
		}
		if (id == LIVE_SET_EMPTY)
			continue;
		assert_int_equal(live_set_at(model->sets, id)->data, data);
		assert_int_equal(live_set_at(model->sets, id)->metadata, metadata);
	}
	assert_int_equal(live_set_at(model->sets, LIVE_SET_EMPTY)->data, 0);
	assert_int_equal(live_set_at(model->sets, LIVE_SET_EMPTY)->metadata, 0);
}

/* Names, and those that forward and are held. */
static void check_held(const struct model *model)
{
	uint32_t limit = live_sets_limit(model->sets);
	uint64_t *held = calloc(limit, sizeof(*held));
	uint32_t at;

	assert_non_null(held);
	for (at = 0; at < NAMES; at++)
		held[model->names[at].id]++;
	for (at = 1; at < limit; at++) {
		const struct live_set *set = live_set_at(model->sets, at);

		if (set->forward != LIVE_SET_NONE && set->held)
			held[set->forward]++;
	}
	for (at = 1; at < limit; at++)
		assert_int_equal(live_set_at(model->sets, at)->held, held[at]);
	free(held);
}

struct visits {
	struct model *model;
	uint32_t element;
	uint32_t count;
};

static int visit(void *argument, uint32_t id)
{
	struct visits *visits = argument;
	const struct live_set *set = live_sets_in_use(visits->model->sets, id);
	uint32_t found = 0;
	uint32_t at;

	assert_non_null(set);
	for (at = 0; at < set->count; at++)
		found += live_set_boundaries(set)[at] == visits->element;
	assert_int_equal(found, 1);
	visits->count++;
	return 0;
}

static int visit_stop(void *argument, uint32_t id)
{
	(*(unsigned *)argument)++;
	return (int)id;
}

/*
 * As many visits at all elements as the sets in use have boundaries; the check looks for each of
 * them.
 */
static void check_visits(struct model *model)
{
	struct visits visits = { model, 0, 0 };
	uint32_t boundaries = 0;
	uint32_t at;

	for (at = 0; at < model->count; at++) {
		unsigned stopped = 0;
		uint32_t before = visits.count;
		int ret;

		visits.element = model->places[at].element;
		live_sets_each_at(model->sets, visits.element, visit, &visits);
		ret = live_sets_each_at(model->sets, visits.element, visit_stop, &stopped);
		assert_int_equal(stopped, visits.count > before);
		assert_int_equal(ret > 0, visits.count > before);
	}
	for (at = 1; at < live_sets_limit(model->sets); at++) {
		const struct live_set *set = live_sets_in_use(model->sets, at);

		boundaries += set ? set->count : 0;
	}
	assert_int_equal(visits.count, boundaries);
}

static void check_all(struct model *model)
{
	assert_int_equal(live_sets_check(model->sets), 0);
	check_names(model);
	check_held(model);
	check_visits(model);
}

/* What was reached, so that a history that misses it is seen. */
static void random_histories(uint64_t seed, bool failing, unsigned rounds, unsigned steps)
{
	static struct model model;
	unsigned failures = 0;
	uint32_t most = 0;
	bool forwarded = false;
	unsigned round;

	for (round = 0; round < rounds; round++) {
		struct live_sets_figures figures;
		unsigned step;

		model_begin(&model, seed + round);
		model.failing = failing;
		model.size = round % 2 ? 8 : ROOTS - 4;
		for (step = 0; step < steps; step++) {
			uint32_t at;

			random_step(&model);
			check_all(&model);
			live_sets_figures_read(model.sets, &figures);
			forwarded |= figures.forwarding > 0;
			for (at = 0; at < NAMES; at++) {
				uint32_t id = live_sets_find(model.sets, model.names[at].id);
				uint32_t count = live_set_at(model.sets, id)->count;

				most = count > most ? count : most;
			}
		}
		assert_true(figures.rewritten > 0);
		/* Nothing is named any more: nothing is left, neither sets nor their memory. */
		for (step = 0; step < NAMES; step++)
			name_clear(&model, &model.names[step]);
		live_sets_sweep(model.sets);
		live_sets_figures_read(model.sets, &figures);
		assert_int_equal(figures.sets + figures.runs + figures.forwarding, 0);
		assert_int_equal(model.sets->figures.bytes, 0);
		check_all(&model);
		failures += model.failures;
		model_end(&model);
	}
	assert_true(forwarded);
	assert_true(most > 32); /* more than fit where tuples are made */
	assert_int_equal(failing, failures > 0);
}

static void sets_against_masks(void **state)
{
	(void)state;
	random_histories(threads_data_seed("sets_against_masks"), false, 6, 400);
}

static void sets_without_memory(void **state)
{
	(void)state;
	random_histories(threads_data_seed("sets_without_memory"), true, 4, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_against_masks),
		cmocka_unit_test(sets_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
