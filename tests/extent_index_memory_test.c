/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/arena.h"
#include "tests/support/index_case.h"

/* Each address once, in no order: 40503 is odd. */
static uint64_t crowd_address(unsigned at)
{
	return HERE + (at * 40503ULL % 65536) * 4 * UNIT;
}

static void memory_is_as_promised(void **state)
{
	const uint64_t count = 65536;
	uint64_t empty;
	uint64_t made;
	unsigned round;
	unsigned at;

	(void)state;
	index_begin();
	make_one(HERE);
	free_one(HERE);
	empty = extent_index_memory(extents);
	assert_in_range(empty, ARENA_PIECE_BYTES, ARENA_PIECE_BYTES + 4096);
	make_one(HERE + 9 * PAGE);
	free_one(HERE + 9 * PAGE);
	assert_int_equal(extent_index_memory(extents), empty);
	for (at = 0; at < count; at++)
		make_one(HERE + at * 4 * UNIT);
	made = extent_index_memory(extents);
	assert_in_range(made, count * 64, count * 72 + ARENA_PIECE_BYTES);
	for (round = 0; round < 4; round++) {
		for (at = 0; at < count; at++)
			assert_int_equal(apply_one(HERE + at * 4 * UNIT, FULL_DATA, 8192, 1), 0);
		assert_in_range(extent_index_memory(extents), made + count * 64 - ARENA_PIECE_BYTES,
				made + count * 66 + ARENA_PIECE_BYTES);
		for (at = 0; at < count; at++)
			assert_int_equal(apply_one(HERE + at * 4 * UNIT, FULL_DATA, 8192, -1), 0);
	}
	for (at = 0; at < count; at++)
		free_one(crowd_address(at));
	made = extent_index_memory(extents);
	/* What comes and goes in any order finds its place in what is there. */
	for (round = 0; round < 6; round++) {
		for (at = 0; at < count; at++)
			make_one(crowd_address(at));
		for (at = 0; at < count; at++)
			free_one(crowd_address(at));
		if (!round)
			made = extent_index_memory(extents);
	}
	assert_int_equal(extent_index_memory(extents), made);
	assert_int_equal(extent_index_count(extents), 0);
	extent_index_destroy(extents);
}

/* A head that needs new memory for all there is: its allocations fail, the first, the second, ... */
static void memory_case(uint64_t bytenr, const struct rs_delta *refs, size_t ref_count,
			unsigned failures)
{
	uint64_t memory = extent_index_memory(extents);
	uint64_t sum = walk_sum();
	struct extent before = { 0 };
	struct extent after = { 0 };
	bool was = extent_index_find(extents, bytenr, &before);
	unsigned nth;

	for (nth = 1;; nth++) {
		int ret;

		alloc_fail_arm(nth, 0);
		ret = apply(bytenr, refs, ref_count, NULL, 0);
		alloc_fail_arm(0, 0);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(error.code, -ENOMEM);
		assert_int_equal(walk_sum(), sum);
		assert_true(extent_index_memory(extents) < memory + 4096); /* no page */
		assert_int_equal(extent_index_find(extents, bytenr, &after), was);
		assert_int_equal(after.refs, before.refs);
		assert_int_equal(extent_ref_count(&after), extent_ref_count(&before));
	}
	assert_true(nth > failures);
}

static void nothing_happens_without_memory(void **state)
{
	struct rs_delta many[40];
	struct extent extent;
	unsigned at;

	(void)state;
	for (at = 0; at < 40; at++)
		many[at] = delta_at(HERE, FULL_DATA, (at + 1) * UNIT, 1);
	alloc_fail_arm(1, 0);
	assert_int_equal(extent_index_create(&extents), -ENOMEM);
	alloc_fail_arm(0, 0);
	index_begin();
	memory_case(HERE, many, 1, 3);        /* what is merged, the pages, one of them, a piece */
	memory_case(HERE, many + 1, 1, 0);    /* inside */
	memory_case(HERE, many + 2, 30, 0);   /* a block of the piece */
	memory_case(HERE - PAGE, many, 2, 1); /* a page */
	for (at = 0; at < 40; at++)
		many[at].count = -1;
	/* To be freed needs none, and what would only save some does not have to be there. */
	alloc_fail_arm(1, 1);
	for (at = 0; at < 31; at++)
		assert_int_equal(apply(HERE, many + at, 1, NULL, 0), 0);
	assert_true(extent_index_find(extents, HERE, &extent));
	assert_int_equal(extent_ref_count(&extent), 1);
	assert_int_equal(apply(HERE, many + 31, 1, NULL, 0), 0);
	assert_int_equal(outcome, EXTENT_FREED);
	alloc_fail_arm(0, 0);
	extent_index_destroy(extents);
}

/* Where a piece is full, as everywhere. */
static void nothing_happens_without_a_piece(void **state)
{
	struct rs_delta many[5];
	struct extent extent;
	unsigned made = 0;
	unsigned at;
	int ret;

	(void)state;
	index_begin();
	make_one(HERE);
	for (at = 0; at < 5; at++)
		many[at] = delta_at(HERE, FULL_DATA, (at + 1) * UNIT, 1);
	assert_int_equal(apply(HERE, many, 5, NULL, 0), 0);
	alloc_fail_arm(1, 1);
	do {
		made++;
		for (at = 0; at < 5; at++)
			many[at].bytenr = HERE + made * UNIT;
		ret = apply(HERE + made * UNIT, many, 5, NULL, 0);
	} while (!ret && made < PAGE / UNIT - 1);
	alloc_fail_arm(0, 0);
	assert_int_equal(ret, -ENOMEM);
	assert_int_equal(extent_index_count(extents), made);
	assert_false(extent_index_find(extents, HERE + made * UNIT, &extent));
	assert_int_equal(walk_sum(),
			 (uint64_t)made * HERE + (uint64_t)made * (made - 1) / 2 * UNIT);
	assert_int_equal(apply(HERE + made * UNIT, many, 5, NULL, 0), 0);
	assert_true(extent_index_find(extents, HERE + made * UNIT, &extent));
	assert_int_equal(extent.refs, 5);
	extent_index_destroy(extents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_as_promised),
		cmocka_unit_test(nothing_happens_without_memory),
		cmocka_unit_test(nothing_happens_without_a_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
