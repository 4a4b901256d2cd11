/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_sets_impl.h"
#include "tests/support/threads.h"

#define FAMILY 3U

/* One family: a root and a chain of snapshots. */
struct family {
	struct lineage lineage;
	struct live_sets *sets;
	uint32_t elements[FAMILY];
};

static struct family family;

static int family_begin(void **state)
{
	uint32_t at;

	(void)state;
	assert_int_equal(lineage_init(&family.lineage), 0);
	assert_int_equal(lineage_add_family(&family.lineage, 1, &family.elements[0]), 0);
	for (at = 1; at < FAMILY; at++)
		assert_int_equal(lineage_add_snapshot(&family.lineage, family.elements[at - 1],
						      at + 1, &family.elements[at]),
				 0);
	assert_int_equal(live_sets_create(&family.lineage, &family.sets), 0);
	return 0;
}

static int family_end(void **state)
{
	(void)state;
	live_sets_destroy(family.sets);
	lineage_destroy(&family.lineage);
	return 0;
}

static void create_without_memory(void **state)
{
	struct live_sets *sets;
	unsigned nth;
	int ret = -ENOMEM;

	(void)state;
	for (nth = 1; ret; nth++) {
		alloc_fail_arm(nth, 0);
		ret = live_sets_create(&family.lineage, &sets);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
	}
	assert_true(nth > 4);
	live_sets_destroy(sets);
	live_sets_destroy(NULL);
}

static uint32_t made(uint32_t id, uint32_t root)
{
	uint32_t out;

	assert_int_equal(live_sets_toggle(family.sets, id, family.elements[root], &out), 0);
	return out;
}

static void sets_are_equal_once(void **state)
{
	uint32_t ab;
	uint32_t out;

	(void)state;
	ab = made(made(LIVE_SET_EMPTY, 0), 1);
	assert_int_equal(made(made(LIVE_SET_EMPTY, 1), 0), ab);
	assert_int_equal(live_set_at(family.sets, ab)->count, 2); /* one run */
	assert_int_equal(live_sets_join(family.sets, made(LIVE_SET_EMPTY, 0),
					made(LIVE_SET_EMPTY, 1), &out),
			 0);
	assert_int_equal(out, ab);
	assert_int_equal(live_sets_meet(family.sets, made(ab, 2), ab, &out), 0);
	assert_int_equal(out, ab);
	assert_int_equal(live_sets_meet(family.sets, ab, made(LIVE_SET_EMPTY, 2), &out), 0);
	assert_int_equal(out, LIVE_SET_EMPTY);
	assert_int_equal(made(made(ab, 0), 1), LIVE_SET_EMPTY);
	/* First and last: two runs. */
	out = made(made(LIVE_SET_EMPTY, 0), 2);
	assert_int_equal(live_set_at(family.sets, out)->count, 4);
	assert_int_equal(live_sets_settle(family.sets), 0);
	assert_int_equal(live_sets_check(family.sets), 0);
}

/* The first goes: what it shared is the other's, what was its own is nobody's. */
static void sets_join_when_a_root_goes(void **state)
{
	struct live_sets_figures figures;
	uint32_t a;
	uint32_t b;
	uint32_t ab;

	(void)state;
	a = made(LIVE_SET_EMPTY, 0);
	ab = made(a, 1);
	b = made(ab, 0);
	live_sets_hold(family.sets, a, 1);
	assert_int_equal(live_sets_settle(family.sets), 0);
	live_sets_hold(family.sets, ab, -1); /* in whichever order */
	live_sets_hold(family.sets, ab, 3);
	live_set_at(family.sets, a)->data = 1;
	live_set_at(family.sets, ab)->data = 10;
	live_set_at(family.sets, b)->metadata = 100;
	assert_int_equal(live_sets_drop(family.sets, family.elements[0]), 0);
	lineage_remove(&family.lineage, family.elements[0]);
	assert_int_equal(live_sets_find(family.sets, a), LIVE_SET_EMPTY);
	assert_int_equal(live_sets_find(family.sets, ab), b);
	assert_int_equal(live_set_at(family.sets, b)->data, 10);
	assert_int_equal(live_set_at(family.sets, b)->metadata, 100);
	assert_int_equal(live_set_at(family.sets, b)->held, 1); /* for ab */
	assert_int_equal(live_set_at(family.sets, ab)->held, 2);
	live_sets_figures_read(family.sets, &figures);
	assert_int_equal(figures.sets, 1);
	assert_int_equal(figures.runs, 1);
	assert_int_equal(figures.forwarding, 2);
	assert_int_equal(figures.unused, 0);
	assert_int_equal(figures.rewritten, 2);
	assert_null(live_sets_in_use(family.sets, ab));
	live_sets_sweep(family.sets);
	assert_int_equal(live_sets_find(family.sets, ab), b);
	live_sets_hold(family.sets, a, -1);
	live_sets_hold(family.sets, ab, -2);
	live_set_at(family.sets, b)->data = 0;
	live_set_at(family.sets, b)->metadata = 0;
	live_sets_figures_read(family.sets, &figures);
	assert_int_equal(figures.unused, 3);
	live_sets_sweep(family.sets);
	live_sets_figures_read(family.sets, &figures);
	assert_int_equal(figures.sets + figures.forwarding + figures.unused, 0);
	/* The lowest id that was given back is the next. */
	assert_int_equal(made(LIVE_SET_EMPTY, 1), 1);
}

static uint32_t interned(const struct live_sets_key *key)
{
	uint32_t out;

	assert_int_equal(live_sets_intern(family.sets, key, &out), 0);
	assert_int_equal(live_sets_lookup(family.sets, key), out);
	return out;
}

static void one_hash_is_not_one_set(void **state)
{
	static const uint32_t boundaries[] = { 1, 2, 3, 4 };
	static const struct live_sets_key keys[] = {
		{ boundaries, 2, 7 },
		{ boundaries, 4, 7 },
		{ boundaries + 1, 2, 7 },
		{ boundaries, 2, 7 + LIVE_SETS_FIRST_BUCKETS },
	};
	uint32_t ids[4];
	unsigned at;
	unsigned other;

	(void)state;
	for (at = 0; at < 4; at++) {
		ids[at] = interned(&keys[at]);
		for (other = 0; other < at; other++)
			assert_int_not_equal(ids[other], ids[at]);
	}
	for (at = 0; at < 4; at++)
		assert_int_equal(interned(&keys[at]), ids[at]);
}

/*
 * One forwards to one that forwards: the one between is held for the first only as long as it is
 * between.
 */
static void ways_get_shorter(void **state)
{
	uint32_t last = made(LIVE_SET_EMPTY, 2);
	uint32_t middle = made(last, 1);
	uint32_t first = made(middle, 0);
	struct live_sets_figures figures;
	unsigned at;

	(void)state;
	assert_int_equal(live_sets_settle(family.sets), 0);
	live_sets_hold(family.sets, first, 1);
	for (at = 0; at < 2; at++) {
		assert_int_equal(live_sets_drop(family.sets, family.elements[at]), 0);
		lineage_remove(&family.lineage, family.elements[at]);
	}
	assert_int_equal(live_set_at(family.sets, first)->forward, middle);
	assert_int_equal(live_set_at(family.sets, middle)->forward, last);
	live_sets_figures_read(family.sets, &figures);
	assert_int_equal(figures.forwarding, 2);
	assert_int_equal(figures.unused, 0);
	live_sets_sweep(family.sets);
	live_sets_figures_read(family.sets, &figures);
	assert_int_equal(figures.forwarding, 1);
	assert_int_equal(figures.sets, 1);
	assert_int_equal(live_set_at(family.sets, first)->forward, last);
	assert_int_equal(live_set_at(family.sets, last)->held, 1);
	assert_int_equal(live_sets_check(family.sets), 0);
}

static void sets_have_a_limit(void **state)
{
	uint32_t out;

	(void)state;
	order_store_relaxed(&family.sets->next_id, LIVE_SET_MAX);
	assert_int_equal(live_sets_toggle(family.sets, LIVE_SET_EMPTY, family.elements[0], &out),
			 -E2BIG);
	order_store_relaxed(&family.sets->next_id, 1);
	assert_int_equal(made(LIVE_SET_EMPTY, 0), 1);
}

#define CROWD 8U
#define CROWD_ELEMENTS 120U
#define CROWD_PAIRS (CROWD_ELEMENTS * CROWD_ELEMENTS)
#define CROWD_ROUNDS 12U

struct crowd {
	struct live_sets *sets;
	uint32_t elements[CROWD_ELEMENTS];
	uint32_t ids[CROWD][CROWD_PAIRS];
	order_u32 wrong;
};

/* All the same sets, nearly at the same time: the one, then the other way round. */
static void crowd_thread(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	uint32_t pair;

	for (pair = 0; pair < CROWD_PAIRS; pair++) {
		uint32_t first = crowd->elements[pair / CROWD_ELEMENTS];
		uint32_t second = crowd->elements[pair % CROWD_ELEMENTS];
		uint32_t one;
		uint32_t *out = &crowd->ids[thread][pair];

		if (live_sets_toggle(crowd->sets, LIVE_SET_EMPTY, thread % 2 ? second : first,
				     &one) ||
		    live_sets_toggle(crowd->sets, one, thread % 2 ? first : second, out))
			order_fetch_add_relaxed(&crowd->wrong, 1);
		else if (first != second && !live_sets_has(crowd->sets, *out, first))
			order_fetch_add_relaxed(&crowd->wrong, 1);
	}
}

static void sets_of_many_threads_are_one(void **state)
{
	static struct crowd crowd;
	struct live_sets_figures figures;
	struct lineage lineage;
	uint32_t lost = 0;
	unsigned round;
	uint32_t at;

	(void)state;
	assert_int_equal(lineage_init(&lineage), 0);
	assert_int_equal(lineage_add_family(&lineage, 1, &crowd.elements[0]), 0);
	for (at = 1; at < CROWD_ELEMENTS; at++)
		assert_int_equal(lineage_add_snapshot(&lineage, crowd.elements[at / 2], at + 1,
						      &crowd.elements[at]),
				 0);
	assert_int_equal(live_sets_create(&lineage, &crowd.sets), 0);
	for (round = 0; round < CROWD_ROUNDS; round++) {
		unsigned thread;

		threads_run(CROWD, crowd_thread, &crowd);
		/* Relaxed: the threads have been joined. */
		assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
		for (thread = 1; thread < CROWD; thread++)
			assert_memory_equal(crowd.ids[thread], crowd.ids[0], sizeof(crowd.ids[0]));
		assert_int_equal(live_sets_settle(crowd.sets), 0);
		live_sets_figures_read(crowd.sets, &figures);
		assert_int_equal(figures.sets, CROWD_ELEMENTS * (CROWD_ELEMENTS + 1) / 2);
		if (round % 4 == 0)
			assert_int_equal(live_sets_check(crowd.sets), 0);
		lost += round ? 0 : crowd.sets->free_settled;
		live_sets_sweep(crowd.sets);
		live_sets_figures_read(crowd.sets, &figures);
		assert_int_equal(figures.sets, 0);
	}
	print_message("%u ids lost their race in the first round, %u made in %u rounds\n", lost,
		      live_sets_limit(crowd.sets) - 1, CROWD_ROUNDS);
	/* Ids are used again. */
	assert_true(live_sets_limit(crowd.sets) < CROWD_PAIRS);
	live_sets_destroy(crowd.sets);
	lineage_destroy(&lineage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(create_without_memory, family_begin, family_end),
		cmocka_unit_test_setup_teardown(sets_are_equal_once, family_begin, family_end),
		cmocka_unit_test_setup_teardown(sets_join_when_a_root_goes, family_begin,
						family_end),
		cmocka_unit_test_setup_teardown(one_hash_is_not_one_set, family_begin, family_end),
		cmocka_unit_test_setup_teardown(ways_get_shorter, family_begin, family_end),
		cmocka_unit_test_setup_teardown(sets_have_a_limit, family_begin, family_end),
		cmocka_unit_test(sets_of_many_threads_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
