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
#include "core/qgroup/runs.h"
#include "tests/support/bitmap.h"
#include "tests/support/threads.h"

/* Up to 8 runs are added in this order; the result is on the right. */
struct shape {
	struct run add[8];
	struct run want[8];
};

static const struct shape shapes[] = {
	{ { { 3, 7 } }, { { 3, 7 } } },
	{ { { 3, 7 }, { 3, 7 } }, { { 3, 7 } } },
	/* Inside, around, with one common end. */
	{ { { 3, 7 }, { 4, 6 } }, { { 3, 7 } } },
	{ { { 4, 6 }, { 3, 7 } }, { { 3, 7 } } },
	{ { { 3, 7 }, { 3, 5 } }, { { 3, 7 } } },
	{ { { 3, 7 }, { 5, 7 } }, { { 3, 7 } } },
	/* Overlapping and touching on either side. */
	{ { { 3, 7 }, { 5, 9 } }, { { 3, 9 } } },
	{ { { 3, 7 }, { 1, 5 } }, { { 1, 7 } } },
	{ { { 3, 7 }, { 7, 9 } }, { { 3, 9 } } },
	{ { { 3, 7 }, { 1, 3 } }, { { 1, 7 } } },
	/* A gap of one; a gap that is filled. */
	{ { { 3, 7 }, { 8, 9 } }, { { 3, 7 }, { 8, 9 } } },
	{ { { 3, 7 }, { 1, 2 } }, { { 1, 2 }, { 3, 7 } } },
	{ { { 3, 7 }, { 8, 9 }, { 7, 8 } }, { { 3, 9 } } },
	/* In a list: before, between, behind; inside one; touching one; joining two, three, all. */
	{ { { 8, 9 }, { 4, 5 }, { 1, 2 } }, { { 1, 2 }, { 4, 5 }, { 8, 9 } } },
	{ { { 1, 2 }, { 8, 9 }, { 4, 5 } }, { { 1, 2 }, { 4, 5 }, { 8, 9 } } },
	{ { { 1, 2 }, { 4, 5 }, { 8, 9 } }, { { 1, 2 }, { 4, 5 }, { 8, 9 } } },
	{ { { 1, 4 }, { 8, 12 }, { 9, 10 } }, { { 1, 4 }, { 8, 12 } } },
	{ { { 1, 4 }, { 8, 12 }, { 4, 5 } }, { { 1, 5 }, { 8, 12 } } },
	{ { { 1, 4 }, { 8, 12 }, { 7, 8 } }, { { 1, 4 }, { 7, 12 } } },
	{ { { 1, 4 }, { 8, 12 }, { 20, 22 }, { 4, 8 } }, { { 1, 12 }, { 20, 22 } } },
	{ { { 1, 4 }, { 8, 12 }, { 20, 22 }, { 10, 21 } }, { { 1, 4 }, { 8, 22 } } },
	{ { { 1, 4 }, { 8, 12 }, { 20, 22 }, { 3, 20 } }, { { 1, 22 } } },
	{ { { 1, 4 }, { 8, 12 }, { 20, 22 }, { 0, 30 } }, { { 0, 30 } } },
	{ { { 1, 4 }, { 8, 12 }, { 20, 22 }, { 6, 14 } }, { { 1, 4 }, { 6, 14 }, { 20, 22 } } },
	/* More than the first list has room for. */
	{ { { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 }, { 8, 9 }, { 10, 11 }, { 12, 13 } },
	  { { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 }, { 8, 9 }, { 10, 11 }, { 12, 13 } } },
	{ { { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 }, { 8, 9 }, { 10, 11 }, { 1, 10 } },
	  { { 0, 11 } } },
	/* The ends of the range of positions. */
	{ { { 0, RUNS_POSITION_MAX } }, { { 0, RUNS_POSITION_MAX } } },
	{ { { RUNS_POSITION_MAX - 1, RUNS_POSITION_MAX }, { 0, 1 } },
	  { { 0, 1 }, { RUNS_POSITION_MAX - 1, RUNS_POSITION_MAX } } },
	{ { { 0, 1 }, { RUNS_POSITION_MAX - 1, RUNS_POSITION_MAX }, { 1, RUNS_POSITION_MAX - 1 } },
	  { { 0, RUNS_POSITION_MAX } } },
};

static void runs_truth_table(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *shape = &shapes[i];
		struct runs runs = { 0 };
		struct run single;
		const struct run *found;
		size_t count;
		size_t at;

		assert_int_equal(runs_read(&runs, &single, &found), 0);
		for (at = 0; at < 8 && shape->add[at].end; at++)
			assert_int_equal(runs_add(&runs, shape->add[at]), 0);
		count = runs_read(&runs, &single, &found);
		for (at = 0; at < 8 && shape->want[at].end; at++) {
			assert_true(at < count);
			assert_int_equal(found[at].begin, shape->want[at].begin);
			assert_int_equal(found[at].end, shape->want[at].end);
		}
		assert_int_equal(count, at);
		runs_clear(&runs);
		assert_int_equal(runs_read(&runs, &single, &found), 0);
		runs_clear(&runs);
	}
}

/* Short runs over many positions give long lists, long ones join them again. */
static void runs_against_a_bitmap(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("runs_against_a_bitmap"), 0);
	for (round = 0; round < 400; round++) {
		unsigned bits = 1 + (unsigned)random_state_below(&random, BITMAP_BITS);
		unsigned longest = 1 + (unsigned)random_state_below(&random, round % 4 ? 4 : bits);
		unsigned adds = 1 + (unsigned)random_state_below(&random, bits);
		struct bitmap bitmap = { 0 };
		struct runs runs = { 0 };

		while (adds--) {
			struct run run = bitmap_random_run(&random, bits, longest);

			bitmap_add_run(&bitmap, run);
			assert_int_equal(runs_add(&runs, run), 0);
			assert_true(bitmap_is_union(&bitmap, &runs));
		}
		runs_clear(&runs);
	}
}

/* A union of one run stands in its word: nothing is allocated for it. */
static void runs_of_one_need_no_memory(void **state)
{
	static const struct run add[] = { { 10, 20 }, { 20, 30 }, { 5, 10 },  { 6, 8 },
					  { 4, 31 },  { 1, 5 },   { 30, 40 }, { 0, 99 } };
	struct bitmap bitmap = { 0 };
	struct runs runs = { 0 };
	size_t at;

	(void)state;
	alloc_fail_arm(1, 1);
	for (at = 0; at < sizeof(add) / sizeof(add[0]); at++) {
		assert_int_equal(runs_add(&runs, add[at]), 0);
		bitmap_add_run(&bitmap, add[at]);
		assert_true(bitmap_is_union(&bitmap, &runs));
	}
	assert_int_equal(alloc_fail_count(), 0);
	alloc_fail_arm(0, 0);
}

static void runs_without_memory(void **state)
{
	struct random_state random;
	struct bitmap bitmap = { 0 };
	struct runs runs = { 0 };
	unsigned failures = 0;
	unsigned at;

	(void)state;
	random_state_seed(&random, 7, 0);
	for (at = 0; at < 200; at++) {
		struct run run = bitmap_random_run(&random, BITMAP_BITS, 1);
		int ret;

		alloc_fail_arm(1, 1);
		ret = runs_add(&runs, run);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		if (ret) {
			failures++;
			assert_true(bitmap_is_union(&bitmap, &runs));
			assert_int_equal(runs_add(&runs, run), 0);
		}
		bitmap_add_run(&bitmap, run);
		assert_true(bitmap_is_union(&bitmap, &runs));
	}
	/* The first list of 4, then 8, 16, 32, 64, 128. */
	assert_int_equal(failures, 6);
	runs_clear(&runs);
}

#define THREADS 8
#define UNIONS 16

struct crowd {
	struct runs unions[UNIONS];
	struct bitmap added[THREADS][UNIONS];
	unsigned unions_used;
	unsigned adds; /* of each thread */
	unsigned bits;
	unsigned longest;
	uint64_t seed;
	bool faults;
	order_u64 broken; /* relaxed, as is the next: read when all are joined */
	order_u64 refused;
};

static void add_many(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct random_state random;
	unsigned at;

	random_state_seed(&random, crowd->seed, thread);
	for (at = 0; at < crowd->adds; at++) {
		uint64_t number = random_state_below(&random, crowd->unions_used);
		struct run run = bitmap_random_run(&random, crowd->bits, crowd->longest);
		int ret;

		if (crowd->faults)
			alloc_fail_arm(1, 0);
		ret = runs_add(&crowd->unions[number], run);
		if (!ret)
			bitmap_add_run(&crowd->added[thread][number], run);
		else
			order_fetch_add_relaxed(&crowd->refused, 1);
		if (ret && (ret != -ENOMEM || !crowd->faults))
			order_fetch_add_relaxed(&crowd->broken, 1);
	}
}

/* Each union is what all threads together have added, and nothing that was refused. */
static void run_crowd(struct crowd *crowd)
{
	unsigned number;

	threads_run(THREADS, add_many, crowd);
	alloc_fail_arm(0, 0);
	assert_int_equal(order_load_relaxed(&crowd->broken), 0);
	for (number = 0; number < UNIONS; number++) {
		struct bitmap all = { 0 };
		unsigned thread;

		for (thread = 0; thread < THREADS; thread++)
			bitmap_add(&all, &crowd->added[thread][number]);
		assert_true(bitmap_is_union(&all, &crowd->unions[number]));
		runs_clear(&crowd->unions[number]);
	}
}

/* From a single run that grows to long lists, on few unions and on many. */
static void runs_under_threads(void **state)
{
	static const unsigned longest[] = { 1, 3, 40, BITMAP_BITS };
	uint64_t seed = threads_data_seed("runs_under_threads");
	unsigned round;

	(void)state;
	for (round = 0; round < 240; round++) {
		struct crowd crowd = { .unions_used = round % 3 ? UNIONS : 1, .adds = 500 };

		crowd.bits = round % 5 ? BITMAP_BITS : 12;
		crowd.longest = longest[round % 4];
		crowd.seed = seed + round;
		run_crowd(&crowd);
		assert_int_equal(order_load_relaxed(&crowd.refused), 0);
	}
}

static void runs_under_threads_with_faults(void **state)
{
	uint64_t seed = threads_data_seed("runs_under_threads_with_faults");
	uint64_t refused = 0;
	unsigned round;

	(void)state;
	for (round = 0; round < 40; round++) {
		struct crowd crowd = { .unions_used = UNIONS, .adds = 500, .bits = BITMAP_BITS };

		crowd.longest = 1 + round % 3;
		crowd.seed = seed + round;
		crowd.faults = true;
		run_crowd(&crowd);
		refused += order_load_relaxed(&crowd.refused);
	}
	assert_true(refused > 0);
}

/* Threads stand still with a word that may be stale, and with a list that they hold. */
static void runs_under_threads_with_stalls(void **state)
{
	uint64_t seed = threads_data_seed("runs_under_threads_with_stalls");
	uint64_t timing = threads_timing_seed("runs_under_threads_with_stalls");
	unsigned round;

	(void)state;
	for (round = 0; round < 12; round++) {
		struct crowd crowd = { .unions_used = 1 + round % 2, .adds = 100 };

		crowd.bits = BITMAP_BITS;
		crowd.longest = 1 + round % 3;
		crowd.seed = seed + round;
		threads_stalls_begin("runs.", timing + round * 2, 16, 100);
		run_crowd(&crowd);
		threads_stalls_end();
		threads_stalls_assert_passed("runs.loaded");
		threads_stalls_assert_passed("runs.list-held");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_truth_table),
		cmocka_unit_test(runs_against_a_bitmap),
		cmocka_unit_test(runs_of_one_need_no_memory),
		cmocka_unit_test(runs_without_memory),
		cmocka_unit_test(runs_under_threads),
		cmocka_unit_test(runs_under_threads_with_faults),
		cmocka_unit_test(runs_under_threads_with_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
