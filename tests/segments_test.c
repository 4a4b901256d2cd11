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
#include "core/base/order.h"
#include "core/base/segments.h"
#include "tests/support/threads.h"

#define FIRST (1U << SEGMENTS_FIRST_BITS)

struct element {
	uint64_t number;
	uint64_t words[2];
};

static void element_fill(struct element *element, uint32_t number)
{
	element->number = number;
	element->words[0] = number * UINT64_C(0x9e3779b97f4a7c15);
	element->words[1] = ~element->words[0];
}

static bool element_is(const struct element *element, uint32_t number)
{
	struct element wanted;

	element_fill(&wanted, number);
	return element->number == wanted.number && element->words[0] == wanted.words[0] &&
	       element->words[1] == wanted.words[1];
}

static bool element_is_zero(const struct element *element)
{
	return !element->number && !element->words[0] && !element->words[1];
}

/* Numbers in a row up to the limit, zeroed elements that never move, and then no more. */
static void segments_truth_table(void **state)
{
	const uint32_t limit = 20000;
	struct element **place = calloc(limit, sizeof(struct element *));
	struct segments segments;
	uint32_t number;
	uint32_t at;

	(void)state;
	assert_non_null(place);
	segments_init(&segments, sizeof(struct element), limit);
	assert_int_equal(segments_used(&segments), 0);
	for (at = 0; at < limit; at++) {
		assert_int_equal(segments_reserve(&segments, &number), 0);
		assert_int_equal(number, at);
		assert_int_equal(segments_used(&segments), at + 1);
		place[at] = segments_at(&segments, number);
		assert_true(element_is_zero(place[at]));
		element_fill(place[at], at);
	}
	for (at = 0; at < 3; at++) {
		assert_int_equal(segments_reserve(&segments, &number), -E2BIG);
		assert_int_equal(segments_used(&segments), limit);
	}
	for (at = 0; at < limit; at++) {
		assert_ptr_equal(segments_at(&segments, at), place[at]);
		assert_true(element_is(place[at], at));
	}
	segments_destroy(&segments);
	free(place);
}

/* Segment k begins at (2^k - 1) * 1024 and is one piece. */
static void segments_double(void **state)
{
	struct segments segments;
	uint32_t begin = 0;
	uint32_t number;
	unsigned k;

	(void)state;
	segments_init(&segments, 3, 1U << 31);
	for (k = 0; k < 5; k++) {
		uint32_t end = begin + (FIRST << k);
		uint32_t at;

		assert_int_equal(begin, ((1U << k) - 1) * FIRST);
		for (at = begin; at < end; at++) {
			assert_null(order_load_relaxed(&segments.segment[k + 1]));
			assert_int_equal(segments_reserve(&segments, &number), 0);
			assert_int_equal(number, at);
			assert_ptr_equal(segments_at(&segments, number),
					 (char *)order_load_relaxed(&segments.segment[k]) +
						 (at - begin) * 3);
		}
		begin = end;
	}
	segments_destroy(&segments);
}

static void segments_limits(void **state)
{
	static const uint32_t limits[] = { 0, 1, FIRST - 1, FIRST, FIRST + 1, 3 * FIRST };
	struct segments segments;
	uint32_t number = 77;
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(limits) / sizeof(limits[0]); at++) {
		uint32_t i;

		segments_init(&segments, 8, limits[at]);
		for (i = 0; i < limits[at]; i++)
			assert_int_equal(segments_reserve(&segments, &number), 0);
		assert_int_equal(segments_reserve(&segments, &number), -E2BIG);
		assert_int_equal(segments_used(&segments), limits[at]);
		segments_destroy(&segments);
	}
}

/* A reservation without memory takes no number. */
static void segments_without_memory(void **state)
{
	struct segments segments;
	uint64_t refused = 0;
	uint32_t number;
	uint32_t at;

	(void)state;
	segments_init(&segments, sizeof(struct element), 1U << 31);
	for (at = 0; at < 10 * FIRST; at++) {
		int ret;

		alloc_fail_arm(1, 1);
		ret = segments_reserve(&segments, &number);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		refused += alloc_fail_count() > 0;
		alloc_fail_arm(0, 0);
		if (ret) {
			assert_int_equal(segments_used(&segments), at);
			assert_int_equal(segments_reserve(&segments, &number), 0);
		}
		assert_int_equal(number, at);
		assert_true(element_is_zero(segments_at(&segments, at)));
		element_fill(segments_at(&segments, at), at);
	}
	assert_int_equal(refused, 4);
	for (at = 0; at < 10 * FIRST; at++)
		assert_true(element_is(segments_at(&segments, at), at));
	segments_destroy(&segments);
}

#define THREADS 8
#define SHOWN 64

struct crowd {
	struct segments segments;
	uint32_t each;
	uint32_t *mine[THREADS]; /* numbers that each thread got */
	order_u32 shown[SHOWN];  /* the last numbers given away, plus 1 */
	order_u64 broken;        /* relaxed: read when all are joined */
	order_u64 refused;
	uint64_t seed;
	bool faults;
};

/* Looks at an element that another thread has filled. */
static bool shown_is_broken(struct crowd *crowd, struct random_state *random)
{
	/* The store in reserve_many: the element's contents. */
	uint32_t number = order_load_acquire(&crowd->shown[random_state_below(random, SHOWN)]);

	return number && !element_is(segments_at(&crowd->segments, number - 1), number - 1);
}

static void reserve_many(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct random_state random;
	uint32_t *mine = crowd->mine[thread];
	uint32_t got = 0;

	random_state_seed(&random, crowd->seed, thread);
	while (got < crowd->each) {
		struct element *element;
		int ret;

		if (crowd->faults && random_state_chance(&random, 1, 100))
			alloc_fail_arm(1, 0);
		ret = segments_reserve(&crowd->segments, &mine[got]);
		if (ret) {
			order_fetch_add_relaxed(&crowd->refused, 1);
			if (ret != -ENOMEM || !crowd->faults)
				order_fetch_add_relaxed(&crowd->broken, 1);
			continue;
		}
		element = segments_at(&crowd->segments, mine[got]);
		if (!element_is_zero(element) || shown_is_broken(crowd, &random))
			order_fetch_add_relaxed(&crowd->broken, 1);
		element_fill(element, mine[got]);
		/* The load in shown_is_broken: the element's contents. */
		order_store_release(&crowd->shown[random_state_below(&random, SHOWN)],
				    mine[got] + 1);
		got++;
	}
}

/* Numbers are dense and go to one thread each, which finds the element zeroed. */
static void run_crowd(struct crowd *crowd)
{
	const uint32_t all = THREADS * crowd->each;
	uint8_t *taken = calloc(all, 1);
	unsigned thread;
	uint32_t at;

	assert_non_null(taken);
	segments_init(&crowd->segments, sizeof(struct element), 1U << 31);
	for (thread = 0; thread < THREADS; thread++) {
		crowd->mine[thread] = calloc(crowd->each, sizeof(uint32_t));
		assert_non_null(crowd->mine[thread]);
	}
	threads_run(THREADS, reserve_many, crowd);
	alloc_fail_arm(0, 0);
	assert_int_equal(order_load_relaxed(&crowd->broken), 0);
	assert_int_equal(segments_used(&crowd->segments), all);
	for (thread = 0; thread < THREADS; thread++) {
		for (at = 0; at < crowd->each; at++) {
			uint32_t number = crowd->mine[thread][at];

			assert_true(number < all);
			assert_false(taken[number]++);
			assert_true(element_is(segments_at(&crowd->segments, number), number));
		}
		free(crowd->mine[thread]);
	}
	segments_destroy(&crowd->segments);
	free(taken);
}

static void segments_under_threads(void **state)
{
	struct crowd crowd = { .each = 20000 };

	(void)state;
	crowd.seed = threads_data_seed("segments_under_threads");
	run_crowd(&crowd);
	assert_int_equal(order_load_relaxed(&crowd.refused), 0);
}

/* The first use of each segment is where threads meet: many short crowds. */
static void segments_threads_meet_at_first_use(void **state)
{
	uint64_t seed = threads_data_seed("segments_threads_meet_at_first_use");
	unsigned round;

	(void)state;
	for (round = 0; round < 30; round++) {
		struct crowd crowd = { .each = FIRST, .seed = seed + round };

		crowd.faults = round % 2;
		run_crowd(&crowd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_truth_table),
		cmocka_unit_test(segments_double),
		cmocka_unit_test(segments_limits),
		cmocka_unit_test(segments_without_memory),
		cmocka_unit_test(segments_under_threads),
		cmocka_unit_test(segments_threads_meet_at_first_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
