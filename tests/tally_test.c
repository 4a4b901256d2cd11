/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "core/base/rcu.h"
#include "core/base/tally.h"

static void tally_counts(void **state)
{
	struct tally before;
	struct tally after;

	(void)state;
	tally_read(&before);
	assert_true(tally_retry(TALLY_SEGMENT_POP));
	assert_true(tally_retry(TALLY_SEGMENT_POP));
	assert_true(tally_retry(TALLY_VIEW_ADD));
	tally_longest_forget();
	tally_grace_waited(7);
	tally_grace_waited(5);
	tally_read(&after);
	assert_true(after.grace_wait_ns_max == 7);
	tally_subtract(&after, &before);
	for (unsigned at = 0; at < TALLY_RETRIES; at++)
		assert_int_equal(after.retries[at], at == TALLY_SEGMENT_POP ? 2 :
						    at == TALLY_VIEW_ADD    ? 1 :
									      0);
	assert_true(after.grace_waits == 2 && after.grace_wait_ns == 12);
	assert_true(after.grace_wait_ns_max == 7);
	tally_longest_forget();
	tally_read(&after);
	assert_true(after.grace_wait_ns_max == 0);
}

static void tally_names_differ(void **state)
{
	(void)state;
	for (unsigned at = 0; at < TALLY_RETRIES; at++) {
		assert_non_null(tally_retry_name((enum tally_retry)at));
		for (unsigned other = 0; other < at; other++)
			assert_string_not_equal(tally_retry_name((enum tally_retry)at),
						tally_retry_name((enum tally_retry)other));
	}
}

static void tally_sees_grace_periods(void **state)
{
	struct tally before;
	struct tally after;

	(void)state;
	rcu_thread_enroll();
	tally_read(&before);
	rcu_grace_wait();
	rcu_defer_barrier();
	tally_read(&after);
	rcu_thread_leave();
	tally_subtract(&after, &before);
	assert_true(after.grace_waits == 2);
	assert_true(after.grace_wait_ns > 0);
}

#define THREADS 4
#define ROUNDS 20000U

static void *count_many(void *argument)
{
	uint64_t number = *(const unsigned *)argument;

	for (uint64_t round = 0; round < ROUNDS; round++) {
		tally_retry(TALLY_HEADS_PUSH);
		tally_grace_waited(round * THREADS + number);
	}
	return NULL;
}

static void tally_loses_nothing(void **state)
{
	pthread_t threads[THREADS];
	unsigned numbers[THREADS];
	uint64_t last = (uint64_t)ROUNDS * THREADS;
	struct tally before;
	struct tally after;

	(void)state;
	tally_longest_forget();
	tally_read(&before);
	for (unsigned at = 0; at < THREADS; at++) {
		numbers[at] = at;
		assert_int_equal(pthread_create(&threads[at], NULL, count_many, &numbers[at]), 0);
	}
	for (unsigned at = 0; at < THREADS; at++)
		assert_int_equal(pthread_join(threads[at], NULL), 0);
	tally_read(&after);
	tally_subtract(&after, &before);
	assert_true(after.retries[TALLY_HEADS_PUSH] == last);
	assert_true(after.grace_waits == last);
	assert_true(after.grace_wait_ns == last * (last - 1) / 2);
	assert_true(after.grace_wait_ns_max == last - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tally_counts),
		cmocka_unit_test(tally_names_differ),
		cmocka_unit_test(tally_sees_grace_periods),
		cmocka_unit_test(tally_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
