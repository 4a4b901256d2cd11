/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "core/base/order.h"

static void order_arithmetic(void **state)
{
	order_u64 word;

	(void)state;
	order_store_relaxed(&word, 8);
	assert_int_equal(order_fetch_add_relaxed(&word, 2), 8);
	assert_int_equal(order_fetch_add_acquire(&word, 2), 10);
	assert_int_equal(order_fetch_add_release(&word, 2), 12);
	assert_int_equal(order_fetch_add_acq_rel(&word, 2), 14);
	assert_int_equal(order_fetch_sub_relaxed(&word, 1), 16);
	assert_int_equal(order_fetch_sub_acquire(&word, 1), 15);
	assert_int_equal(order_fetch_sub_release(&word, 1), 14);
	assert_int_equal(order_fetch_sub_acq_rel(&word, 1), 13);
	assert_int_equal(order_fetch_or_relaxed(&word, 16), 12);
	assert_int_equal(order_fetch_or_acquire(&word, 32), 28);
	assert_int_equal(order_fetch_or_release(&word, 64), 60);
	assert_int_equal(order_fetch_or_acq_rel(&word, 128), 124);
	assert_int_equal(order_fetch_and_relaxed(&word, ~UINT64_C(128)), 252);
	assert_int_equal(order_fetch_and_acquire(&word, ~UINT64_C(64)), 124);
	assert_int_equal(order_fetch_and_release(&word, ~UINT64_C(32)), 60);
	assert_int_equal(order_fetch_and_acq_rel(&word, ~UINT64_C(16)), 28);
	assert_int_equal(order_load_acquire(&word), 12);
}

static void order_exchanges(void **state)
{
	order_u32 word;
	order_ptr pointer;
	int object = 0;

	(void)state;
	order_store_release(&word, 1);
	assert_int_equal(order_exchange_relaxed(&word, 2), 1);
	assert_int_equal(order_exchange_acquire(&word, 3), 2);
	assert_int_equal(order_exchange_release(&word, 4), 3);
	assert_int_equal(order_exchange_acq_rel(&word, 5), 4);
	order_store_seq_cst(&word, 6);
	assert_int_equal(order_load_seq_cst(&word), 6);
	order_store_relaxed(&pointer, NULL);
	assert_null(order_exchange_acq_rel(&pointer, &object));
	assert_ptr_equal(order_load_relaxed(&pointer), &object);
}

static void order_compare_exchanges(void **state)
{
	order_u64 word;
	uint64_t expected = 7;

	(void)state;
	order_store_relaxed(&word, 1);
	assert_false(order_cas_relaxed(&word, &expected, 9));
	assert_int_equal(expected, 1);
	assert_true(order_cas_relaxed(&word, &expected, 2));
	expected = 7;
	assert_false(order_cas_acquire(&word, &expected, 9));
	assert_true(order_cas_acquire(&word, &expected, 3));
	expected = 7;
	assert_false(order_cas_release(&word, &expected, 9));
	assert_true(order_cas_release(&word, &expected, 4));
	expected = 7;
	assert_false(order_cas_acq_rel(&word, &expected, 9));
	assert_true(order_cas_acq_rel(&word, &expected, 5));
	expected = 7;
	assert_false(order_cas_weak_relaxed(&word, &expected, 9));
	assert_int_equal(expected, 5);
	while (!order_cas_weak_relaxed(&word, &expected, 6))
		;
	while (!order_cas_weak_acquire(&word, &expected, 7))
		;
	while (!order_cas_weak_release(&word, &expected, 8))
		;
	while (!order_cas_weak_acq_rel(&word, &expected, 9))
		;
	assert_int_equal(order_load_relaxed(&word), 9);
}

#ifdef RS_COUNT
static void *order_count_elsewhere(void *argument)
{
	order_u64 *word = argument;

	order_fetch_add_relaxed(word, 1);
	order_store_relaxed(word, 1);
	return order_locked_count == 1 && order_shared_store_count == 1 ? argument : NULL;
}

/* Each thread counts its own; loads count nothing. */
static void order_counts(void **state)
{
	uint64_t locked = order_locked_count;
	uint64_t stores = order_shared_store_count;
	uint64_t expected = 3;
	pthread_t thread;
	order_u64 word;
	void *right;

	(void)state;
	order_store_relaxed(&word, 1);
	order_store_release(&word, 2);
	assert_true(order_load_acquire(&word) == 2);
	assert_true(order_locked_count == locked);
	assert_true(order_shared_store_count == stores + 2);
	order_fetch_add_relaxed(&word, 1);
	order_exchange_acq_rel(&word, 3);
	order_cas_release(&word, &expected, 4);
	assert_true(order_locked_count == locked + 3);
	assert_true(order_shared_store_count == stores + 2);
	assert_int_equal(pthread_create(&thread, NULL, order_count_elsewhere, &word), 0);
	assert_int_equal(pthread_join(thread, &right), 0);
	assert_ptr_equal(right, &word);
	assert_true(order_locked_count == locked + 3);
}
#endif

static void *order_add_many(void *argument)
{
	order_u64 *word = argument;

	for (int i = 0; i < 20000; i++) {
		uint64_t seen = order_load_relaxed(word);

		order_fetch_add_relaxed(word, 1);
		while (!order_cas_weak_relaxed(word, &seen, seen + 1))
			order_pause();
	}
	return NULL;
}

static void order_under_threads(void **state)
{
	pthread_t threads[4];
	order_u64 word;

	(void)state;
	order_store_relaxed(&word, 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, order_add_many, &word), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(order_load_relaxed(&word) == UINT64_C(160000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_arithmetic),
		cmocka_unit_test(order_exchanges),
		cmocka_unit_test(order_compare_exchanges),
#ifdef RS_COUNT
		cmocka_unit_test(order_counts),
#endif
		cmocka_unit_test(order_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
