/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/rcu.h"
#include "core/forest/space.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define UNIT UINT64_C(4096)
#define NODE 16384U

static struct space space;
static struct space_window windows[4];
static bool space_begun;

static void space_end(void)
{
	rcu_defer_barrier();
	space_destroy(&space);
	rcu_thread_leave();
	space_begun = false;
}

static void space_begin(uint64_t capacity)
{
	/* Left by a test that failed: its locks are in the list of all locks. */
	if (space_begun)
		space_end();
	space_begun = true;
	rcu_thread_enroll();
	assert_int_equal(space_init(&space, NODE, capacity), 0);
}

/* One group of so many bytes, all in use but for the runs of `runs` units, each before one used unit. */
static void space_begin_with_runs(enum space_kind kind, uint64_t bytes, const unsigned *runs,
				  unsigned count)
{
	uint64_t at = GIB;
	unsigned i;

	space_begin(bytes);
	assert_int_equal(space_add_group(&space, GIB, bytes, kind, false), 0);
	for (i = 0; i < count; i++) {
		at += runs[i] * UNIT;
		assert_int_equal(space_mark(&space, at, UNIT), 0);
		at += UNIT;
	}
	if (at < GIB + bytes)
		assert_int_equal(space_mark(&space, at, GIB + bytes - at), 0);
}

static uint64_t take(struct space_window *window, uint64_t bytes)
{
	uint64_t bytenr;
	uint64_t got;

	assert_int_equal(space_take(window, bytes, bytes, &bytenr, &got), 0);
	assert_int_equal(got, bytes);
	assert_true(space_is_used(&space, bytenr, bytes));
	return bytenr;
}

static int try_take(struct space_window *window, uint64_t bytes, uint64_t bytes_min, uint64_t *got)
{
	uint64_t bytenr = 0;
	int result = space_take(window, bytes, bytes_min, &bytenr, got);

	assert_true(result || space_is_used(&space, bytenr, *got));
	return result;
}

static void groups_are_made_when_they_are_needed(void **state)
{
	uint64_t data;
	uint64_t block;

	(void)state;
	space_begin(64 * GIB);
	space_window_init(&windows[0], &space, SPACE_DATA);
	space_window_init(&windows[1], &space, SPACE_METADATA);
	assert_int_equal(space.grouped, 0);
	data = take(&windows[0], UNIT);
	assert_in_range(data, GIB, 2 * GIB - 1);
	assert_int_equal(space.grouped, GIB);
	assert_int_equal(space_blocks_reserve(&windows[1], 1), 0);
	block = space_block_take(&windows[1]);
	assert_in_range(block, 2 * GIB, 2 * GIB + 256 * MIB - 1);
	assert_int_equal(space.grouped, GIB + 256 * MIB);
	assert_int_equal(space.end, 2 * GIB + 256 * MIB);
	space_window_drain(&windows[0]);
	space_window_drain(&windows[1]);
	assert_int_equal(space_used(&space, SPACE_DATA), UNIT);
	assert_int_equal(space_used(&space, SPACE_METADATA), NODE);
	space_free(&space, data, UNIT);
	assert_false(space_is_used(&space, data, UNIT));
	space_free(&space, block, NODE);
	assert_int_equal(space_used(&space, SPACE_DATA), 0);
	assert_int_equal(space_used(&space, SPACE_METADATA), 0);
	space_end();
}

static void large_extents_are_in_one_place(void **state)
{
	uint64_t got;
	uint64_t kept;
	unsigned at;

	(void)state;
	space_begin(64 * GIB);
	space_window_init(&windows[0], &space, SPACE_DATA);
	take(&windows[0], UNIT);
	kept = windows[0].bytes;
	/* 256 MiB is the most, and there is no room for a fourth in the first group. */
	for (at = 0; at < 4; at++) {
		assert_int_equal(try_take(&windows[0], 512 * MIB, UNIT, &got), 0);
		assert_int_equal(got, SPACE_EXTENT_MAX);
	}
	assert_int_equal(space.grouped, 2 * GIB);
	/* What small ones are taken from is still there. */
	assert_int_equal(windows[0].bytes, kept);
	space_end();
}

/* How often the locks of the space have been taken. */
static void add_acquisitions(const struct lock_statistics *statistics, void *argument)
{
	uint64_t *acquisitions = argument;

	if (!strncmp(statistics->name, "forest.space", strlen("forest.space")))
		*acquisitions += statistics->acquisitions;
}

static uint64_t acquisitions_now(void)
{
	uint64_t acquisitions = 0;

	lock_statistics_each(add_acquisitions, &acquisitions);
	return acquisitions;
}

static void small_ones_share_a_refill(void **state)
{
	static unsigned runs[2048];
	uint64_t before;
	unsigned at;

	(void)state;
	/* The most fragmented: each free unit alone. */
	for (at = 0; at < 2048; at++)
		runs[at] = 1;
	space_begin_with_runs(SPACE_DATA, 16 * MIB, runs, 2048);
	space_window_init(&windows[0], &space, SPACE_DATA);
	before = acquisitions_now();
	for (at = 0; at < 2048; at++) {
		uint64_t bytenr;
		uint64_t got;

		assert_int_equal(space_take(&windows[0], UNIT, UNIT, &bytenr, &got), 0);
	}
	assert_in_range(acquisitions_now() - before, 1, 2048 / 64);
	assert_int_equal(windows[0].bytes, 0);
	space_end();
}

static void what_there_is_is_taken(void **state)
{
	static const unsigned runs[] = { 3, 7, 5 };
	uint64_t got;

	(void)state;
	space_begin_with_runs(SPACE_DATA, MIB, runs, 3);
	space_window_init(&windows[0], &space, SPACE_DATA);
	assert_int_equal(try_take(&windows[0], 10 * UNIT, 8 * UNIT, &got), -ENOSPC);
	assert_int_equal(try_take(&windows[0], 10 * UNIT, UNIT, &got), 0);
	assert_int_equal(got, 7 * UNIT);
	assert_int_equal(try_take(&windows[0], 10 * UNIT, 6 * UNIT, &got), -ENOSPC);
	assert_int_equal(try_take(&windows[0], 10 * UNIT, 5 * UNIT, &got), 0);
	assert_int_equal(got, 5 * UNIT);
	assert_int_equal(try_take(&windows[0], 2 * UNIT, 2 * UNIT, &got), 0);
	assert_int_equal(try_take(&windows[0], MIB, UNIT, &got), 0);
	assert_int_equal(got, UNIT);
	assert_int_equal(try_take(&windows[0], UNIT, UNIT, &got), -ENOSPC);
	assert_int_equal(windows[0].bytes, 0);
	assert_int_equal(space_used(&space, SPACE_DATA), MIB);
	space_end();
}

/* Freed units become one run with their neighbours on both sides. Too long ones for a window. */
static void freed_neighbours_are_one_run(void **state)
{
	static const unsigned runs[] = { 80, 80, 40 };
	uint64_t got;

	(void)state;
	space_begin_with_runs(SPACE_DATA, MIB, runs, 3);
	space_window_init(&windows[0], &space, SPACE_DATA);
	assert_int_equal(try_take(&windows[0], 81 * UNIT, 81 * UNIT, &got), -ENOSPC);
	space_free(&space, GIB + 80 * UNIT, UNIT);
	assert_int_equal(try_take(&windows[0], 162 * UNIT, 162 * UNIT, &got), -ENOSPC);
	space_free(&space, GIB + 161 * UNIT, UNIT);
	assert_int_equal(take(&windows[0], 202 * UNIT), GIB);
	space_end();
}

static void blocks_are_aligned_in_their_group(void **state)
{
	/* 7 has a block from unit 4 of the group on, 3 has none, 13 has 3 from unit 12 on. */
	static const unsigned runs[] = { 2, 7, 13, 3, 4 };
	uint64_t blocks = 0;
	uint64_t begin = GIB + 5 * UNIT;
	uint64_t at = begin;
	unsigned i;

	(void)state;
	space_begin(MIB);
	/* An image's group may begin anywhere. */
	assert_int_equal(space_add_group(&space, begin, MIB, SPACE_METADATA, false), 0);
	for (i = 0; i < 5; i++) {
		at += runs[i] * UNIT;
		assert_int_equal(space_mark(&space, at, UNIT), 0);
		at += UNIT;
	}
	assert_int_equal(space_mark(&space, at, begin + MIB - at), 0);
	space_window_init(&windows[0], &space, SPACE_METADATA);
	while (!space_blocks_reserve(&windows[0], 1)) {
		uint64_t bytenr = space_block_take(&windows[0]);

		assert_int_equal((bytenr - begin) % NODE, 0);
		assert_true(space_is_used(&space, bytenr, NODE));
		blocks++;
	}
	/* Free units 0-1, 3-9, 11-23, 25-27, 29-32: blocks at 4, 12, 16 and 20. */
	assert_int_equal(blocks, 4);
	assert_int_equal(windows[0].bytes, 0);
	space_end();
}

static void reserved_blocks_are_there(void **state)
{
	static unsigned runs[600];
	uint64_t before;
	unsigned at;

	(void)state;
	/* The most pieces: one block in each, and a window that is full of them. */
	for (at = 0; at < 600; at++)
		runs[at] = at ? 7 : 4;
	space_begin_with_runs(SPACE_METADATA, 32 * MIB, runs, 600);
	space_window_init(&windows[0], &space, SPACE_METADATA);
	assert_int_equal(space_blocks_reserve(&windows[0], SPACE_PIECES), 0);
	assert_int_equal(windows[0].count, SPACE_PIECES);
	assert_int_equal(windows[0].bytes, SPACE_PIECES * NODE);
	before = acquisitions_now();
	assert_int_equal(space_blocks_reserve(&windows[0], SPACE_PIECES), 0);
	for (at = 0; at < SPACE_PIECES; at++)
		space_block_take(&windows[0]);
	assert_int_equal(acquisitions_now(), before);
	/* No more than there are, and those that there are stay in the window. */
	assert_int_equal(space_blocks_reserve(&windows[0], 600 - SPACE_PIECES + 1), -ENOSPC);
	assert_int_equal(space_blocks_reserve(&windows[0], 600 - SPACE_PIECES), 0);
	assert_int_equal(windows[0].bytes, (600 - SPACE_PIECES) * NODE);
	space_end();
}

static void what_is_given_back_is_not_lost(void **state)
{
	uint64_t at[SPACE_PIECES + 10];
	uint64_t large;
	unsigned i;

	(void)state;
	space_begin(GIB);
	space_window_init(&windows[0], &space, SPACE_METADATA);
	for (i = 0; i < 2 * (SPACE_PIECES + 10); i++) {
		assert_int_equal(space_blocks_reserve(&windows[0], 1), 0);
		/* Every other one stays: none of those that come back are neighbours. */
		at[i / 2] = space_block_take(&windows[0]);
	}
	for (i = 0; i < SPACE_PIECES + 10; i++)
		space_give_back(&windows[0], at[i], NODE);
	assert_int_equal(windows[0].count, SPACE_PIECES);
	space_window_drain(&windows[0]);
	assert_int_equal(space_used(&space, SPACE_METADATA), (SPACE_PIECES + 10) * NODE);

	/* A window of data does not keep what is large. */
	space_window_init(&windows[1], &space, SPACE_DATA);
	large = take(&windows[1], 64 * MIB);
	space_give_back(&windows[1], large, 64 * MIB);
	assert_in_range(windows[1].bytes, 0, 2 * MIB);
	assert_false(space_is_used(&space, large, 64 * MIB));
	/* What is small is the next that is taken. */
	large = take(&windows[1], 2 * UNIT);
	space_give_back(&windows[1], large, 2 * UNIT);
	assert_int_equal(take(&windows[1], 2 * UNIT), large);
	space_end();
}

/* Also where groups touch, and what is given back touches across. */
static void no_extent_lies_in_two_groups(void **state)
{
	uint64_t got;
	uint64_t low;
	uint64_t high;
	uint64_t swap;

	(void)state;
	space_begin(2 * MIB);
	assert_int_equal(space_add_group(&space, GIB, MIB, SPACE_DATA, false), 0);
	assert_int_equal(space_add_group(&space, GIB + MIB, MIB, SPACE_DATA, false), 0);
	assert_int_equal(space_mark(&space, GIB, MIB - UNIT), 0);
	assert_int_equal(space_mark(&space, GIB + MIB + UNIT, MIB - UNIT), 0);
	space_window_init(&windows[0], &space, SPACE_DATA);
	low = take(&windows[0], UNIT);
	high = take(&windows[0], UNIT);
	if (low > high) {
		swap = low;
		low = high;
		high = swap;
	}
	assert_int_equal(low, GIB + MIB - UNIT);
	assert_int_equal(high, GIB + MIB);
	space_give_back(&windows[0], high, UNIT);
	space_give_back(&windows[0], low, UNIT);
	assert_int_equal(try_take(&windows[0], 2 * UNIT, 2 * UNIT, &got), -ENOSPC);
	assert_int_equal(space_used(&space, SPACE_DATA), 2 * MIB - 2 * UNIT);
	space_end();
}

static void marks_and_groups_are_checked(void **state)
{
	(void)state;
	space_begin(GIB);
	assert_int_equal(space_add_group(&space, GIB, 8 * MIB, SPACE_DATA, false), 0);
	assert_int_equal(space_add_group(&space, GIB + 8 * MIB, 8 * MIB, SPACE_DATA, false), 0);
	assert_int_equal(space_add_group(&space, 16 * MIB, 8 * MIB, SPACE_METADATA, true), 0);
	assert_int_equal(space_add_group(&space, GIB - MIB, 2 * MIB, SPACE_DATA, false), -EUCLEAN);
	assert_int_equal(space_add_group(&space, GIB + 15 * MIB, 2 * MIB, SPACE_DATA, false),
			 -EUCLEAN);
	assert_int_equal(space_add_group(&space, 17 * MIB, MIB, SPACE_DATA, false), -EUCLEAN);
	assert_int_equal(space.grouped, 24 * MIB);
	assert_int_equal(space_mark(&space, GIB + 8 * MIB - UNIT, UNIT), 0);
	assert_int_equal(space_mark(&space, GIB + 8 * MIB - UNIT, UNIT), -EUCLEAN);
	assert_int_equal(space_mark(&space, GIB + 8 * MIB - 2 * UNIT, 2 * UNIT), -EUCLEAN);
	assert_false(space_is_used(&space, GIB + 8 * MIB - 2 * UNIT, UNIT));
	/* Over the end of a group, in none, not a multiple of units, beyond all. */
	assert_int_equal(space_mark(&space, GIB + 16 * MIB - UNIT, 2 * UNIT), -EUCLEAN);
	assert_int_equal(space_mark(&space, 24 * MIB, UNIT), -EUCLEAN);
	assert_int_equal(space_mark(&space, GIB + 512, UNIT), -EUCLEAN);
	assert_int_equal(space_mark(&space, GIB, 512), -EUCLEAN);
	assert_int_equal(space_mark(&space, UINT64_MAX - UNIT + 1, UNIT), -EUCLEAN);
	assert_false(space_is_used(&space, 0, UNIT));
	assert_int_equal(space_used(&space, SPACE_DATA), UNIT);
	/* A mixed group serves both kinds. */
	space_window_init(&windows[0], &space, SPACE_METADATA);
	assert_int_equal(space_blocks_reserve(&windows[0], 1), 0);
	assert_in_range(space_block_take(&windows[0]), 16 * MIB, 24 * MIB - 1);
	space_end();
}

/* Takes all there is. How many bytes. */
static uint64_t take_all(struct space_window *window, uint64_t bytes)
{
	uint64_t sum = 0;
	uint64_t got;
	int result;

	while (!(result = try_take(window, bytes, UNIT, &got)))
		sum += got;
	assert_int_equal(result, -ENOSPC);
	return sum;
}

static void the_capacity_is_the_limit(void **state)
{
	static const uint64_t sizes[] = { UNIT, 3 * UNIT, 256 * KIB, 5 * MIB, SPACE_EXTENT_MAX };
	uint64_t bytenr;
	uint64_t blocks = 0;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		space_begin(40 * MIB + 64 * KIB);
		space_window_init(&windows[0], &space, SPACE_DATA);
		bytenr = take(&windows[0], UNIT);
		assert_int_equal(take_all(&windows[0], sizes[i]), 40 * MIB + 64 * KIB - UNIT);
		assert_int_equal(space.grouped, 40 * MIB + 64 * KIB);
		space_free(&space, bytenr, UNIT);
		assert_int_equal(take(&windows[0], UNIT), bytenr);
		space_end();
	}
	space_begin(8 * MIB);
	space_window_init(&windows[0], &space, SPACE_METADATA);
	for (; !space_blocks_reserve(&windows[0], 1); blocks++)
		space_block_take(&windows[0]);
	assert_int_equal(blocks, 8 * MIB / NODE);
	/* Data finds nothing. */
	space_window_init(&windows[1], &space, SPACE_DATA);
	assert_int_equal(try_take(&windows[1], UNIT, UNIT, &bytenr), -ENOSPC);
	space_end();
}

/* A group is as large as what is to be in one place, where there is room for it. */
static void a_small_space_holds_a_large_extent(void **state)
{
	uint64_t got;

	(void)state;
	space_begin(64 * MIB);
	space_window_init(&windows[0], &space, SPACE_DATA);
	take(&windows[0], 24 * MIB + UNIT);
	assert_int_equal(try_take(&windows[0], 48 * MIB, 48 * MIB, &got), -ENOSPC);
	space_end();
}

struct late {
	struct rcu_deferred deferred;
	uint64_t bytenr;
};

static void late_free(struct rcu_deferred *deferred)
{
	space_free(&space, ((struct late *)deferred)->bytenr, UNIT);
}

static void what_is_being_freed_is_waited_for(void **state)
{
	struct late late;
	uint64_t block;

	(void)state;
	space_begin(2 * MIB);
	space_window_init(&windows[0], &space, SPACE_DATA);
	late.bytenr = take(&windows[0], UNIT);
	take_all(&windows[0], UNIT);
	rcu_defer(&late.deferred, late_free);
	assert_int_equal(take(&windows[0], UNIT), late.bytenr);
	space_end();

	space_begin(64 * KIB);
	assert_int_equal(space_add_group(&space, GIB, 64 * KIB, SPACE_METADATA, false), 0);
	space_window_init(&windows[0], &space, SPACE_METADATA);
	assert_int_equal(space_blocks_reserve(&windows[0], 4), 0);
	for (block = 0; block < 4; block++)
		late.bytenr = space_block_take(&windows[0]);
	/* A unit is no block: the others of it are freed before. */
	space_free(&space, late.bytenr + UNIT, 3 * UNIT);
	rcu_defer(&late.deferred, late_free);
	assert_int_equal(space_blocks_reserve(&windows[0], 1), 0);
	assert_int_equal(space_block_take(&windows[0]), late.bytenr);
	space_end();
}

static void no_memory_changes_nothing(void **state)
{
	uint64_t nth;
	uint64_t got;

	(void)state;
	rcu_thread_enroll();
	alloc_fail_arm(1, 0);
	assert_int_equal(space_init(&space, NODE, GIB), -ENOMEM);
	rcu_thread_leave();
	alloc_fail_arm(0, 0);
	space_begin(GIB);
	space_window_init(&windows[0], &space, SPACE_DATA);
	space_window_init(&windows[1], &space, SPACE_METADATA);
	/* The group, its bits, the list of groups. */
	for (nth = 1; nth <= 3; nth++) {
		alloc_fail_arm(nth, 0);
		assert_int_equal(space_add_group(&space, GIB, MIB, SPACE_DATA, false), -ENOMEM);
		alloc_fail_arm(nth, 0);
		assert_int_equal(try_take(&windows[0], UNIT, UNIT, &got), -ENOMEM);
		alloc_fail_arm(nth, 0);
		assert_int_equal(try_take(&windows[0], MIB, UNIT, &got), -ENOMEM);
		alloc_fail_arm(nth, 0);
		assert_int_equal(space_blocks_reserve(&windows[1], 1), -ENOMEM);
		assert_int_equal(alloc_fail_count(), 1);
		assert_int_equal(space.grouped, 0);
	}
	alloc_fail_arm(0, 0);
	take(&windows[0], UNIT);
	assert_int_equal(space_blocks_reserve(&windows[1], 1), 0);
	space_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_are_made_when_they_are_needed),
		cmocka_unit_test(large_extents_are_in_one_place),
		cmocka_unit_test(small_ones_share_a_refill),
		cmocka_unit_test(what_there_is_is_taken),
		cmocka_unit_test(freed_neighbours_are_one_run),
		cmocka_unit_test(blocks_are_aligned_in_their_group),
		cmocka_unit_test(reserved_blocks_are_there),
		cmocka_unit_test(what_is_given_back_is_not_lost),
		cmocka_unit_test(no_extent_lies_in_two_groups),
		cmocka_unit_test(marks_and_groups_are_checked),
		cmocka_unit_test(the_capacity_is_the_limit),
		cmocka_unit_test(a_small_space_holds_a_large_extent),
		cmocka_unit_test(what_is_being_freed_is_waited_for),
		cmocka_unit_test(no_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
