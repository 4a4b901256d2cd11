/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "core/base/alloc.h"

/* Hides a size from the compiler, which would warn of what the test is about. */
static size_t alloc_opaque(size_t size)
{
	__asm__("" : "+r"(size));
	return size;
}

static void alloc_gives_memory(void **state)
{
	unsigned char *block = alloc_array(100, 3);

	(void)state;
	assert_non_null(block);
	memset(block, 0x5a, 300);
	block = alloc_resize(block, 1000, 3);
	assert_non_null(block);
	for (int i = 0; i < 300; i++)
		assert_int_equal(block[i], 0x5a);
	alloc_free(block);
	alloc_free(NULL);
}

static void alloc_zeroed_is_zero(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		unsigned char *dirty = alloc_array(512, 1);
		unsigned char *block;

		assert_non_null(dirty);
		memset(dirty, 0xff, 512);
		alloc_free(dirty);
		block = alloc_zeroed(64, 8);
		assert_non_null(block);
		for (int i = 0; i < 512; i++)
			assert_int_equal(block[i], 0);
		alloc_free(block);
	}
}

static void alloc_aligned_is_aligned(void **state)
{
	(void)state;
	for (size_t alignment = sizeof(void *); alignment <= 65536; alignment *= 2) {
		unsigned char *block = alloc_aligned(alignment, 37, 3);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % alignment, 0);
		for (int i = 0; i < 111; i++)
			assert_int_equal(block[i], 0);
		alloc_free(block);
	}
}

static void alloc_string_copies(void **state)
{
	char text[] = "a name";
	char *copy = alloc_string(text);
	char *empty = alloc_string("");

	(void)state;
	assert_non_null(copy);
	assert_non_null(empty);
	text[0] = 'X';
	assert_string_equal(copy, "a name");
	assert_string_equal(empty, "");
	alloc_free(copy);
	alloc_free(empty);
}

/* NULL means failure and nothing else; a block resized to nothing is still a block. */
static void alloc_nothing_is_a_block(void **state)
{
	void *blocks[] = {
		alloc_array(0, 8),
		alloc_zeroed(8, 0),
		alloc_aligned(64, 0, 0),
		alloc_resize(NULL, 0, 1),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		assert_non_null(blocks[i]);
		blocks[i] = alloc_resize(blocks[i], 0, 0);
		assert_non_null(blocks[i]);
		alloc_free(blocks[i]);
	}
}

static void alloc_overflow_is_no_memory(void **state)
{
	static const struct {
		size_t count;
		size_t size;
	} sizes[] = {
		{ SIZE_MAX, 2 },         { 2, SIZE_MAX },
		{ SIZE_MAX / 2 + 1, 2 }, { (size_t)1 << 33, (size_t)1 << 33 },
		{ 1, SIZE_MAX },         { 1, (size_t)PTRDIFF_MAX + 1 },
	};
	unsigned char *block = alloc_array(4, 1);

	(void)state;
	assert_non_null(block);
	memcpy(block, "abc", 4);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t count = alloc_opaque(sizes[i].count);
		size_t size = alloc_opaque(sizes[i].size);

		assert_null(alloc_array(count, size));
		assert_null(alloc_zeroed(count, size));
		assert_null(alloc_aligned(64, count, size));
		assert_null(alloc_resize(block, count, size));
		assert_string_equal((char *)block, "abc");
	}
	alloc_free(block);
}

/* One call of each function, as a bit mask of those that failed. */
#define ALLOC_CALLS 5
static unsigned alloc_each_once(void)
{
	void *resized = alloc_resize(NULL, 4, 4);
	void *blocks[ALLOC_CALLS] = { resized };
	unsigned failed = 0;

	blocks[1] = alloc_array(4, 4);
	blocks[2] = alloc_zeroed(4, 4);
	blocks[3] = alloc_aligned(64, 4, 4);
	blocks[4] = alloc_string("text");
	for (unsigned i = 0; i < ALLOC_CALLS; i++) {
		failed |= blocks[i] ? 0 : 1u << i;
		alloc_free(blocks[i]);
	}
	return failed;
}

static void alloc_each_nth_fails(void **state)
{
	(void)state;
	for (unsigned nth = 1; nth <= ALLOC_CALLS + 2; nth++) {
		unsigned once = nth <= ALLOC_CALLS ? 1u << (nth - 1) : 0;
		unsigned later = ~(once - 1) & ((1u << ALLOC_CALLS) - 1);

		alloc_fail_arm(nth, 0);
		assert_int_equal(alloc_each_once(), once);
		assert_int_equal(alloc_fail_count(), once ? 1 : 0);
		alloc_fail_arm(nth, 1);
		assert_int_equal(alloc_each_once(), once ? later : 0);
		assert_int_equal(alloc_fail_count(), once ? ALLOC_CALLS - nth + 1 : 0);
		alloc_fail_arm(0, 1);
		assert_int_equal(alloc_each_once(), 0);
		assert_int_equal(alloc_fail_count(), 0);
	}
}

/* A block that cannot be resized stays what it was. */
static void alloc_resize_keeps_on_failure(void **state)
{
	char *block = alloc_string("kept");

	(void)state;
	assert_non_null(block);
	alloc_fail_arm(1, 0);
	assert_null(alloc_resize(block, 4096, 1));
	alloc_fail_arm(0, 0);
	assert_string_equal(block, "kept");
	alloc_free(block);
}

#define ALLOC_THREADS 4
#define ALLOC_PER_THREAD 20000

static pthread_barrier_t alloc_start;

static void *alloc_count_failures(void *argument)
{
	unsigned *failures = argument;

	pthread_barrier_wait(&alloc_start);
	for (unsigned i = 0; i < ALLOC_PER_THREAD; i++) {
		void *block = alloc_array(1, 16);

		*failures += !block;
		alloc_free(block);
	}
	return NULL;
}

static unsigned alloc_failures_of_threads(void)
{
	pthread_t threads[ALLOC_THREADS];
	unsigned failures[ALLOC_THREADS] = { 0 };
	unsigned sum = 0;

	assert_int_equal(pthread_barrier_init(&alloc_start, NULL, ALLOC_THREADS), 0);
	for (int i = 0; i < ALLOC_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, alloc_count_failures,
						&failures[i]),
				 0);
	for (int i = 0; i < ALLOC_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		sum += failures[i];
	}
	assert_int_equal(pthread_barrier_destroy(&alloc_start), 0);
	return sum;
}

/* However the threads mix, exactly one allocation is the nth. */
static void alloc_nth_is_exact_under_threads(void **state)
{
	const unsigned all = ALLOC_THREADS * ALLOC_PER_THREAD;

	(void)state;
	alloc_fail_arm(all / 2, 0);
	assert_int_equal(alloc_failures_of_threads(), 1);
	assert_int_equal(alloc_fail_count(), 1);
	alloc_fail_arm(all, 0);
	assert_int_equal(alloc_failures_of_threads(), 1);
	alloc_fail_arm(all + 1, 0);
	assert_int_equal(alloc_failures_of_threads(), 0);
	alloc_fail_arm(all / 2, 1);
	assert_int_equal(alloc_failures_of_threads(), all / 2 + 1);
	assert_int_equal(alloc_fail_count(), all / 2 + 1);
	alloc_fail_arm(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alloc_gives_memory),
		cmocka_unit_test(alloc_zeroed_is_zero),
		cmocka_unit_test(alloc_aligned_is_aligned),
		cmocka_unit_test(alloc_string_copies),
		cmocka_unit_test(alloc_nothing_is_a_block),
		cmocka_unit_test(alloc_overflow_is_no_memory),
		cmocka_unit_test(alloc_each_nth_fails),
		cmocka_unit_test(alloc_resize_keeps_on_failure),
		cmocka_unit_test(alloc_nth_is_exact_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
