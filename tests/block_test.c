/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/delayed/block.h"
#include "tests/support/threads.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static void block_truth_table(void **state)
{
	static const size_t sizes[] = { 0, 1, 16 * KIB, 16 * KIB + 1, 100 * KIB, 3 * MIB };
	struct block_cache cache;
	size_t at;

	(void)state;
	block_cache_init(&cache, 64 * MIB);
	for (at = 0; at < sizeof(sizes) / sizeof(sizes[0]); at++) {
		void *block = block_get(&cache, sizes[at]);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % ORDER_LINE, 0);
		memset(block, 1, sizes[at]);
		block_put(&cache, block);
		assert_ptr_equal(block_get(&cache, sizes[at]), block);
		assert_int_equal(order_load_relaxed(&cache.kept_bytes), 0);
		block_put(&cache, block);
		block_cache_destroy(&cache);
		block_cache_init(&cache, 64 * MIB);
	}
	block_put(&cache, NULL);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), 0);
	block_cache_destroy(&cache);
}

/* One that is too small is not given, nor one of more than four times what is asked for. */
static void block_fits(void **state)
{
	struct block_cache cache;
	void *large;
	void *other;

	(void)state;
	block_cache_init(&cache, 64 * MIB);
	large = block_get(&cache, MIB);
	block_put(&cache, large);
	other = block_get(&cache, 2 * MIB);
	assert_ptr_not_equal(other, large);
	block_put(&cache, other);
	other = block_get(&cache, 128 * KIB);
	assert_ptr_not_equal(other, large);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), 3 * MIB);
	assert_ptr_equal(block_get(&cache, 256 * KIB), large);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), 2 * MIB);
	block_put(&cache, large);
	block_put(&cache, other);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), 3 * MIB + 128 * KIB);
	block_cache_destroy(&cache);
}

/* No more are kept than there are places for, and no more bytes than the bound. */
static void block_bounds(void **state)
{
	struct block_cache cache;
	void *blocks[2 * BLOCK_KEPT];
	unsigned at;

	(void)state;
	block_cache_init(&cache, 64 * MIB);
	for (at = 0; at < 2 * BLOCK_KEPT; at++)
		blocks[at] = block_get(&cache, 16 * KIB);
	while (at--)
		block_put(&cache, blocks[at]);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), BLOCK_KEPT * 16 * KIB);
	block_cache_destroy(&cache);

	block_cache_init(&cache, 100 * KIB);
	for (at = 0; at < 4; at++)
		blocks[at] = block_get(&cache, 32 * KIB);
	while (at--)
		block_put(&cache, blocks[at]);
	assert_int_equal(order_load_relaxed(&cache.kept_bytes), 96 * KIB);
	block_cache_destroy(&cache);
}

static void block_without_memory(void **state)
{
	struct block_cache cache;
	void *block;

	(void)state;
	block_cache_init(&cache, 64 * MIB);
	assert_null(block_get(&cache, SIZE_MAX));
	assert_null(block_get(&cache, SIZE_MAX / 2));
	alloc_fail_arm(1, 1);
	assert_null(block_get(&cache, 1));
	alloc_fail_arm(0, 0);
	block = block_get(&cache, 1);
	block_put(&cache, block);
	/* One that is kept needs none. */
	alloc_fail_arm(1, 1);
	assert_ptr_equal(block_get(&cache, 1), block);
	alloc_fail_arm(0, 0);
	block_put(&cache, block);
	block_cache_destroy(&cache);
}

#define THREADS 8
#define HELD 4
#define TURNS 5000

struct crowd {
	struct block_cache cache;
	uint64_t seed;
	order_u64 shared; /* relaxed: blocks that two had at once */
};

/* Both ends of a block, plain on purpose: only the cache orders them between its users. */
static bool block_mark(uint64_t *words, size_t count, uint64_t old, uint64_t mark)
{
	bool whole = !old || (words[0] == old && words[count - 1] == old);

	words[0] = mark;
	words[count - 1] = mark;
	return whole;
}

static void get_and_put(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	uint64_t *held[HELD] = { 0 };
	size_t counts[HELD];
	uint64_t marks[HELD];
	struct random_state random;
	unsigned turn;

	random_state_seed(&random, crowd->seed, thread);
	for (turn = 0; turn < TURNS + HELD; turn++) {
		unsigned at = turn % HELD;

		if (held[at] && !block_mark(held[at], counts[at], marks[at], marks[at]))
			order_fetch_add_relaxed(&crowd->shared, 1);
		block_put(&crowd->cache, held[at]);
		if (turn >= TURNS)
			continue;
		counts[at] = (size_t)1 << (10 + random_state_below(&random, 7));
		marks[at] = (uint64_t)thread << 32 | (turn + 1);
		held[at] = block_get(&crowd->cache, counts[at] * sizeof(uint64_t));
		block_mark(held[at], counts[at], 0, marks[at]);
	}
}

static void block_threads(void **state)
{
	struct crowd crowd = { .seed = threads_timing_seed("block_threads") };
	uint64_t kept;

	(void)state;
	block_cache_init(&crowd.cache, MIB);
	threads_run(THREADS, get_and_put, &crowd);
	assert_int_equal(order_load_relaxed(&crowd.shared), 0);
	kept = order_load_relaxed(&crowd.cache.kept_bytes);
	assert_in_range(kept, 16 * KIB, MIB);
	block_cache_destroy(&crowd.cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(block_truth_table), cmocka_unit_test(block_fits),
		cmocka_unit_test(block_bounds),      cmocka_unit_test(block_without_memory),
		cmocka_unit_test(block_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
