/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/forest/extent_slab.h"
#include "tests/support/threads.h"

#define LINES_MAX 300U /* above a quarter of a page */
#define BLOCKS 2000U
#define STEPS 200000U

static struct extent_slab slab;

struct block {
	uint8_t *at; /* NULL: none */
	size_t room;
	uint8_t fill;
};

static void rooms_are_as_small_as_can_be(void **state)
{
	size_t lines;
	size_t last = 0;

	(void)state;
	for (lines = 1; lines <= LINES_MAX; lines++) {
		size_t room = extent_slab_room(lines);

		assert_true(room >= lines && room >= last);
		assert_true(room <= lines + lines / 2);
		assert_int_equal(extent_slab_room(room), room);
		last = room;
	}
	assert_int_equal(extent_slab_room(257), 257);
}

static void block_assert_whole(const struct block *block)
{
	size_t at;

	for (at = 0; at < block->room * EXTENT_SLAB_LINE; at++)
		assert_int_equal(block->at[at], block->fill);
}

static void block_take(struct block *block, size_t lines, uint8_t fill)
{
	block->room = extent_slab_room(lines);
	block->at = extent_slab_take(&slab, block->room);
	block->fill = fill;
	assert_non_null(block->at);
	assert_int_equal((uintptr_t)block->at % EXTENT_SLAB_LINE, 0);
	memset(block->at, fill, block->room * EXTENT_SLAB_LINE);
}

static void block_give(struct block *block)
{
	block_assert_whole(block);
	extent_slab_give(&slab, block->at, block->room);
	block->at = NULL;
}

/* Blocks that lie over each other would lose what is in them. */
static void blocks_are_apart(void **state)
{
	static struct block blocks[BLOCKS];
	struct random_state random;
	unsigned step;

	(void)state;
	random_state_seed(&random, threads_data_seed("extent_slab_test"), 0);
	for (step = 0; step < STEPS; step++) {
		struct block *block = &blocks[random_state_below(&random, BLOCKS)];

		if (block->at)
			block_give(block);
		else
			block_take(block,
				   1 + random_state_below(&random, step % 16 ? 12 : LINES_MAX),
				   (uint8_t)step);
	}
	for (step = 0; step < BLOCKS; step++) {
		if (blocks[step].at)
			block_give(&blocks[step]);
	}
	extent_slab_destroy(&slab);
	memset(&slab, 0, sizeof(slab));
}

/* As the references of many extents do that grow together: what one size leaves serves the next. */
static void sizes_take_over_from_each_other(void **state)
{
	static struct block blocks[BLOCKS];
	uint64_t most;
	size_t lines;
	unsigned at;

	(void)state;
	for (lines = 1; lines <= 48; lines++) {
		for (at = 0; at < BLOCKS; at++) {
			struct block old = blocks[at];

			block_take(&blocks[at], lines, (uint8_t)at);
			if (old.at)
				block_give(&old);
		}
	}
	/* 48 lines and 32 are never there at once for all of them, let alone those before. */
	most = (uint64_t)BLOCKS * 48 * EXTENT_SLAB_LINE * 3 / 2;
	assert_in_range(extent_slab_memory(&slab), BLOCKS * 48 * EXTENT_SLAB_LINE, most);
	for (at = 0; at < BLOCKS; at++)
		block_give(&blocks[at]);
	extent_slab_destroy(&slab);
	memset(&slab, 0, sizeof(slab));
}

static void no_memory_changes_nothing(void **state)
{
	struct block block;

	(void)state;
	alloc_fail_arm(1, 1);
	assert_null(extent_slab_take(&slab, 1));
	assert_null(extent_slab_take(&slab, LINES_MAX));
	alloc_fail_arm(0, 0);
	assert_int_equal(extent_slab_memory(&slab), 0);
	block_take(&block, LINES_MAX, 1);
	assert_int_equal(extent_slab_memory(&slab), LINES_MAX * EXTENT_SLAB_LINE);
	block_give(&block);
	assert_int_equal(extent_slab_memory(&slab), 0);
	block_take(&block, 1, 1);
	alloc_fail_arm(1, 1);
	block_give(&block);
	block_take(&block, 256, 1);
	alloc_fail_arm(0, 0);
	block_give(&block);
	extent_slab_destroy(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rooms_are_as_small_as_can_be),
		cmocka_unit_test(blocks_are_apart),
		cmocka_unit_test(sizes_take_over_from_each_other),
		cmocka_unit_test(no_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
