/* SPDX-License-Identifier: MIT */
/* How old the oldest pending delta is said to be, and threads that end where they wait for room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "tests/support/record_case.h"

#define MS UINT64_C(1000000)
#define ALL UINT64_MAX

static struct record_world world;

static void nap(uint64_t ns)
{
	const struct timespec time = { (time_t)(ns / (1000 * MS)), (long)(ns % (1000 * MS)) };

	assert_int_equal(nanosleep(&time, NULL), 0);
}

static uint64_t oldest(void)
{
	struct rs_record_statistics statistics;

	rs_record_statistics_read(world.record, &statistics);
	return statistics.oldest_ns;
}

/* A delta is as old as it is, not as the last one of its queue. */
static void an_idle_queue_does_not_age(void **state)
{
	struct rs_producer *other;
	unsigned at;

	record_world_begin(&world, state, NULL);
	assert_int_equal(rs_producer_join(world.record, &other), 0);
	record_one(other, record_ref(4096, 5, 1));
	for (at = 0; at < 20; at++) {
		record_one(world.producer, record_ref(8192, at, 1));
		record_close(world.record);
		assert_int_equal(record_run_to(&world, ALL, 0), 0);
		nap(20 * MS);
	}
	record_one(other, record_ref(4096, 6, 1));
	assert_in_range(oldest(), 0, 200 * MS);
	assert_int_equal(rs_record_settle(world.record), 0);
	assert_in_range(oldest(), 0, 200 * MS);
	nap(300 * MS);
	assert_in_range(oldest(), 300 * MS, 10000 * MS);
	rs_producer_leave(other);
	record_world_end(&world);
}

#define OVERLAPPING 32U
/* Something is always pending, since operations overlap, but nothing for long. */
static void what_was_run_does_not_age(void **state)
{
	const struct rs_record_options options = { .view_age_ns_max = 1000 * MS };
	struct rs_producer *producers[OVERLAPPING];
	unsigned step;
	unsigned at;

	record_world_begin(&world, state, &options);
	for (at = 0; at < OVERLAPPING; at++)
		assert_int_equal(rs_producer_join(world.record, &producers[at]), 0);
	for (step = 0; step < 400; step++) {
		struct rs_producer *producer = producers[step % OVERLAPPING];
		const struct rs_delta delta = record_ref(4096 + 4096 * (step % 7), step, 1);
		uint64_t cut;

		if (step >= OVERLAPPING)
			rs_operation_end(producer);
		assert_int_equal(rs_operation_begin(producer), 0);
		assert_int_equal(rs_operation_record(producer, &delta), 0);
		cut = rs_cut_take(world.record);
		(void)!rs_cut_wait(world.record, cut, 0, NULL);
		assert_int_equal(rs_record_merge(world.record), 0);
		assert_int_equal(record_run_to(&world, cut, 0), 0);
		nap(2 * MS);
	}
	/* 64 ms and a few readings; it ran for 800. */
	assert_in_range(oldest(), 1, 400 * MS);
	for (at = 0; at < OVERLAPPING; at++) {
		rs_operation_end(producers[at]);
		rs_producer_leave(producers[at]);
	}
	record_world_end(&world);
}

static void *wait_for_room(void *record)
{
	struct rs_producer *producer;

	if (rs_producer_join(record, &producer) || rs_operation_begin(producer))
		return NULL;
	rs_operation_end(producer);
	return producer;
}

/* It may have been running heads for the others. */
static void a_waiter_can_be_cancelled(void **state)
{
	const struct rs_record_options options = {
		.run = record_heads_take,
		.argument = &world.heads,
		.soft_deltas = 100,
		.hard_deltas = 1000,
	};
	unsigned at;

	record_world_begin(&world, state, &options);
	for (at = 0; at < 5; at++) {
		struct rs_delta delta = record_ref(4096, at, 1);
		unsigned left = 3000;
		pthread_t thread;
		void *result;

		assert_int_equal(rs_operation_begin(world.producer), 0);
		while (left--) {
			delta.bytenr += 4096;
			assert_int_equal(rs_operation_record(world.producer, &delta), 0);
		}
		assert_int_equal(pthread_create(&thread, NULL, wait_for_room, world.record), 0);
		nap((1 + at * 3) * MS);
		assert_int_equal(pthread_cancel(thread), 0);
		rs_operation_end(world.producer);
		assert_int_equal(pthread_join(thread, &result), 0);
		record_close(world.record);
		/* Hangs where the thread took the lock of runs with it. */
		assert_int_equal(record_run_to(&world, ALL, 0), 0);
	}
	record_world_end(&world);
}

static void huge_bounds_do_not_wrap(void **state)
{
	const struct rs_record_options options = { .hard_deltas = UINT64_C(1) << 58 };

	record_world_begin(&world, state, &options);
	/* The second one would wait for ever. */
	record_one(world.producer, record_ref(4096, 5, 1));
	record_one(world.producer, record_ref(4096, 6, 1));
	record_run_rest(&world, 1, 2);
	record_world_end(&world);
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "an_idle_queue_does_not_age", an_idle_queue_does_not_age },
		{ "what_was_run_does_not_age", what_was_run_does_not_age },
		{ "a_waiter_can_be_cancelled", a_waiter_can_be_cancelled },
		{ "huge_bounds_do_not_wrap", huge_bounds_do_not_wrap },
	};

	return record_tests_run("record_age", tests, sizeof(tests) / sizeof(tests[0]));
}
