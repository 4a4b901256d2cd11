/* SPDX-License-Identifier: MIT */
/* Bounds of what is pending, ages, and threads that end inside an operation, in each configuration. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/order.h"
#include "tests/support/record_case.h"
#include "tests/support/threads.h"

#define MIB (UINT64_C(1) << 20)
#define PRODUCERS 8U
#define OPERATION 16U /* deltas in one */
#define ROUNDS 400U   /* operations of each producer */
#define CLOSE_NS UINT64_C(20000000000)
#define LIMIT_S 100 /* of the whole program: what hangs ends */

/* Relaxed, all of them: sums, and hints. */
static struct {
	struct rs_record *record;
	order_u64 entries; /* run */
	order_u64 pending_max;
	order_u32 wrong;
	order_u32 producing;
	order_u32 failing; /* what the record's runner returns, without its sign */
} crowd;

static int run_head(void *unused, const struct rs_head *head)
{
	(void)unused;
	if (order_load_relaxed(&crowd.failing))
		return -(int)order_load_relaxed(&crowd.failing);
	order_fetch_add_relaxed(&crowd.entries, head->ref_count + head->root_count);
	return 0;
}

static void crowd_begin(void **state, struct rs_record_options options)
{
	memset(&crowd, 0, sizeof(crowd));
	crowd.record = record_case_create(state, &options);
}

/* All that was recorded is run, by the record's runner or here. */
static void crowd_end(uint64_t recorded)
{
	uint64_t cut = record_close(crowd.record);

	assert_int_equal(rs_record_run(crowd.record, cut, run_head, NULL, NULL), 0);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_int_equal(order_load_relaxed(&crowd.entries), recorded);
	record_assert_sums(crowd.record, recorded, recorded);
	rs_record_destroy(crowd.record);
}

/* Deltas that all differ, so that none is merged. */
static void produce(unsigned thread, unsigned rounds)
{
	struct rs_producer *producer;
	uint64_t key = (uint64_t)thread << 32;
	unsigned wrong = rs_producer_join(crowd.record, &producer) != 0;

	while (rounds--) {
		unsigned at;

		wrong += rs_operation_begin(producer) != 0;
		for (at = 0; at < OPERATION; at++) {
			const struct rs_delta delta = record_ref(key % 97 * MIB, key, 1);

			wrong += rs_operation_record(producer, &delta) != 0;
			key++;
		}
		rs_operation_end(producer);
	}
	rs_producer_leave(producer);
	order_fetch_add_relaxed(&crowd.wrong, wrong);
	order_fetch_sub_relaxed(&crowd.producing, 1);
}

/* Looks how much is pending until the producers are done. */
static void sample(void)
{
	const struct timespec pause = { .tv_nsec = 500000 };
	struct rs_record_statistics statistics;

	while (order_load_relaxed(&crowd.producing)) {
		uint64_t most = order_load_relaxed(&crowd.pending_max);

		rs_record_statistics_read(crowd.record, &statistics);
		if (statistics.pending_deltas > most)
			order_store_relaxed(&crowd.pending_max, statistics.pending_deltas);
		nanosleep(&pause, NULL);
	}
}

static void crowd_main(void *unused, unsigned thread)
{
	(void)unused;
	if (thread < PRODUCERS)
		produce(thread, ROUNDS);
	else
		sample();
}

static void crowd_run(const char *prefix)
{
	order_store_relaxed(&crowd.producing, PRODUCERS);
	threads_stalls_begin(prefix, threads_timing_seed(prefix), 20, 200);
	threads_run(PRODUCERS + 1, crowd_main, NULL);
	threads_stalls_end();
}

static void who_waits_runs_heads(void **state)
{
	const struct rs_record_options options = {
		.run = run_head,
		.soft_deltas = 4000,
		.hard_deltas = 12000,
	};
	struct rs_record_statistics statistics;

	crowd_begin(state, options);
	crowd_run("throttle.");
	threads_stalls_assert_passed("throttle.full");
	threads_stalls_assert_passed("throttle.relieved");
	rs_record_statistics_read(crowd.record, &statistics);
	assert_true(statistics.waits > 0);
	assert_true(statistics.wait_ns_max > 0);
	/*
	 * What may be added until all have seen that it is too much: a segment each, and an
	 * operation. Numbers of several moments: what is taken meanwhile may count twice.
	 */
	assert_in_range(order_load_relaxed(&crowd.pending_max), 0,
			2 * options.hard_deltas + PRODUCERS * (700 + OPERATION));
	crowd_end(PRODUCERS * ROUNDS * OPERATION);
}

/* So few that a queue's segment is more. */
static void bounds_may_be_tiny(void **state)
{
	const struct rs_record_options options = {
		.run = run_head,
		.soft_deltas = 1,
		.hard_deltas = 1,
	};
	unsigned thread;

	crowd_begin(state, options);
	order_store_relaxed(&crowd.producing, 2);
	for (thread = 0; thread < 2; thread++)
		produce(thread, 100);
	crowd_end(2 * 100 * OPERATION);
}

/* A view holds back all that is pending, until it is too old. */
static void old_views_are_ended(void **state)
{
	const struct rs_record_options options = {
		.run = run_head,
		.soft_deltas = 4000,
		.hard_deltas = 12000,
		.view_age_ns_max = 100000000,
	};
	struct rs_record_statistics statistics;
	struct rs_view *view;

	crowd_begin(state, options);
	assert_int_equal(rs_view_acquire(crowd.record, &view), 0);
	assert_int_equal(rs_view_check(view), 0);
	crowd_run("throttle.");
	assert_int_equal(rs_view_check(view), -ESTALE);
	rs_record_statistics_read(crowd.record, &statistics);
	assert_int_equal(statistics.views_ended, 1);
	assert_int_equal(statistics.views, 0);
	assert_true(statistics.waits > 0);
	assert_int_equal(rs_view_release(crowd.record, view), -ESTALE);
	crowd_end(PRODUCERS * ROUNDS * OPERATION);
}

static void the_runners_error_is_handed_on(void **state)
{
	const struct rs_record_options options = {
		.run = run_head,
		.soft_deltas = 2000,
		.hard_deltas = 2000,
	};
	struct rs_producer *producer;
	uint64_t recorded = 0;
	int result;

	crowd_begin(state, options);
	order_store_relaxed(&crowd.failing, EIO);
	assert_int_equal(rs_producer_join(crowd.record, &producer), 0);
	while (!(result = rs_operation_begin(producer)) && recorded < 100000) {
		unsigned at;

		for (at = 0; at < 5000; at++, recorded++) {
			const struct rs_delta delta = record_ref(MIB, recorded, 1);

			assert_int_equal(rs_operation_record(producer, &delta), 0);
		}
		rs_operation_end(producer);
	}
	assert_int_equal(result, -EIO);
	assert_int_equal(rs_operation_begin(producer), -EIO);
	/* No operation was begun: a cut does not wait. */
	record_close(crowd.record);
	order_store_relaxed(&crowd.failing, 0);
	assert_int_equal(rs_operation_begin(producer), 0);
	rs_operation_end(producer);
	rs_producer_leave(producer);
	crowd_end(recorded);
}

/* Begins an operation, records, and ends as a thread. */
static void *abandon_main(void *unused)
{
	const struct rs_delta delta = record_ref(MIB, 5, 1);
	struct rs_producer *producer;
	struct rs_producer *other;
	unsigned wrong = rs_producer_join(crowd.record, &producer) != 0;

	(void)unused;
	wrong += rs_producer_join(crowd.record, &other) != 0;
	wrong += rs_operation_begin(producer) != 0;
	wrong += rs_operation_record(producer, &delta) != 0;
	order_fetch_add_relaxed(&crowd.wrong, wrong);
	return NULL;
}

static void a_thread_that_ends_leaves(void **state)
{
	struct rs_record_statistics statistics;
	unsigned round;
	uint64_t cut;

	crowd_begin(state, (struct rs_record_options){ 0 });
	for (round = 1; round <= 3; round++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, abandon_main, NULL), 0);
		cut = rs_cut_take(crowd.record);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(rs_cut_wait(crowd.record, cut, CLOSE_NS, NULL), 0);
		cut = record_close(crowd.record);
		assert_int_equal(rs_record_run(crowd.record, cut, run_head, NULL, NULL), 0);
		assert_int_equal(order_load_relaxed(&crowd.entries), round);
		rs_record_statistics_read(crowd.record, &statistics);
		assert_int_equal(statistics.abandoned, round);
	}
	crowd_end(3);
}

static void what_is_old_is_run(void **state)
{
	const struct rs_record_options options = {
		.run = run_head,
		.age_ns_max = 20000000,
		.view_age_ns_max = 20000000,
	};
	const struct timespec pause = { .tv_nsec = 40000000 };
	struct rs_record_statistics statistics;
	struct rs_producer *producer;
	struct rs_view *view;

	crowd_begin(state, options);
	assert_int_equal(rs_producer_join(crowd.record, &producer), 0);
	assert_int_equal(rs_record_tend(crowd.record), 0);
	record_one(producer, record_ref(MIB, 5, 1));
	nanosleep(&pause, NULL);
	rs_record_statistics_read(crowd.record, &statistics);
	assert_true(statistics.oldest_ns >= 40000000);
	assert_int_equal(rs_record_tend(crowd.record), 0);
	assert_int_equal(order_load_relaxed(&crowd.entries), 1);
	rs_record_statistics_read(crowd.record, &statistics);
	assert_int_equal(statistics.oldest_ns, 0);
	/* An old view goes, and what it held back with it. */
	assert_int_equal(rs_view_acquire(crowd.record, &view), 0);
	record_one(producer, record_ref(MIB, 5, 1));
	nanosleep(&pause, NULL);
	order_store_relaxed(&crowd.failing, EPERM);
	assert_int_equal(rs_record_tend(crowd.record), -EPERM);
	order_store_relaxed(&crowd.failing, 0);
	assert_int_equal(rs_record_tend(crowd.record), 0);
	assert_int_equal(order_load_relaxed(&crowd.entries), 2);
	assert_int_equal(rs_view_release(crowd.record, view), -ESTALE);
	rs_producer_leave(producer);
	crowd_end(2);
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "who waits runs heads", who_waits_runs_heads },
		{ "bounds may be tiny", bounds_may_be_tiny },
		{ "old views are ended", old_views_are_ended },
		{ "the runner's error is handed on", the_runners_error_is_handed_on },
		{ "a thread that ends leaves", a_thread_that_ends_leaves },
		{ "what is old is run", what_is_old_is_run },
	};

	alarm(LIMIT_S);
	return record_tests_run("throttle_test", tests, sizeof(tests) / sizeof(tests[0]));
}
