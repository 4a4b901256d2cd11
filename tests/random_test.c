/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/random.h"

/* First outputs of xoshiro256++ from the state 1, 2, 3, 4. */
static void random_matches_published_outputs(void **state)
{
	static const uint64_t expected[] = {
		UINT64_C(41943041),
		UINT64_C(58720359),
		UINT64_C(3588806011781223),
		UINT64_C(3591011842654386),
		UINT64_C(9228616714210784205),
		UINT64_C(9973669472204895162),
		UINT64_C(14011001112246962877),
		UINT64_C(12406186145184390807),
		UINT64_C(15849039046786891736),
		UINT64_C(10450023813501588000),
	};
	struct random_state random = { { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_true(random_state_next(&random) == expected[i]);
}

/* First outputs of splitmix64 from 1234567, which stream 0 puts into the state. */
static void random_seeds_as_published(void **state)
{
	static const uint64_t expected[] = {
		UINT64_C(6457827717110365317),
		UINT64_C(3203168211198807973),
		UINT64_C(9817491932198370423),
		UINT64_C(4593380528125082431),
	};
	struct random_state random;

	(void)state;
	random_state_seed(&random, 1234567, 0);
	for (int i = 0; i < 4; i++)
		assert_true(random.word[i] == expected[i]);
}

static void random_repeats_by_seed(void **state)
{
	struct random_state one;
	struct random_state other;

	(void)state;
	random_state_seed(&one, 99, 3);
	random_state_seed(&other, 99, 3);
	for (int i = 0; i < 1000; i++)
		assert_true(random_state_next(&one) == random_state_next(&other));
}

#define STREAMS 64
#define DRAWS 200

/* Streams and seeds side by side, 0 among them, share no word at all. */
static void random_streams_differ(void **state)
{
	static uint64_t drawn[2 * STREAMS * DRAWS];
	size_t count = 0;

	(void)state;
	for (uint64_t i = 0; i < 2 * STREAMS; i++) {
		struct random_state random;

		random_state_seed(&random, i < STREAMS ? 7 : i, i < STREAMS ? i : 0);
		assert_true(random.word[0] | random.word[1] | random.word[2] | random.word[3]);
		for (int j = 0; j < DRAWS; j++)
			drawn[count++] = random_state_next(&random);
	}
	for (size_t i = 0; i < count; i += 97)
		for (size_t j = 0; j < count; j++)
			assert_true(i == j || drawn[i] != drawn[j]);
}

/*
 * Pearson's statistic of `cells` cells. With f = cells - 1 degrees of freedom its
 * mean is f and its variance 2f; the seeds are fixed, so that the test is no
 * matter of luck: it must lie within five deviations on both sides.
 */
static void check_even(const uint64_t *cells, uint64_t count, uint64_t draws)
{
	double expected = (double)draws / (double)count;
	double freedom = (double)count - 1;
	double sum = 0;
	double from_mean;

	for (uint64_t i = 0; i < count; i++) {
		double difference = (double)cells[i] - expected;

		sum += difference * difference / expected;
	}
	from_mean = sum - freedom;
	assert_true(from_mean * from_mean < 25 * 2 * freedom);
}

static void random_below_is_even(void **state)
{
	static const uint64_t bounds[] = { 2, 3, 7, 10, 64, 100, 1000 };

	(void)state;
	for (size_t row = 0; row < sizeof(bounds) / sizeof(bounds[0]); row++) {
		uint64_t cells[1000] = { 0 };
		uint64_t draws = 200 * bounds[row];
		struct random_state random;

		random_state_seed(&random, 5, bounds[row]);
		for (uint64_t i = 0; i < draws; i++) {
			uint64_t value = random_state_below(&random, bounds[row]);

			assert_true(value < bounds[row]);
			cells[value]++;
		}
		check_even(cells, bounds[row], draws);
	}
}

/*
 * With a bound of three quarters of the range: who only takes the rest hits the
 * lowest third twice as often, and who only multiplies each third number.
 */
static void random_below_is_unbiased(void **state)
{
	const uint64_t third = UINT64_C(1) << 62;
	uint64_t cells[3] = { 0 };
	uint64_t even = 0;
	struct random_state random;

	(void)state;
	random_state_seed(&random, 11, 0);
	for (int i = 0; i < 30000; i++) {
		uint64_t value = random_state_below(&random, 3 * third);

		assert_true(value < 3 * third);
		cells[value / third]++;
		even += !(value % 3);
	}
	check_even(cells, 3, 30000);
	/* Five deviations of 82; half of all if nothing is drawn again. */
	assert_true(even > 10000 - 410 && even < 10000 + 410);
}

static void random_below_edges(void **state)
{
	struct random_state random;

	(void)state;
	random_state_seed(&random, 0, 0);
	for (int i = 0; i < 100; i++) {
		assert_true(random_state_below(&random, 0) == 0);
		assert_true(random_state_below(&random, 1) == 0);
		assert_true(random_state_below(&random, UINT64_MAX) < UINT64_MAX);
	}
}

static void random_chance_is_right(void **state)
{
	struct random_state random;
	unsigned hits = 0;

	(void)state;
	random_state_seed(&random, 1, 1);
	for (int i = 0; i < 30000; i++) {
		assert_false(random_state_chance(&random, 0, 10));
		assert_true(random_state_chance(&random, 10, 10));
		assert_true(random_state_chance(&random, 11, 10));
		assert_false(random_state_chance(&random, 5, 0));
		hits += random_state_chance(&random, 1, 3);
	}
	/* Five deviations of sqrt(30000 * 2 / 9) = 82. */
	assert_true(hits > 10000 - 410 && hits < 10000 + 410);
}

static void random_fill_fills(void **state)
{
	unsigned char whole[64];
	unsigned char parts[64];
	uint64_t cells[256] = { 0 };
	struct random_state random;

	(void)state;
	/* Exactly as many bytes as asked for, little end first. */
	for (size_t count = 0; count <= 32; count++) {
		struct random_state words;

		random_state_seed(&random, 3, 3);
		words = random;
		memset(whole, 0, sizeof(whole));
		random_state_fill(&random, whole, count);
		for (size_t i = 0; i < count; i += 8) {
			uint64_t word = random_state_next(&words);

			for (size_t j = i; j < i + 8; j++)
				assert_int_equal(whole[j],
						 j < count ? (word >> 8 * (j - i)) & 255 : 0);
		}
	}
	random_state_seed(&random, 3, 3);
	random_state_fill(&random, whole, 64);
	random_state_seed(&random, 3, 3);
	random_state_fill(&random, parts, 24);
	random_state_fill(&random, parts + 24, 40);
	assert_memory_equal(whole, parts, 64);
	for (int i = 0; i < 2000; i++) {
		random_state_fill(&random, whole, 64);
		for (int j = 0; j < 64; j++)
			cells[whole[j]]++;
	}
	check_even(cells, 256, 2000 * 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_matches_published_outputs),
		cmocka_unit_test(random_seeds_as_published),
		cmocka_unit_test(random_repeats_by_seed),
		cmocka_unit_test(random_streams_differ),
		cmocka_unit_test(random_below_is_even),
		cmocka_unit_test(random_below_is_unbiased),
		cmocka_unit_test(random_below_edges),
		cmocka_unit_test(random_chance_is_right),
		cmocka_unit_test(random_fill_fills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
