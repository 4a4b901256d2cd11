/* SPDX-License-Identifier: MIT */
/* Queues and heads together: what is appended is merged once, whatever fails in between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/delayed/queued.h"
#include "tests/support/record_case.h"
#include "tests/support/threads.h"

#define MIB (UINT64_C(1) << 20)
#define ALL UINT64_MAX
#define PRODUCERS 4U
#define MERGERS 2U
#define ROUNDS 60U
#define BURST 300U /* deltas appended in a round */

static struct sequence sequence;
static struct store *store;
static struct rs_producer *producers[PRODUCERS];
static struct record_heads taken;

static void store_begin(unsigned count)
{
	unsigned at;

	rcu_thread_enroll();
	sequence_init(&sequence);
	assert_int_equal(queued_create(&sequence, 0, 1 << 20, &store), 0);
	for (at = 0; at < count; at++) {
		producers[at] = alloc_aligned(ORDER_LINE, 1, sizeof(*producers[at]));
		assert_non_null(producers[at]);
		thread_queue_init(&producers[at]->queue);
		sequence_join(&sequence, &producers[at]->slot);
	}
}

static void store_end(unsigned count)
{
	queued_functions.destroy(store);
	while (count--)
		alloc_free(producers[count]);
	sequence_destroy(&sequence);
	rcu_thread_leave();
}

/* In an operation of its own. */
static int append(unsigned producer, struct rs_delta delta)
{
	uint64_t seq = sequence_begin(&sequence, &producers[producer]->slot);
	int result = thread_queue_append(&producers[producer]->queue, &store->pool, &delta, seq);

	sequence_end(&producers[producer]->slot);
	return result;
}

static int64_t refs_at(uint64_t bytenr)
{
	struct rs_head_pending pending;
	int result = queued_functions.lookup(store, bytenr, ALL, &pending, NULL, 0);

	return result && result != -E2BIG ? INT64_MIN : pending.refs;
}

/* Closes a cut and runs to it. */
static int run_all(struct rs_run_result *result)
{
	struct store_run run = { .run = record_heads_take, .argument = &taken, .result = result };

	run.cut = sequence_cut(&sequence);
	assert_true(sequence_close(&sequence, run.cut, NULL));
	memset(result, 0, sizeof(*result));
	taken.head_count = 0;
	taken.entry_count = 0;
	return queued_functions.run(store, &run);
}

static struct store_statistics statistics_of(void)
{
	struct store_statistics statistics;

	memset(&statistics, 0, sizeof(statistics));
	queued_functions.statistics(store, &statistics);
	return statistics;
}

static void merged_is_seen_and_queued_is_not(void **state)
{
	struct store_statistics statistics;
	struct rs_run_result result;

	(void)state;
	store_begin(2);
	assert_int_equal(queued_merge(store), 0);
	assert_int_equal(statistics_of().oldest_time, 0);
	assert_int_equal(append(0, record_ref(MIB, 5, 1)), 0);
	assert_int_equal(append(1, record_ref(MIB, 5, 2)), 0);
	assert_int_equal(refs_at(MIB), 0);
	statistics = statistics_of();
	assert_int_equal(statistics.recorded, 2);
	assert_int_equal(statistics.merged + statistics.run, 0);
	assert_true(statistics.oldest_time > 0);
	assert_int_equal(queued_merge(store), 0);
	assert_int_equal(refs_at(MIB), 3);
	assert_int_equal(append(0, record_ref(MIB, 5, -1)), 0);
	assert_int_equal(refs_at(MIB), 3);
	/* A run merges what is queued by itself. */
	assert_int_equal(run_all(&result), 0);
	assert_int_equal(result.entries, 1);
	assert_int_equal(taken.entries[0].count, 2);
	statistics = statistics_of();
	assert_int_equal(statistics.recorded, 3);
	assert_int_equal(statistics.merged, 2);
	assert_int_equal(statistics.run, 1);
	assert_int_equal(statistics.merges, 2);
	assert_int_equal(statistics.oldest_time, 0);
	store_end(2);
}

/* Each allocation fails in turn, alone and with all later ones: nothing is lost, nothing comes twice. */
static void memory_may_be_short(void **state)
{
	uint64_t nth;
	unsigned all;
	bool refused;

	(void)state;
	for (all = 0; all < 2; all++) {
		for (nth = 1, refused = true; refused; nth++) {
			struct rs_run_result result;
			unsigned at;
			int outcome;

			store_begin(PRODUCERS);
			for (at = 0; at < 2000; at++)
				assert_int_equal(append(at % PRODUCERS,
							record_ref(at % 70 * MIB, at, 1)),
						 0);
			alloc_fail_arm(nth, (int)all);
			outcome = queued_merge(store);
			if (!outcome)
				outcome = run_all(&result);
			refused = alloc_fail_count() > 0;
			alloc_fail_arm(0, 0);
			assert_true(!outcome || (outcome == -ENOMEM && refused));
			/* What was run stays so, and the rest is still there. */
			at = (unsigned)statistics_of().run;
			assert_true(outcome || at == 2000);
			assert_int_equal(run_all(&result), 0);
			assert_int_equal(result.entries, 2000 - at);
			assert_int_equal(statistics_of().recorded, 2000);
			assert_int_equal(statistics_of().merged, 0);
			assert_int_equal(queued_functions.pending(store) / SEGMENT_DELTAS,
					 segment_used(&store->pool));
			store_end(PRODUCERS);
		}
		assert_true(nth > 3);
	}
}

static void making_one_may_fail(void **state)
{
	struct store *made;
	uint64_t nth = 0;
	int result;

	(void)state;
	rcu_thread_enroll();
	sequence_init(&sequence);
	do {
		alloc_fail_arm(++nth, 0);
		result = queued_create(&sequence, 2, 1 << 20, &made);
		assert_true(!result || result == -ENOMEM);
	} while (result);
	alloc_fail_arm(0, 0);
	assert_true(nth > 4);
	queued_functions.destroy(made);
	sequence_destroy(&sequence);
	rcu_thread_leave();
}

/*
 * Producers append, merge, and find all that they appended, though others take it from their
 * queues, and lose it again for want of memory.
 */
static struct {
	uint64_t seed;
	order_u32 producing; /* relaxed: a hint to stop */
	order_u32 wrong;     /* relaxed, as the others: read when the threads are joined */
	order_u32 refused;
} crowd;

static void produce(unsigned producer)
{
	uint64_t bytenr = producer * MIB;
	unsigned wrong = 0;
	unsigned round;
	unsigned at;

	for (round = 1; round <= ROUNDS; round++) {
		for (at = 0; at < BURST; at++)
			/* Ends: memory is refused for a while only. */
			while (append(producer, record_ref(bytenr, at % 7, 1)))
				order_fetch_add_relaxed(&crowd.refused, 1);
		while (queued_merge_all(store))
			order_fetch_add_relaxed(&crowd.refused, 1);
		wrong += refs_at(bytenr) != (int64_t)round * BURST;
	}
	order_fetch_add_relaxed(&crowd.wrong, wrong);
	order_fetch_sub_relaxed(&crowd.producing, 1);
}

static void crowd_main(void *unused, unsigned thread)
{
	struct random_state random;

	(void)unused;
	if (thread < PRODUCERS) {
		produce(thread);
		return;
	}
	random_state_seed(&random, crowd.seed, thread);
	while (order_load_relaxed(&crowd.producing)) {
		if (thread == PRODUCERS)
			alloc_fail_arm(1 + random_state_below(&random, 8), 0);
		if (queued_merge(store))
			order_fetch_add_relaxed(&crowd.refused, 1);
	}
	alloc_fail_arm(0, 0);
}

static void crowd_run(const char *prefix)
{
	struct rs_run_result result;
	int64_t run = 0;
	size_t at;

	memset(&crowd, 0, sizeof(crowd));
	crowd.seed = threads_data_seed("queued_test");
	order_store_relaxed(&crowd.producing, PRODUCERS);
	store_begin(PRODUCERS);
	threads_stalls_begin(prefix, threads_timing_seed("queued_test"), 30, 300);
	threads_run(PRODUCERS + MERGERS, crowd_main, NULL);
	threads_stalls_end();
	alloc_fail_arm(0, 0);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_true(order_load_relaxed(&crowd.refused) > 0);
	assert_int_equal(run_all(&result), 0);
	assert_int_equal(result.heads, PRODUCERS);
	for (at = 0; at < taken.entry_count; at++)
		run += taken.entries[at].count;
	assert_int_equal(run, PRODUCERS * ROUNDS * BURST);
	assert_int_equal(statistics_of().recorded, PRODUCERS * ROUNDS * BURST);
	assert_int_equal(statistics_of().merged + statistics_of().run, PRODUCERS * ROUNDS * BURST);
	assert_int_equal(order_load_relaxed(&store->merging_deltas), 0);
	store_end(PRODUCERS);
}

static void what_was_appended_is_found(void **state)
{
	(void)state;
	crowd_run("queued.");
	threads_stalls_assert_passed("queued.merging");
	crowd_run("heads.");
	crowd_run("queue.");
	threads_stalls_assert_passed("queue.claiming");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merged_is_seen_and_queued_is_not),
		cmocka_unit_test(memory_may_be_short),
		cmocka_unit_test(making_one_may_fail),
		cmocka_unit_test(what_was_appended_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
