/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include "bench/statistics/statistics.h"
#include "core/base/alloc.h"
#include "core/base/random.h"

#define NEAR(one, other) assert_true(fabs((one) - (other)) < 1e-9)

static double u_of(const double *a, size_t a_count, const double *b, size_t b_count)
{
	double u = 0;

	for (size_t i = 0; i < a_count; i++)
		for (size_t j = 0; j < b_count; j++)
			u += b[j] > a[i] ? 1 : b[j] < a[i] ? 0 : 0.5;
	return u;
}

/* By definition: every choice of b_count of all samples is as likely to have been b. */
static double p_by_enumeration(const double *a, size_t a_count, const double *b, size_t b_count)
{
	double all[16];
	double found = u_of(a, a_count, b, b_count);
	double below = 0;
	double above = 0;
	double choices = 0;
	size_t count = a_count + b_count;

	for (size_t i = 0; i < count; i++)
		all[i] = i < a_count ? a[i] : b[i - a_count];
	for (unsigned choice = 0; choice < 1U << count; choice++) {
		double one[16];
		double other[16];
		size_t ones = 0;
		size_t others = 0;
		double u;

		if ((size_t)__builtin_popcount(choice) != b_count)
			continue;
		for (size_t i = 0; i < count; i++)
			if (choice & 1U << i)
				other[others++] = all[i];
			else
				one[ones++] = all[i];
		u = u_of(one, ones, other, others);
		below += u <= found;
		above += u >= found;
		choices++;
	}
	return fmin(1, 2 * fmin(below, above) / choices);
}

static double p_of(const double *a, size_t a_count, const double *b, size_t b_count)
{
	double p = -1;

	assert_int_equal(statistics_mann_whitney(a, a_count, b, b_count, &p), 0);
	return p;
}

static void mann_whitney_is_exact(void **state)
{
	struct random_state random;
	double a[7];
	double b[7];

	(void)state;
	random_state_seed(&random, 1, 0);
	for (size_t a_count = 1; a_count <= 6; a_count++)
		for (size_t b_count = 1; b_count <= 6; b_count++)
			for (int turn = 0; turn < 5; turn++) {
				for (size_t i = 0; i < 7; i++) {
					a[i] = (double)(random_state_next(&random) >> 11);
					b[i] = (double)(random_state_next(&random) >> 11) * 1.2;
				}
				NEAR(p_of(a, a_count, b, b_count),
				     p_by_enumeration(a, a_count, b, b_count));
			}
}

/* Critical values of published tables, two-sided 0.05: the largest U below which p <= 0.05. */
static void mann_whitney_agrees_with_tables(void **state)
{
	static const size_t critical[][2] = { { 4, 0 },   { 5, 2 },   { 6, 5 },   { 7, 8 },
					      { 8, 13 },  { 9, 17 },  { 10, 23 }, { 12, 37 },
					      { 15, 64 }, { 20, 127 } };
	double a[20];
	double b[20];

	(void)state;
	for (size_t at = 0; at < sizeof(critical) / sizeof(critical[0]); at++)
		for (size_t more = 0; more < 2; more++) {
			size_t n = critical[at][0];
			size_t u = critical[at][1] + more;

			/* b[j] lies above as many of a as it is to add to U. */
			for (size_t i = 0; i < n; i++) {
				size_t above = u > n * (n - 1 - i) ? u - n * (n - 1 - i) : 0;

				a[i] = (double)i;
				above = above > n ? n : above;
				b[i] = (double)above - 0.5 + (double)i * 1e-3;
			}
			assert_true(u_of(a, n, b, n) == (double)u);
			assert_true((p_of(a, n, b, n) <= 0.05) == !more);
		}
}

static void mann_whitney_approximates(void **state)
{
	static const double equal[] = { 3, 3, 3, 3, 3 };
	static const double low[] = { 1, 2, 2 };
	static const double high[] = { 2, 3, 3 };
	double a[30];
	double b[30];
	double p;

	(void)state;
	assert_true(p_of(equal, 5, equal, 5) == 1);
	assert_true(p_of(equal, 1, equal, 1) == 1);
	/* Three twos and two threes are equal: 27 - 3 + 8 - 2 = 30, over 6 * 5. */
	p = erfc((fabs(u_of(low, 3, high, 3) - 4.5) - 0.5) / sqrt(2 * 9.0 / 12 * (7 - 30.0 / 30)));
	NEAR(p_of(low, 3, high, 3), p);
	NEAR(p_of(high, 3, low, 3), p);
	/* More than 20: near the exact answer for 20, and symmetric. */
	for (size_t i = 0; i < 30; i++) {
		a[i] = (double)i;
		b[i] = (double)i + 7.5;
	}
	NEAR(p_of(a, 30, b, 30), erfc((u_of(a, 30, b, 30) - 450.5) / sqrt(2 * 900.0 / 12 * 61)));
	assert_true(p_of(a, 30, b, 30) == p_of(b, 30, a, 30));
	p = erfc((u_of(a, 20, b, 20) - 200.5) / sqrt(2 * 400.0 / 12 * 41));
	assert_true(fabs(p_of(a, 20, b, 20) - p) < 0.002);
	assert_true(p_of(a, 20, b, 20) != p);
}

/* Two pairs by hand: 2 against 2 has U = 0, 1, 2, 3, 4 in 1, 1, 2, 1, 1 of 6 orders. */
static void stratified_adds_up(void **state)
{
	static const double low[] = { 1, 2 };
	static const double high[] = { 3, 4 };
	static const double mixed[] = { 1.5, 5 };
	static const double far[] = { 1000, 2000 };
	static const double further[] = { 1500, 3000 };
	const struct statistics_pair apart[] = { { low, 2, high, 2 }, { low, 2, high, 2 } };
	const struct statistics_pair between[] = { { low, 2, high, 2 }, { far, 2, further, 2 } };
	const struct statistics_pair against[] = { { low, 2, high, 2 }, { high, 2, low, 2 } };
	const struct statistics_pair unequal[] = { { low, 2, high, 2 }, { low, 1, mixed, 2 } };
	struct statistics_rank rank;

	(void)state;
	assert_int_equal(statistics_stratified(apart, 2, &rank), 0);
	NEAR(rank.p, 2.0 / 36);
	NEAR(rank.above, 1);
	NEAR(statistics_smallest_p(2, 2, 2), 2.0 / 36);
	/* 4 + 3: 4 + 4, 4 + 3 and 3 + 4 are as far: 3 of 36. */
	assert_int_equal(statistics_stratified(between, 2, &rank), 0);
	NEAR(rank.p, 2 * 3.0 / 36);
	NEAR(rank.above, 7.0 / 8);
	assert_int_equal(statistics_stratified(against, 2, &rank), 0);
	assert_true(rank.p == 1);
	NEAR(rank.above, 0.5);
	/* Unequal sizes are weighted: (4 - 2) / 5 + (2 - 1) / 4, the variances 20 / 12 / 25 and 8 / 12 / 16. */
	assert_int_equal(statistics_stratified(unequal, 2, &rank), 0);
	NEAR(rank.p, erfc((0.4 + 0.25 - 0.1) / sqrt(2 * (20.0 / 300 + 8.0 / 192))));
}

/* Of samples of one distribution p is below x in at most the part x of all tests, exact and not. */
static void stratified_keeps_its_level(void **state)
{
	static const size_t sizes[][2] = { { 5, 10 }, { 25, 3 }, { 8, 1 } };
	struct random_state random;
	double samples[2][10][25];
	struct statistics_pair pairs[10];

	(void)state;
	random_state_seed(&random, 2, 0);
	for (size_t size = 0; size < 3; size++) {
		size_t below = 0;

		for (int turn = 0; turn < 2000; turn++) {
			struct statistics_rank rank;

			for (size_t at = 0; at < sizes[size][1]; at++) {
				for (size_t i = 0; i < 50; i++)
					samples[i & 1][at][i / 2] =
						(double)(random_state_next(&random) >> 11);
				pairs[at] =
					(struct statistics_pair){ samples[0][at], sizes[size][0],
								  samples[1][at], sizes[size][0] };
			}
			assert_int_equal(statistics_stratified(pairs, sizes[size][1], &rank), 0);
			below += rank.p < 0.05;
		}
		/* 100 are expected, with a deviation of 10. */
		assert_in_range(below, 50, 140);
	}
}

static void medians_have_intervals(void **state)
{
	static const double five[] = { 5, 1, 4, 2, 3 };
	static const double four[] = { 8, 2, 4, 6 };
	static const double one[] = { 7 };
	static const double zero[] = { 0, 0, 1 };
	struct statistics_interval got;
	struct statistics_interval again;

	(void)state;
	assert_int_equal(statistics_median_interval(five, 5, 1, &got), 0);
	assert_true(got.median == 3 && got.low == 1 && got.high == 5);
	assert_int_equal(statistics_median_interval(five, 5, 1, &again), 0);
	assert_memory_equal(&got, &again, sizeof(got));
	assert_int_equal(statistics_median_interval(four, 4, 1, &got), 0);
	assert_true(got.median == 5 && got.low >= 2 && got.low < 5 && got.high > 5);
	assert_int_equal(statistics_median_interval(one, 1, 1, &got), 0);
	assert_true(got.median == 7 && got.low == 7 && got.high == 7);
	assert_int_equal(statistics_ratio_interval(five, 5, four, 4, 1, &got), 0);
	NEAR(got.median, 5.0 / 3);
	assert_true(got.low < got.median && got.high > got.median);
	assert_int_equal(statistics_ratio_interval(zero, 3, five, 5, 1, &got), -EDOM);
	assert_int_equal(statistics_ratio_interval(five, 5, zero, 3, 1, &got), 0);
	assert_true(got.median == 0);
}

/* The interval of many samples holds the median they were drawn around in about 95 of 100 cases. */
static void intervals_cover(void **state)
{
	struct random_state random;
	double samples[41];
	int covered = 0;

	(void)state;
	random_state_seed(&random, 3, 0);
	for (uint64_t turn = 0; turn < 200; turn++) {
		struct statistics_interval got;

		for (size_t i = 0; i < 41; i++)
			samples[i] = (double)random_state_below(&random, 1000001);
		assert_int_equal(statistics_median_interval(samples, 41, turn, &got), 0);
		covered += got.low <= 500000 && got.high >= 500000;
	}
	assert_in_range(covered, 178, 199);
}

static void pooled_ratio_is_geometric(void **state)
{
	static const double ones[] = { 1, 1, 1 };
	static const double twos[] = { 2, 2, 2 };
	static const double eights[] = { 8, 8, 8 };
	static const double none[] = { 0, 0, 0 };
	const struct statistics_pair pairs[] = { { ones, 3, twos, 3 }, { ones, 3, eights, 3 } };
	const struct statistics_pair zero[] = { { ones, 3, twos, 3 }, { ones, 3, none, 3 } };
	struct statistics_interval got;

	(void)state;
	assert_int_equal(statistics_pooled_ratio(pairs, 2, 1, &got), 0);
	NEAR(got.median, 4);
	NEAR(got.low, 4);
	NEAR(got.high, 4);
	assert_int_equal(statistics_pooled_ratio(zero, 2, 1, &got), -EDOM);
}

static void corrections(void **state)
{
	double holm[] = { 0.01, 0.04, 0.03, 0.005 };
	double hochberg[] = { 0.01, 0.04, 0.03, 0.005 };
	double large[] = { 0.9, 0.8 };

	(void)state;
	assert_int_equal(statistics_holm(holm, 4), 0);
	NEAR(holm[3], 0.02);
	NEAR(holm[0], 0.03);
	NEAR(holm[2], 0.06);
	NEAR(holm[1], 0.06);
	assert_int_equal(statistics_hochberg(hochberg, 4), 0);
	NEAR(hochberg[3], 0.02);
	NEAR(hochberg[0], 0.02);
	NEAR(hochberg[2], 0.04);
	NEAR(hochberg[1], 0.04);
	assert_int_equal(statistics_holm(large, 2), 0);
	assert_true(large[0] == 1 && large[1] == 1);
	assert_int_equal(statistics_holm(NULL, 0), 0);
	NEAR(statistics_smallest_p(5, 5, 1), 2.0 / 252);
	NEAR(statistics_smallest_p(1, 1, 1), 1);
}

static void wanting_memory_is_said(void **state)
{
	static const double a[] = { 1, 2, 3 };
	static const double b[] = { 4, 5, 6 };
	const struct statistics_pair pair = { a, 3, b, 3 };
	bool failed = true;

	(void)state;
	for (uint64_t nth = 1; failed; nth++) {
		struct statistics_interval interval;
		struct statistics_rank rank;
		double p[] = { 0.1, 0.2 };
		int ret;

		alloc_fail_arm(nth, 0);
		ret = statistics_stratified(&pair, 1, &rank);
		ret = ret ? ret : statistics_pooled_ratio(&pair, 1, 1, &interval);
		ret = ret ? ret : statistics_median_interval(a, 3, 1, &interval);
		ret = ret ? ret : statistics_holm(p, 2);
		ret = ret ? ret : statistics_hochberg(p, 2);
		failed = alloc_fail_count() > 0;
		assert_int_equal(ret, failed ? -ENOMEM : 0);
		assert_true(nth < 100);
	}
	alloc_fail_arm(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mann_whitney_is_exact),
		cmocka_unit_test(mann_whitney_agrees_with_tables),
		cmocka_unit_test(mann_whitney_approximates),
		cmocka_unit_test(stratified_adds_up),
		cmocka_unit_test(stratified_keeps_its_level),
		cmocka_unit_test(medians_have_intervals),
		cmocka_unit_test(intervals_cover),
		cmocka_unit_test(pooled_ratio_is_geometric),
		cmocka_unit_test(corrections),
		cmocka_unit_test(wanting_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
