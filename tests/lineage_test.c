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
#include "core/qgroup/lineage.h"
#include "tests/support/threads.h"

#define MODEL_MAX 200010

/* The list as an array. */
struct model {
	uint32_t element[MODEL_MAX];
	uint64_t root[MODEL_MAX];
	uint32_t count;
};

static struct model model;

static void model_insert(uint32_t at, uint32_t element, uint64_t root)
{
	assert_true(model.count < MODEL_MAX);
	memmove(&model.element[at + 1], &model.element[at],
		(model.count - at) * sizeof(model.element[0]));
	memmove(&model.root[at + 1], &model.root[at], (model.count - at) * sizeof(model.root[0]));
	model.element[at] = element;
	model.root[at] = root;
	model.count++;
}

static void model_remove(uint32_t at)
{
	model.count--;
	memmove(&model.element[at], &model.element[at + 1],
		(model.count - at) * sizeof(model.element[0]));
	memmove(&model.root[at], &model.root[at + 1], (model.count - at) * sizeof(model.root[0]));
}

/* The same elements in the same order, which their labels tell too. */
static void check_all(const struct lineage *lineage)
{
	uint32_t element = LINEAGE_NONE;
	uint32_t at;

	assert_int_equal(lineage->count, model.count);
	for (at = 0; at < model.count; at++) {
		element = lineage_next(lineage, element);
		if (element != model.element[at] ||
		    lineage_root(lineage, element) != model.root[at])
			fail_msg("place %u: element %u of root %llu, should be %u", at, element,
				 (unsigned long long)lineage_root(lineage, element),
				 model.element[at]);
		if (at && !lineage_before(lineage, model.element[at - 1], element))
			fail_msg("place %u: labels do not ascend", at);
		assert_false(lineage_before(lineage, element, element));
		assert_true(at == 0 || !lineage_before(lineage, element, model.element[at - 1]));
	}
	assert_int_equal(lineage_next(lineage, element), LINEAGE_NONE);
}

static void check_pairs(const struct lineage *lineage, struct random_state *random, unsigned pairs)
{
	while (model.count && pairs--) {
		uint64_t a = random_state_below(random, model.count);
		uint64_t b = random_state_below(random, model.count);

		assert_int_equal(lineage_before(lineage, model.element[a], model.element[b]),
				 a < b);
	}
}

static void add_family(struct lineage *lineage, uint64_t root)
{
	uint32_t element;

	assert_int_equal(lineage_add_family(lineage, root, &element), 0);
	model_insert(model.count, element, root);
	model_insert(model.count, lineage_next(lineage, element), LINEAGE_END);
}

static uint32_t add_snapshot(struct lineage *lineage, uint32_t at, uint64_t root)
{
	uint32_t element;

	assert_int_equal(lineage_add_snapshot(lineage, model.element[at], root, &element), 0);
	model_insert(at + 1, element, root);
	return element;
}

static void lineage_starts_empty(void **state)
{
	struct lineage lineage;

	(void)state;
	model.count = 0;
	assert_int_equal(lineage_init(&lineage), 0);
	check_all(&lineage);
	add_family(&lineage, 256);
	check_all(&lineage);
	lineage_remove(&lineage, model.element[1]);
	model_remove(1);
	lineage_remove(&lineage, model.element[0]);
	model_remove(0);
	check_all(&lineage);
	add_family(&lineage, 257);
	check_all(&lineage);
	lineage_destroy(&lineage);
}

/* Families, snapshots behind any element, removals of any but the end elements. */
static void random_step(struct lineage *lineage, struct random_state *random, uint64_t root,
			uint32_t size)
{
	uint32_t at = model.count ? (uint32_t)random_state_below(random, model.count) : 0;
	bool shrink = model.count > size || random_state_chance(random, 2, 5);

	if (!model.count || random_state_chance(random, 1, 50)) {
		add_family(lineage, root);
	} else if (model.root[at] != LINEAGE_END && shrink) {
		lineage_remove(lineage, model.element[at]);
		model_remove(at);
	} else if (model.root[at] != LINEAGE_END) {
		add_snapshot(lineage, at, root);
	} else if (at && model.root[at - 1] == LINEAGE_END) {
		/* A family of which nothing is left. */
		lineage_remove(lineage, model.element[at]);
		model_remove(at);
	}
}

static void lineage_against_an_array(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("lineage_against_an_array"), 0);
	for (round = 0; round < 8; round++) {
		uint32_t size = 1 + (uint32_t)random_state_below(&random, 800);
		struct lineage lineage;
		uint32_t most = 0;
		unsigned step;

		model.count = 0;
		assert_int_equal(lineage_init(&lineage), 0);
		for (step = 0; step < 5000; step++) {
			random_step(&lineage, &random, 256 + step, size);
			most = model.count > most ? model.count : most;
			check_pairs(&lineage, &random, 4);
			if (step < 200 || step % 16 == 0)
				check_all(&lineage);
		}
		check_all(&lineage);
		/* Numbers given back are used again; number 0 is the head's. */
		assert_int_equal(lineage.used, most + 1);
		lineage_destroy(&lineage);
	}
}

/*
 * `count` insertions at a place that `pick` says. The whole order is checked after
 * each relabelling (the source's own label tells) as long as the list is short, and
 * after every 500th later on; the neighbours each time.
 */
static void insert_many(uint32_t count, uint32_t (*pick)(uint32_t last, uint32_t first),
			uint64_t *relabellings)
{
	struct lineage lineage;
	uint32_t first;
	uint32_t last;
	uint32_t fresh;
	uint32_t at;

	*relabellings = 0;
	assert_int_equal(lineage_init(&lineage), 0);
	assert_int_equal(lineage_add_family(&lineage, 1, &first), 0);
	last = first;
	for (at = 0; at < count; at++) {
		uint32_t source = pick(last, first);
		uint64_t label = lineage.elements[source].label;
		uint32_t next;

		assert_int_equal(lineage_add_snapshot(&lineage, source, at + 2, &fresh), 0);
		next = lineage_next(&lineage, fresh);
		assert_int_equal(lineage_next(&lineage, source), fresh);
		assert_true(lineage_before(&lineage, source, fresh));
		assert_true(lineage_before(&lineage, fresh, next));
		last = fresh;
		if (label == lineage.elements[source].label && at + 1 < count)
			continue;
		(*relabellings)++;
		if (at > 500 && *relabellings % 500 && at + 1 < count)
			continue;
		for (next = first; lineage_next(&lineage, next);
		     next = lineage_next(&lineage, next))
			assert_true(lineage_before(&lineage, next, lineage_next(&lineage, next)));
	}
	assert_int_equal(lineage.count, count + 2);
	lineage_destroy(&lineage);
}

static uint32_t pick_first(uint32_t last, uint32_t first)
{
	(void)last;
	return first;
}

static uint32_t pick_last(uint32_t last, uint32_t first)
{
	(void)first;
	return last;
}

/* Two places in turn, far apart in the end. */
static uint32_t pick_both(uint32_t last, uint32_t first)
{
	return last % 2 ? first : last;
}

static uint32_t pick_fixed(uint32_t last, uint32_t first)
{
	return last < 1000 ? last : first + 500;
}

#define ADVERSARY 100000

static void lineage_always_at_one_place(void **state)
{
	static uint32_t (*const picks[])(uint32_t last, uint32_t first) = {
		pick_first,            /* the front of the family */
		pick_last,             /* its end */
		pick_both, pick_fixed, /* the same place in the middle */
	};
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(picks) / sizeof(picks[0]); at++) {
		uint64_t relabellings;

		insert_many(ADVERSARY, picks[at], &relabellings);
		assert_true(relabellings > 10);
	}
}

/* Families only ever come at the end, where the labels run out first. */
static void lineage_many_families(void **state)
{
	struct lineage lineage;
	struct random_state random;
	unsigned at;

	(void)state;
	random_state_seed(&random, 3, 0);
	model.count = 0;
	assert_int_equal(lineage_init(&lineage), 0);
	for (at = 0; at < ADVERSARY; at++) {
		add_family(&lineage, at + 1);
		check_pairs(&lineage, &random, 2);
		if (at < 300 || at % 5000 == 0)
			check_all(&lineage);
	}
	check_all(&lineage);
	lineage_destroy(&lineage);
}

/* The place of an insertion and a removal in turn: gaps never come back by themselves. */
static void lineage_insert_and_remove_in_turn(void **state)
{
	struct lineage lineage;
	uint32_t first;
	uint32_t fresh;
	unsigned at;

	(void)state;
	model.count = 0;
	assert_int_equal(lineage_init(&lineage), 0);
	add_family(&lineage, 1);
	first = model.element[0];
	for (at = 0; at < 5000; at++) {
		fresh = add_snapshot(&lineage, 0, at + 2);
		assert_int_equal(lineage_next(&lineage, first), fresh);
		if (model.count > 20) {
			lineage_remove(&lineage, model.element[2]);
			model_remove(2);
		}
		check_all(&lineage);
	}
	assert_true(lineage.used < 40);
	lineage_destroy(&lineage);
}

static void lineage_without_memory(void **state)
{
	struct random_state random;
	struct lineage lineage;
	unsigned failures = 0;
	uint32_t element;
	unsigned at;

	(void)state;
	model.count = 0;
	alloc_fail_arm(1, 0);
	assert_int_equal(lineage_init(&lineage), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(lineage_init(&lineage), 0);
	random_state_seed(&random, 5, 0);
	add_family(&lineage, 1);
	for (at = 0; at < 3000; at++) {
		uint32_t place = (uint32_t)random_state_below(&random, model.count - 1);
		bool family = random_state_chance(&random, 1, 3);
		int ret;

		alloc_fail_arm(1, 1);
		ret = family ? lineage_add_family(&lineage, at + 2, &element) :
			       lineage_add_snapshot(&lineage, model.element[place], at + 2,
						    &element);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		if (ret) {
			failures++;
			check_all(&lineage);
			if (family)
				add_family(&lineage, at + 2);
			else
				add_snapshot(&lineage, place, at + 2);
			continue;
		}
		model_insert(family ? model.count : place + 1, element, at + 2);
		if (family)
			model_insert(model.count, lineage_next(&lineage, element), LINEAGE_END);
	}
	check_all(&lineage);
	assert_int_equal(failures, 6); /* 64 elements, doubled until 4096 */
	lineage_destroy(&lineage);
}

/* The limit is on numbers; that many elements would not fit here, so it is only pretended. */
static void lineage_has_a_limit(void **state)
{
	struct lineage lineage;
	uint32_t element = 99;
	uint32_t used;

	(void)state;
	model.count = 0;
	assert_int_equal(lineage_init(&lineage), 0);
	add_family(&lineage, 1);
	used = lineage.used;
	lineage.used = INT32_MAX;
	assert_int_equal(lineage_add_snapshot(&lineage, model.element[0], 2, &element), -E2BIG);
	assert_int_equal(lineage_add_family(&lineage, 2, &element), -E2BIG);
	lineage.used = INT32_MAX - 1;
	assert_int_equal(lineage_add_family(&lineage, 2, &element), -E2BIG);
	lineage.used = used;
	assert_int_equal(element, 99);
	check_all(&lineage);
	lineage_destroy(&lineage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lineage_starts_empty),
		cmocka_unit_test(lineage_against_an_array),
		cmocka_unit_test(lineage_always_at_one_place),
		cmocka_unit_test(lineage_many_families),
		cmocka_unit_test(lineage_insert_and_remove_in_turn),
		cmocka_unit_test(lineage_without_memory),
		cmocka_unit_test(lineage_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
