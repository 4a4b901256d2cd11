/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/histogram.h"
#include "core/base/random.h"

#define SAMPLES 20000U

static struct histogram histogram;
static uint64_t samples[SAMPLES];

/* The first value that has no bucket. */
static uint64_t limit(void)
{
	return histogram_bucket_low(HISTOGRAM_BUCKETS);
}

static void buckets_follow_each_other(void **state)
{
	size_t at;

	(void)state;
	assert_int_equal(histogram_bucket_low(0), 0);
	for (at = 0; at < HISTOGRAM_BUCKETS; at++) {
		uint64_t low = histogram_bucket_low(at);
		uint64_t next = histogram_bucket_low(at + 1);

		assert_true(next > low);
		assert_int_equal(histogram_bucket_of(low), at);
		assert_int_equal(histogram_bucket_of(next - 1), at);
		assert_int_equal(histogram_bucket_of(next), at + 1);
		/* One value each below 128; then no wider than a 64th of the lowest. */
		if (low < 128)
			assert_int_equal(next - low, 1);
		else
			assert_true((next - low) * 64 <= low);
	}
}

static void buckets_end(void **state)
{
	(void)state;
	assert_true(limit() == UINT64_C(1) << (HISTOGRAM_GROUPS + HISTOGRAM_BITS - 1));
	assert_int_equal(histogram_bucket_of(limit() - 1), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_bucket_of(limit()), HISTOGRAM_BUCKETS);
	assert_int_equal(histogram_bucket_of(limit() * 2), HISTOGRAM_BUCKETS);
	assert_int_equal(histogram_bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS);
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* Numbers of all sizes up to so many bits. */
static void samples_make(uint64_t seed, unsigned bits)
{
	struct random_state random;
	unsigned at;

	random_state_seed(&random, seed, 0);
	for (at = 0; at < SAMPLES; at++) {
		unsigned size = 1 + (unsigned)random_state_below(&random, bits);

		samples[at] = random_state_next(&random) >> (64 - size);
	}
}

static void samples_record(struct histogram *into, unsigned first, unsigned end)
{
	unsigned at;

	for (at = first; at < end; at++)
		histogram_record(into, samples[at]);
}

static void check_quantiles(void)
{
	static const double parts[] = { 0,   0.001, 0.01, 0.1,   0.25,   0.5, 0.75,
					0.9, 0.95,  0.99, 0.999, 0.9999, 1 };
	size_t part;

	qsort(samples, SAMPLES, sizeof(*samples), compare);
	assert_int_equal(histogram_quantile(&histogram, 1) > samples[SAMPLES - 1], 0);
	for (part = 0; part < sizeof(parts) / sizeof(parts[0]); part++) {
		size_t rank = (size_t)(parts[part] * SAMPLES);
		uint64_t true_one = samples[rank < SAMPLES ? rank : SAMPLES - 1];
		uint64_t got = histogram_quantile(&histogram, parts[part]);
		uint64_t apart = got > true_one ? got - true_one : true_one - got;

		/* Below 128 it is the value itself; else in its bucket, at most half of one from its middle. */
		if (true_one < 128 ? apart : apart * 100 > true_one)
			fail_msg("part %f: %llu is told, %llu is true", parts[part],
				 (unsigned long long)got, (unsigned long long)true_one);
		assert_true(got <= histogram.max);
	}
}

static void quantiles_are_those_of_the_samples(void **state)
{
	unsigned bits;

	(void)state;
	for (bits = 1; bits <= 40; bits += 3) {
		memset(&histogram, 0, sizeof(histogram));
		samples_make(bits, bits);
		samples_record(&histogram, 0, SAMPLES);
		assert_int_equal(histogram.count, SAMPLES);
		assert_int_equal(histogram.over, 0);
		check_quantiles();
	}
}

static void sums_and_maxima(void **state)
{
	uint64_t sum = 0;
	uint64_t in_buckets = 0;
	unsigned at;

	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	samples_make(99, 36);
	samples_record(&histogram, 0, SAMPLES);
	for (at = 0; at < SAMPLES; at++)
		sum += samples[at];
	for (at = 0; at < HISTOGRAM_BUCKETS; at++)
		in_buckets += histogram.buckets[at];
	qsort(samples, SAMPLES, sizeof(*samples), compare);
	assert_true(histogram.sum == sum);
	assert_true(histogram.max == samples[SAMPLES - 1]);
	assert_int_equal(in_buckets, SAMPLES);
}

static void merged_is_all_in_one(void **state)
{
	static struct histogram parts[3];

	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	memset(parts, 0, sizeof(parts));
	samples_make(5, 50); /* some are over */
	samples_record(&histogram, 0, SAMPLES);
	samples_record(&parts[0], 0, 100);
	samples_record(&parts[1], 100, SAMPLES);
	histogram_merge(&parts[0], &parts[1]);
	histogram_merge(&parts[0], &parts[2]); /* an empty one */
	assert_true(histogram.over > 0);
	assert_memory_equal(&histogram, &parts[0], sizeof(histogram));
	histogram_merge(&parts[2], &parts[0]);
	assert_memory_equal(&histogram, &parts[2], sizeof(histogram));
}

static void what_is_over_is_counted_apart(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	histogram_record(&histogram, limit() - 1);
	assert_int_equal(histogram.over, 0);
	histogram_record(&histogram, limit());
	histogram_record(&histogram, limit() + 12345);
	assert_int_equal(histogram.count, 3);
	assert_int_equal(histogram.over, 2);
	assert_int_equal(histogram.buckets[HISTOGRAM_BUCKETS - 1], 1);
	/* Of what is over, the largest is all that is known. */
	assert_true(histogram_quantile(&histogram, 0.5) == limit() + 12345);
	assert_true(histogram_quantile(&histogram, 0) < limit());
}

static void few_and_none(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	assert_int_equal(histogram_quantile(&histogram, 0), 0);
	assert_int_equal(histogram_quantile(&histogram, 1), 0);
	histogram_record(&histogram, 1000001);
	/* Never above the largest, though the middle of its bucket may be. */
	assert_true(histogram_quantile(&histogram, 0) <= 1000001);
	assert_true(histogram_quantile(&histogram, 1) <= 1000001);
	assert_true(histogram_quantile(&histogram, 1) > 990000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_follow_each_other),
		cmocka_unit_test(buckets_end),
		cmocka_unit_test(quantiles_are_those_of_the_samples),
		cmocka_unit_test(sums_and_maxima),
		cmocka_unit_test(merged_is_all_in_one),
		cmocka_unit_test(what_is_over_is_counted_apart),
		cmocka_unit_test(few_and_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
