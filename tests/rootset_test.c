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
#include "core/qgroup/lineage.h"
#include "core/qgroup/rootset.h"
#include "tests/support/bitmap.h"
#include "tests/support/threads.h"

#define POSITIONS 300

/* A lineage, whose element numbers are in no order, and positions of it. */
struct line {
	struct lineage lineage;
	uint32_t elements[POSITIONS + 1]; /* at each position, and the end element */
};

static void line_init(struct line *line, struct random_state *random)
{
	uint32_t element;
	uint32_t at;

	assert_int_equal(lineage_init(&line->lineage), 0);
	assert_int_equal(lineage_add_family(&line->lineage, 1, &line->elements[0]), 0);
	for (at = 1; at < POSITIONS; at++)
		assert_int_equal(lineage_add_snapshot(&line->lineage,
						      line->elements[random_state_below(random, at)],
						      at + 1, &line->elements[at]),
				 0);
	at = 0;
	for (element = lineage_next(&line->lineage, LINEAGE_NONE); element;
	     element = lineage_next(&line->lineage, element))
		line->elements[at++] = element;
	assert_int_equal(at, POSITIONS + 1);
}

static uint32_t line_boundaries(const struct line *line, const struct bitmap *bitmap,
				uint32_t *boundaries)
{
	struct run runs[BITMAP_BITS / 2];
	unsigned count = bitmap_runs(bitmap, runs);
	unsigned at;

	for (at = 0; at < count; at++) {
		boundaries[at * 2] = line->elements[runs[at].begin];
		boundaries[at * 2 + 1] = line->elements[runs[at].end];
	}
	return count * 2;
}

static int line_intern(const struct line *line, struct rootset_table *table,
		       const struct bitmap *bitmap, uint32_t *id)
{
	uint32_t boundaries[BITMAP_BITS];
	uint32_t count = line_boundaries(line, bitmap, boundaries);

	return rootset_intern(table, boundaries, count, id);
}

static bool set_is(const struct line *line, const struct rootset_table *table, uint32_t id,
		   const struct bitmap *bitmap)
{
	uint32_t boundaries[BITMAP_BITS];
	uint32_t count = line_boundaries(line, bitmap, boundaries);
	const struct rootset *set = rootset_at(table, id);

	return set->count == count &&
	       !memcmp(set->boundaries, boundaries, count * sizeof(boundaries[0]));
}

static void rootset_truth_table(void **state)
{
	static const uint32_t sets[][4] = {
		{ 1, 2 },       { 1, 3 },          { 2, 3 },
		{ 2, 1 },       { 1, 2, 3, 4 },    { 1, 2, 4, 3 },
		{ 3, 4, 1, 2 }, { UINT32_MAX, 1 }, { 1, UINT32_MAX },
	};
	const uint32_t count = sizeof(sets) / sizeof(sets[0]);
	struct rootset_table table;
	unsigned round;
	uint32_t id;
	uint32_t at;

	(void)state;
	rcu_thread_enroll();
	assert_int_equal(rootset_table_init(&table), 0);
	assert_int_equal(rootset_limit(&table), 1);
	assert_int_equal(rootset_intern(&table, NULL, 0, &id), 0);
	assert_int_equal(id, ROOTSET_EMPTY);
	assert_int_equal(rootset_at(&table, ROOTSET_EMPTY)->count, 0);
	for (round = 0; round < 2; round++)
		for (at = 0; at < count; at++) {
			uint32_t boundaries = sets[at][2] ? 4 : 2;

			assert_int_equal(rootset_intern(&table, sets[at], boundaries, &id), 0);
			assert_int_equal(id, at + 1);
			assert_int_equal(rootset_limit(&table), round ? count + 1 : at + 2);
			assert_int_equal(rootset_at(&table, id)->count, boundaries);
			assert_memory_equal(rootset_at(&table, id)->boundaries, sets[at],
					    boundaries * sizeof(uint32_t));
		}
	rootset_table_destroy(&table);
	rcu_thread_leave();
}

static void rootset_without_memory(void **state)
{
	struct random_state random;
	struct rootset_table table;
	struct line line;
	unsigned failures = 0;
	uint32_t distinct = 0;
	unsigned at;
	int ret;

	(void)state;
	rcu_thread_enroll();
	random_state_seed(&random, 9, 0);
	line_init(&line, &random);
	do {
		alloc_fail_arm(++failures, 0);
		ret = rootset_table_init(&table);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
	} while (ret);
	alloc_fail_arm(0, 0);
	assert_true(failures > IDTABLE_SHARDS);
	for (at = 0; at < 5000; at++) {
		struct bitmap bitmap;
		unsigned nth = 1;
		uint32_t id;

		bitmap_random(&random, POSITIONS, &bitmap);
		for (;; nth++) {
			alloc_fail_arm(nth, 0);
			ret = line_intern(&line, &table, &bitmap, &id);
			assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
			alloc_fail_arm(0, 0);
			if (!ret)
				break;
			/* No id is lost. */
			assert_int_equal(rootset_limit(&table), distinct + 1);
		}
		assert_true(set_is(&line, &table, id, &bitmap));
		assert_true(id <= distinct + 1);
		distinct = id > distinct ? id : distinct;
	}
	assert_true(distinct > 1024);
	assert_int_equal(rootset_limit(&table), distinct + 1);
	rootset_table_destroy(&table);
	lineage_destroy(&line.lineage);
	rcu_thread_leave();
}

#define THREADS 16
#define SETS 4000

struct crowd {
	struct rootset_table table;
	struct line line;
	struct bitmap bitmaps[SETS];
	uint32_t ids[THREADS][SETS]; /* UINT32_MAX where the thread has not interned it */
	unsigned draws;
	uint64_t seed;
	order_u64 broken; /* relaxed: read when all are joined */
};

/* Half of the draws are the same for all threads, so that they meet at new sets. */
static void intern_many(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct random_state common;
	struct random_state own;
	unsigned draw;

	random_state_seed(&common, crowd->seed, 0);
	random_state_seed(&own, crowd->seed, 1 + thread);
	for (draw = 0; draw < crowd->draws; draw++) {
		uint64_t number = random_state_below(draw % 2 ? &common : &own, SETS);
		uint32_t *known = &crowd->ids[thread][number];
		uint32_t id;

		if (line_intern(&crowd->line, &crowd->table, &crowd->bitmaps[number], &id) ||
		    !set_is(&crowd->line, &crowd->table, id, &crowd->bitmaps[number]) ||
		    (*known != UINT32_MAX && *known != id))
			order_fetch_add_relaxed(&crowd->broken, 1);
		*known = id;
	}
}

struct named {
	const struct bitmap *bitmap;
	uint32_t id;
};

static int compare_named(const void *a, const void *b)
{
	return memcmp(((const struct named *)a)->bitmap, ((const struct named *)b)->bitmap,
		      sizeof(struct bitmap));
}

/* Equal bitmaps have one id and different ones two; ids are dense; the table holds what went in. */
static void crowd_check(struct crowd *crowd)
{
	struct named *named = calloc(THREADS * SETS, sizeof(*named));
	const uint32_t limit = rootset_limit(&crowd->table);
	uint8_t *used = calloc(limit, 1);
	uint32_t distinct = 0;
	size_t count = 0;
	size_t at;

	assert_non_null(named);
	assert_non_null(used);
	for (at = 0; at < THREADS * SETS; at++) {
		uint32_t id = crowd->ids[at / SETS][at % SETS];

		if (id != UINT32_MAX)
			named[count++] = (struct named){ &crowd->bitmaps[at % SETS], id };
	}
	qsort(named, count, sizeof(*named), compare_named);
	for (at = 0; at < count; at++) {
		assert_in_range(named[at].id, 1, limit - 1);
		if (at && bitmap_equal(named[at - 1].bitmap, named[at].bitmap)) {
			assert_int_equal(named[at - 1].id, named[at].id);
			continue;
		}
		distinct++;
		assert_false(used[named[at].id]++);
		assert_true(set_is(&crowd->line, &crowd->table, named[at].id, named[at].bitmap));
	}
	assert_int_equal(limit, distinct + 1);
	free(used);
	free(named);
}

static void run_crowd(unsigned draws, uint64_t seed)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	struct random_state random;
	unsigned at;

	assert_non_null(crowd);
	crowd->draws = draws;
	crowd->seed = seed;
	memset(crowd->ids, 0xff, sizeof(crowd->ids));
	rcu_thread_enroll();
	random_state_seed(&random, seed, 100);
	line_init(&crowd->line, &random);
	for (at = 0; at < SETS; at++)
		bitmap_random(&random, POSITIONS, &crowd->bitmaps[at]);
	assert_int_equal(rootset_table_init(&crowd->table), 0);
	threads_run(THREADS, intern_many, crowd);
	assert_int_equal(order_load_relaxed(&crowd->broken), 0);
	crowd_check(crowd);
	rootset_table_destroy(&crowd->table);
	lineage_destroy(&crowd->line.lineage);
	rcu_defer_barrier();
	rcu_thread_leave();
	free(crowd);
}

static void rootset_under_threads(void **state)
{
	(void)state;
	run_crowd(8000, threads_data_seed("rootset_under_threads"));
}

static void rootset_under_threads_with_stalls(void **state)
{
	uint64_t seed = threads_data_seed("rootset_under_threads_with_stalls");

	(void)state;
	threads_stalls_begin("idtable.", threads_timing_seed("rootset_under_threads_with_stalls"),
			     16, 100);
	run_crowd(500, seed);
	threads_stalls_end();
	threads_stalls_assert_passed("idtable.missed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rootset_truth_table),
		cmocka_unit_test(rootset_without_memory),
		cmocka_unit_test(rootset_under_threads),
		cmocka_unit_test(rootset_under_threads_with_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
