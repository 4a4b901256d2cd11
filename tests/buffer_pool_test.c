/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/forest/buffer.h"
#include "tests/support/threads.h"

#define NODE_BYTES 16384U
#define PIECE_BLOCKS 127U
#define THREADS 8U
#define HELD 100U
#define TURNS 20000U

static struct buffer_pool pool;

/* As release builds have it, also under sanitizers. */
static void pool_begin(void)
{
	buffer_pool_init(&pool, NODE_BYTES);
	pool.apart = false;
}

static struct buffer *take(struct buffer_cache *cache)
{
	struct buffer *buffer = buffer_pool_take(&pool, cache);

	assert_non_null(buffer);
	memset(buffer->data, 0x5a, NODE_BYTES);
	return buffer;
}

static void what_is_given_is_taken_again(void **state)
{
	struct buffer *buffers[3 * PIECE_BLOCKS];
	struct buffer_cache cache = { 0 };
	unsigned round;
	unsigned at;

	(void)state;
	pool_begin();
	for (round = 0; round < 4; round++) {
		for (at = 0; at < 3 * PIECE_BLOCKS; at++)
			buffers[at] = take(round % 2 ? &cache : NULL);
		assert_int_equal(pool.arena.bytes, 3 * ARENA_PIECE_BYTES);
		for (at = 0; at < 3 * PIECE_BLOCKS; at++)
			buffer_pool_give(&pool, buffers[at]);
	}
	buffer_pool_destroy(&pool);
}

/* A cache takes blocks along that the pool has then only when they are given back. */
static void a_cache_keeps_blocks(void **state)
{
	struct buffer *buffers[PIECE_BLOCKS];
	struct buffer_cache cache = { 0 };
	unsigned at;

	(void)state;
	pool_begin();
	for (at = 0; at < PIECE_BLOCKS; at++)
		buffers[at] = take(NULL);
	for (at = 0; at < PIECE_BLOCKS; at++)
		buffer_pool_give(&pool, buffers[at]);
	take(&cache);
	alloc_fail_arm(1, 1);
	for (at = 0; at < PIECE_BLOCKS - BUFFER_CACHE_BLOCKS; at++)
		take(NULL);
	assert_null(buffer_pool_take(&pool, NULL));
	buffer_pool_give_cache(&pool, &cache);
	assert_null(cache.free);
	for (at = 0; at < BUFFER_CACHE_BLOCKS - 1; at++)
		take(NULL);
	assert_null(buffer_pool_take(&pool, &cache));
	alloc_fail_arm(0, 0);
	take(&cache);
	buffer_pool_destroy(&pool);
}

static order_u32 wrong;

static void fill(struct buffer *buffer, unsigned thread)
{
	buffer->generation = thread;
	memset(buffer->data, (int)thread, NODE_BYTES);
}

static bool is_whole(const struct buffer *buffer, unsigned thread)
{
	return buffer->generation == thread && buffer->data[0] == thread &&
	       buffer->data[NODE_BYTES - 1] == thread;
}

static void crowd(void *unused, unsigned thread)
{
	struct buffer *held[HELD] = { 0 };
	struct buffer_cache cache = { 0 };
	struct random_state random;
	unsigned turn;

	(void)unused;
	random_state_seed(&random, 1, thread);
	for (turn = 0; turn < TURNS; turn++) {
		struct buffer **place = &held[random_state_below(&random, HELD)];

		if (!*place) {
			*place = buffer_pool_take(&pool, turn % 3 ? &cache : NULL);
			if (*place)
				fill(*place, thread);
		} else {
			/* Relaxed: a count, read behind the threads. */
			order_fetch_add_relaxed(&wrong, !is_whole(*place, thread));
			buffer_pool_give(&pool, *place);
			*place = NULL;
		}
	}
	for (turn = 0; turn < HELD; turn++)
		if (held[turn])
			buffer_pool_give(&pool, held[turn]);
	buffer_pool_give_cache(&pool, &cache);
}

static void no_block_has_two_owners(void **state)
{
	uint64_t most = THREADS * (HELD + BUFFER_CACHE_BLOCKS) / PIECE_BLOCKS + 2;

	(void)state;
	pool_begin();
	threads_run(THREADS, crowd, NULL);
	assert_int_equal(order_load_relaxed(&wrong), 0);
	/* Where threads grow the pool at once, all but one give their piece back. */
	assert_in_range(pool.arena.bytes / ARENA_PIECE_BYTES, 1, most);
	buffer_pool_destroy(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_given_is_taken_again),
		cmocka_unit_test(a_cache_keeps_blocks),
		cmocka_unit_test(no_block_has_two_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
