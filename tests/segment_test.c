/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/random.h"
#include "core/delayed/segment.h"
#include "tests/support/threads.h"

static uint32_t claimed_of(const struct segment *segment)
{
	return (uint32_t)order_load_relaxed(&segment->claimed);
}

static uint32_t opened_of(const struct segment *segment)
{
	return (uint32_t)(order_load_relaxed(&segment->claimed) >> 32);
}

static void assert_empty(const struct segment *segment, uint64_t begin)
{
	assert_int_equal(order_load_relaxed(&segment->count), 0);
	assert_int_equal(order_load_relaxed(&segment->done), 0);
	assert_null(order_load_relaxed(&segment->link));
	assert_in_range(order_load_relaxed(&segment->since), begin, clock_now_ns());
}

/* Each has its number, and its deltas lie inside it. */
static void segment_truth_table(void **state)
{
	struct segment_pool pool;
	struct segment *segments[3 * SEGMENT_CHUNK];
	uint64_t begin = clock_now_ns();
	unsigned at;
	unsigned other;

	(void)state;
	assert_in_range(sizeof(struct segment) + SEGMENT_DELTAS * sizeof(struct rs_delta),
			SEGMENT_BYTES - sizeof(struct rs_delta) + 1, SEGMENT_BYTES);
	assert_int_equal(segment_pool_init(&pool, 3), 0);
	for (at = 0; at < 3 * SEGMENT_CHUNK; at++) {
		segments[at] = segment_open(&pool, at, at % 2);
		assert_non_null(segments[at]);
		assert_int_equal((uintptr_t)segments[at] % SEGMENT_BYTES, 0);
		assert_empty(segments[at], begin);
		assert_int_equal(claimed_of(segments[at]), at % 2 ? 0 : SEGMENT_DELTAS);
		assert_int_equal(opened_of(segments[at]), 1);
		assert_int_equal(segments[at]->cpu, at % 3);
		assert_ptr_equal(segment_of_number(&pool, segments[at]->number), segments[at]);
		assert_int_equal(segment_used(&pool), at + 1);
		for (other = 0; other < at; other++)
			assert_ptr_not_equal(segments[at], segments[other]);
		memset(segments[at]->deltas, (int)at, SEGMENT_DELTAS * sizeof(struct rs_delta));
	}
	assert_int_equal(order_load_relaxed(&pool.chunk_count), 3);
	while (at--)
		segment_discard(segments[at]);
	assert_int_equal(segment_used(&pool), 0);
	segment_pool_destroy(&pool);
	segment_pool_destroy(&pool);
}

/* What a CPU frees it gets back first; what it lacks it finds with others before the pool grows. */
static void segment_lists(void **state)
{
	struct segment_pool pool;
	struct segment *mine;
	struct segment *others;
	unsigned at;

	(void)state;
	assert_int_equal(segment_pool_init(&pool, 2), 0);
	mine = segment_open(&pool, 0, true);
	others = segment_open(&pool, 1, true);
	segment_discard(mine);
	segment_discard(others);
	assert_ptr_equal(segment_open(&pool, 1, false), others);
	assert_ptr_equal(segment_open(&pool, 2, true), mine);
	assert_int_equal(opened_of(mine), 2);
	assert_int_equal(claimed_of(others), SEGMENT_DELTAS);
	for (at = 2; at < SEGMENT_CHUNK; at++)
		assert_non_null(segment_open(&pool, 1, true));
	assert_int_equal(order_load_relaxed(&pool.chunk_count), 1);
	assert_non_null(segment_open(&pool, 1, true));
	assert_int_equal(order_load_relaxed(&pool.chunk_count), 2);
	segment_pool_destroy(&pool);
}

/* A released segment is not opened again while a section that was open then goes on. */
static void segment_waits_for_readers(void **state)
{
	struct segment_pool pool;
	struct segment *first;
	struct segment *second;
	struct segment *fresh;

	(void)state;
	assert_int_equal(segment_pool_init(&pool, 1), 0);
	first = segment_open(&pool, 0, true);
	second = segment_open(&pool, 0, true);
	/* The rest of the chunk: what is opened next was released, or is of a new one. */
	while (segment_used(&pool) < SEGMENT_CHUNK)
		assert_non_null(segment_open(&pool, 0, true));
	order_store_relaxed(&first->count, 5);
	rcu_section_enter();
	first->next = second;
	second->next = NULL;
	segment_release(first);
	assert_int_equal(segment_used(&pool), SEGMENT_CHUNK - 2);
	fresh = segment_open(&pool, 0, true);
	assert_ptr_not_equal(fresh, first);
	assert_ptr_not_equal(fresh, second);
	assert_int_equal(order_load_relaxed(&first->count), 5);
	rcu_section_exit();
	rcu_defer_barrier();
#ifdef RS_WINDOWS
	assert_int_equal(order_load_relaxed(&first->count), SEGMENT_POISON);
	assert_int_equal(second->deltas[SEGMENT_DELTAS - 1].bytenr, SEGMENT_POISON);
#endif
	assert_ptr_equal(segment_open(&pool, 0, true), second);
	assert_ptr_equal(segment_open(&pool, 0, true), first);
	segment_release(NULL);
	segment_pool_destroy(&pool);
}

static void segment_without_memory(void **state)
{
	struct segment_pool pool;
	struct segment_pool none = { 0 };
	unsigned nth;

	(void)state;
	segment_pool_destroy(&none);
	for (nth = 1; nth <= 2; nth++) {
		alloc_fail_arm(nth, 0);
		assert_int_equal(segment_pool_init(&pool, 1), -ENOMEM);
		alloc_fail_arm(0, 0);
		segment_pool_destroy(&pool);
	}
	assert_int_equal(segment_pool_init(&pool, 1), 0);
	alloc_fail_arm(1, 1);
	assert_null(segment_open(&pool, 0, true));
	alloc_fail_arm(0, 0);
	assert_int_equal(segment_used(&pool), 0);
	/* A pool that has grown to its end. */
	order_store_relaxed(&pool.chunk_count, SEGMENT_CHUNKS);
	assert_null(segment_open(&pool, 0, true));
	order_store_relaxed(&pool.chunk_count, SEGMENT_CHUNKS - 1);
	assert_non_null(segment_open(&pool, 0, true));
	assert_int_equal(order_load_relaxed(&pool.chunk_count), SEGMENT_CHUNKS);
	assert_int_equal(segment_used(&pool), 1);
	segment_pool_destroy(&pool);
}

#ifdef RS_WINDOWS
struct meanwhile {
	struct segment_pool *pool;
	struct segment *kept;
	bool happened;
};

/* The top is taken and the one below too; then the top comes back: the list has another second. */
static void meanwhile_popped(const char *name, void *argument)
{
	struct meanwhile *meanwhile = argument;
	struct segment *top;

	if (meanwhile->happened || strcmp(name, "segment.popping") != 0)
		return;
	meanwhile->happened = true;
	top = segment_open(meanwhile->pool, 0, true);
	meanwhile->kept = segment_open(meanwhile->pool, 0, true);
	segment_discard(top);
}

static void segment_top_comes_back(void **state)
{
	struct segment_pool pool;
	struct meanwhile meanwhile = { .pool = &pool };
	struct segment *segment;
	unsigned at;

	(void)state;
	assert_int_equal(segment_pool_init(&pool, 1), 0);
	segment_discard(segment_open(&pool, 0, true));
	window_hook_set(meanwhile_popped, &meanwhile);
	segment = segment_open(&pool, 0, true);
	window_hook_set(NULL, NULL);
	assert_true(meanwhile.happened);
	assert_ptr_not_equal(segment, meanwhile.kept);
	/* The one that is held in between is not given out again. */
	for (at = 2; at < SEGMENT_CHUNK; at++)
		assert_ptr_not_equal(segment_open(&pool, 0, true), meanwhile.kept);
	assert_int_equal(order_load_relaxed(&pool.chunk_count), 1);
	segment_pool_destroy(&pool);
}
#endif

#define THREADS 8
#define HELD 12

#ifdef __SANITIZE_THREAD__
#define TURNS 4000
#else
#define TURNS 30000
#endif

struct crowd {
	struct segment_pool pool;
	uint64_t seed;
	order_u64 shared; /* relaxed: segments that two had at once */
	order_u64 refused;
};

/* Plain stores on purpose: only the pool orders them between one owner and the next. */
static void segment_mark(struct segment *segment, unsigned thread, uint64_t turn)
{
	segment->deltas[0].bytenr = thread;
	segment->deltas[SEGMENT_DELTAS - 1].bytenr = turn;
	order_store_relaxed(&segment->count, turn);
}

static bool segment_is_marked(const struct segment *segment, unsigned thread, uint64_t turn)
{
	return segment->deltas[0].bytenr == thread &&
	       segment->deltas[SEGMENT_DELTAS - 1].bytenr == turn &&
	       order_load_relaxed(&segment->count) == turn;
}

static void open_and_release(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct segment *held[HELD] = { 0 };
	uint64_t turns[HELD];
	struct random_state random;
	uint64_t turn;

	random_state_seed(&random, crowd->seed, thread);
	for (turn = 0; turn < TURNS + HELD; turn++) {
		unsigned at =
			(unsigned)(turn < TURNS ? random_state_below(&random, HELD) : turn - TURNS);
		struct segment *segment = held[at];

		held[at] = NULL;
		if (segment && !segment_is_marked(segment, thread, turns[at]))
			order_fetch_add_relaxed(&crowd->shared, 1);
		if (segment && random_state_chance(&random, 1, 2)) {
			segment_discard(segment);
		} else if (segment) {
			segment->next = NULL;
			segment_release(segment);
		} else if (turn < TURNS) {
			segment = segment_open(&crowd->pool,
					       (unsigned)random_state_below(&random, 4), true);
			if (!segment || order_load_relaxed(&segment->count))
				order_fetch_add_relaxed(&crowd->refused, 1);
			if (!segment)
				continue;
			segment_mark(segment, thread, turn + 1);
			held[at] = segment;
			turns[at] = turn + 1;
		}
	}
}

static void segment_threads(void **state)
{
	static const char *const stalls[] = { NULL, "segment." };
	uint64_t seed = threads_timing_seed("segment_threads");
	unsigned round;

	(void)state;
	for (round = 0; round < 2; round++) {
		struct crowd crowd = { .seed = seed + round };

		assert_int_equal(segment_pool_init(&crowd.pool, 2), 0);
		if (stalls[round])
			threads_stalls_begin(stalls[round], seed, 200, 100);
		threads_run(THREADS, open_and_release, &crowd);
		if (stalls[round]) {
			threads_stalls_end();
			threads_stalls_assert_passed("segment.popping");
		}
		assert_int_equal(order_load_relaxed(&crowd.shared), 0);
		assert_int_equal(order_load_relaxed(&crowd.refused), 0);
		assert_int_equal(segment_used(&crowd.pool), 0);
		segment_pool_destroy(&crowd.pool);
	}
}

static int group_setup(void **state)
{
	(void)state;
	rcu_thread_enroll();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_thread_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segment_truth_table),
		cmocka_unit_test(segment_lists),
		cmocka_unit_test(segment_waits_for_readers),
		cmocka_unit_test(segment_without_memory),
#ifdef RS_WINDOWS
		cmocka_unit_test(segment_top_comes_back),
#endif
		cmocka_unit_test(segment_threads),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown) ? 1 : 0;
}
