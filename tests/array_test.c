/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

static void grows_and_keeps(void **state)
{
	uint32_t *array = NULL;
	size_t capacity = 0;
	size_t at;

	(void)state;
	for (at = 0; at < 1000; at++) {
		array = array_grow(array, at, 1, &capacity, sizeof(*array));
		assert_non_null(array);
		assert_true(capacity > at);
		array[at] = (uint32_t)at;
	}
	for (at = 0; at < 1000; at++)
		assert_int_equal(array[at], at);
	array = array_grow(array, 1000, 5000, &capacity, sizeof(*array));
	assert_non_null(array);
	assert_true(capacity >= 6000);
	assert_int_equal(array[999], 999);
	alloc_free(array);
}

static void stays_without_memory(void **state)
{
	size_t capacity = 0;
	uint64_t *array = array_grow(NULL, 0, 3, &capacity, sizeof(*array));
	size_t before = capacity;

	(void)state;
	assert_non_null(array);
	array[2] = 7;
	alloc_fail_arm(1, 0);
	assert_null(array_grow(array, before, 1, &capacity, sizeof(*array)));
	alloc_fail_arm(0, 0);
	assert_int_equal(capacity, before);
	assert_int_equal(array[2], 7);
	assert_null(array_grow(array, 1, SIZE_MAX, &capacity, sizeof(*array)));
	assert_null(array_grow(array, 1, SIZE_MAX / 2, &capacity, sizeof(*array)));
	assert_int_equal(capacity, before);
	/* What is there is enough: nothing is allocated. */
	alloc_fail_arm(1, 0);
	assert_ptr_equal(array_grow(array, 0, before, &capacity, sizeof(*array)), array);
	alloc_fail_arm(0, 0);
	alloc_free(array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_keeps),
		cmocka_unit_test(stays_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
