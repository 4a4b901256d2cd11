/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/treemod/view.h"
#include "tests/support/threads.h"

#define MANY (3 * VIEW_CHUNK + 5)

static struct view_slot *view_make(struct views *views, uint64_t floor, uint64_t cut)
{
	struct view_slot *slot = view_claim(views, floor);

	assert_non_null(slot);
	view_hold(slot, cut);
	return slot;
}

static void view_truth_table(void **state)
{
	struct views views;
	struct view_slot *first;
	struct view_slot *second;
	uint64_t cuts[4] = { 0 };
	uint64_t floor;

	(void)state;
	views_init(&views);
	assert_int_equal(view_lowest(&views, NULL), VIEW_NONE);
	assert_int_equal(view_list(&views, cuts, 4, &floor), 0);
	assert_int_equal(floor, VIEW_NONE);
	/* Being acquired it holds its floor, and is no cut yet. */
	first = view_claim(&views, 7);
	assert_int_equal(view_lowest(&views, NULL), 7);
	assert_int_equal(view_list(&views, cuts, 4, &floor), 0);
	assert_int_equal(floor, 7);
	view_hold(first, 9);
	assert_int_equal(view_cut(first), 9);
	assert_false(view_is_ended(first));
	assert_int_equal(view_lowest(&views, NULL), 9);
	assert_int_equal(view_list(&views, cuts, 4, &floor), 1);
	assert_int_equal(cuts[0], 9);
	assert_int_equal(floor, VIEW_NONE);
	second = view_claim(&views, 8);
	assert_int_equal(view_lowest(&views, NULL), 8);
	view_hold(second, 12);
	assert_int_equal(view_lowest(&views, NULL), 9);
	assert_true(view_release(first));
	assert_int_equal(view_lowest(&views, NULL), 12);
	/* The place is used again; one that is claimed may be released too. */
	assert_ptr_equal(view_claim(&views, 3), first);
	assert_int_equal(view_lowest(&views, NULL), 3);
	assert_true(view_release(first));
	assert_true(view_release(second));
	assert_int_equal(view_lowest(&views, NULL), VIEW_NONE);
	views_destroy(&views);
}

/* More than fit a chunk, and more than the array has room for. */
static void view_many(void **state)
{
	struct views views;
	struct view_slot *slots[MANY];
	uint64_t cuts[MANY + 1];
	uint64_t floor;
	unsigned at;

	(void)state;
	views_init(&views);
	for (at = 0; at < MANY; at++)
		slots[at] = view_make(&views, 1, 1000 - at);
	assert_int_equal(view_lowest(&views, NULL), 1000 - (MANY - 1));
	memset(cuts, 0, sizeof(cuts));
	assert_int_equal(view_list(&views, cuts, 10, &floor), MANY);
	assert_int_not_equal(cuts[9], 0);
	assert_int_equal(cuts[10], 0);
	assert_int_equal(view_list(&views, cuts, MANY, &floor), MANY);
	assert_int_equal(cuts[MANY], 0);
	for (at = MANY; at > 0; at--) {
		assert_int_equal(view_lowest(&views, NULL), 1000 - (at - 1));
		assert_true(view_release(slots[at - 1]));
	}
	/* All places are free again: no memory is needed. */
	alloc_fail_arm(1, 1);
	for (at = 0; at < MANY; at++)
		slots[at] = view_make(&views, 1, 2000 + at);
	alloc_fail_arm(0, 0);
	views_destroy(&views);
}

static void view_expires(void **state)
{
	struct views views;
	struct view_slot *old;
	struct view_slot *claimed;
	struct view_slot *young;
	uint64_t cuts[4];
	uint64_t floor;
	uint64_t middle;

	(void)state;
	views_init(&views);
	old = view_make(&views, 1, 5);
	claimed = view_claim(&views, 6);
	assert_int_equal(view_end_older(&views, 0), 0);
	/* Ends: the clock moves on. */
	do
		middle = clock_now_ns();
	while (middle <= order_load_relaxed(&claimed->since));
	young = view_make(&views, 7, 8);
	assert_int_equal(view_end_older(&views, middle), 1);
	assert_int_equal(view_end_older(&views, middle), 0);
	assert_true(view_is_ended(old));
	assert_int_equal(view_cut(old), 5);
	assert_false(view_is_ended(young));
	/* It holds nothing any more; its place is its holder's until that releases it. */
	assert_int_equal(view_lowest(&views, NULL), 6);
	assert_int_equal(view_list(&views, cuts, 4, &floor), 1);
	assert_int_equal(cuts[0], 8);
	assert_int_equal(floor, 6);
	assert_ptr_not_equal(view_claim(&views, 9), old);
	assert_false(view_release(old));
	assert_true(view_release(claimed));
	assert_ptr_equal(view_claim(&views, 9), old);
	assert_false(view_is_ended(old));
	views_destroy(&views);
}

static void view_without_memory(void **state)
{
	struct views views;

	(void)state;
	views_init(&views);
	alloc_fail_arm(1, 1);
	assert_null(view_claim(&views, 1));
	alloc_fail_arm(0, 0);
	assert_int_equal(view_lowest(&views, NULL), VIEW_NONE);
	assert_non_null(view_claim(&views, 1));
	views_destroy(&views);
}

#define HOLDERS 12
#define ENDERS 2
#define LOOKERS 2
#define HELD 10

#ifdef __SANITIZE_THREAD__
#define TURNS 2000
#else
#define TURNS 20000
#endif

#define TURNS_MAX (1000 * TURNS)
#define ENDED 20

struct crowd {
	struct views views;
	order_u64 counter; /* where cuts come from */
	uint64_t seed;
	/* Relaxed, all of them: sums, or numbers that only fall behind. */
	order_u32 at_work;
	order_u64 wrong; /* somebody else's cut in a holder's place; a view that is held and not seen */
	order_u64 ended;
	order_u64 found_ended;
};

static struct view_slot *crowd_view(struct crowd *crowd, uint64_t *cut)
{
	/* Relaxed: a floor may be old. */
	struct view_slot *slot = view_claim(&crowd->views, order_load_relaxed(&crowd->counter));

	if (!slot)
		return NULL;
	/* Relaxed: gives each its own. */
	*cut = order_fetch_add_relaxed(&crowd->counter, 1);
	view_hold(slot, *cut);
	return slot;
}

static void crowd_hold(struct crowd *crowd, struct random_state *random)
{
	struct view_slot *slots[HELD] = { 0 };
	uint64_t cuts[HELD];
	unsigned turn = 0;
	unsigned last = 0;

	/* On, until some views were ended, and then through all places once more. */
	while (last < HELD) {
		bool over = turn > TURNS &&
			    (order_load_relaxed(&crowd->found_ended) >= ENDED || turn > TURNS_MAX);
		unsigned at = over ? last++ : (unsigned)random_state_below(random, HELD);
		bool ended;

		if (!(++turn % 256))
			sched_yield();
		if (!slots[at]) {
			slots[at] = over ? NULL : crowd_view(crowd, &cuts[at]);
			continue;
		}
		if (view_cut(slots[at]) != cuts[at])
			order_fetch_add_relaxed(&crowd->wrong, 1);
		/* Not ended: nothing below its cut has been lost, and the lowest says so. */
		ended = view_lowest(&crowd->views, NULL) > cuts[at];
		if (ended && !view_is_ended(slots[at]))
			order_fetch_add_relaxed(&crowd->wrong, 1);
		ended |= view_is_ended(slots[at]);
		if (view_release(slots[at]) == ended)
			/* It may have been ended just now, but not have come back. */
			order_fetch_add_relaxed(&crowd->wrong, ended);
		else if (ended)
			order_fetch_add_relaxed(&crowd->found_ended, 1);
		slots[at] = NULL;
	}
	order_fetch_sub_relaxed(&crowd->at_work, 1);
}

static void crowd_end(struct crowd *crowd, struct random_state *random)
{
	while (order_load_relaxed(&crowd->at_work)) {
		uint64_t before = clock_now_ns() - random_state_below(random, 2000000);

		order_fetch_add_relaxed(&crowd->ended, view_end_older(&crowd->views, before));
	}
}

/* One view is held all along, below all others. */
static void crowd_look(struct crowd *crowd)
{
	while (order_load_relaxed(&crowd->at_work))
		if (view_lowest(&crowd->views, NULL) != 1)
			order_fetch_add_relaxed(&crowd->wrong, 1);
}

static void crowd_thread(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct random_state random;

	random_state_seed(&random, crowd->seed, thread);
	if (thread < HOLDERS)
		crowd_hold(crowd, &random);
	else if (thread < HOLDERS + ENDERS)
		crowd_end(crowd, &random);
	else
		crowd_look(crowd);
}

static void view_threads(void **state)
{
	struct crowd crowd = { .seed = threads_timing_seed("view_threads") };
	struct view_slot *guard;

	(void)state;
	views_init(&crowd.views);
	order_store_relaxed(&crowd.counter, 2);
	order_store_relaxed(&crowd.at_work, HOLDERS);
	guard = view_make(&crowd.views, 1, 1);
	/* It never gets old. */
	order_store_relaxed(&guard->since, UINT64_MAX);
	threads_run(HOLDERS + ENDERS + LOOKERS, crowd_thread, &crowd);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_in_range(order_load_relaxed(&crowd.found_ended), ENDED,
			order_load_relaxed(&crowd.ended));
	assert_true(view_release(guard));
	assert_int_equal(view_lowest(&crowd.views, NULL), VIEW_NONE);
	views_destroy(&crowd.views);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(view_truth_table), cmocka_unit_test(view_many),
		cmocka_unit_test(view_expires),     cmocka_unit_test(view_without_memory),
		cmocka_unit_test(view_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
