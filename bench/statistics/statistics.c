/* SPDX-License-Identifier: MIT */
#include "bench/statistics/statistics.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"

#define RESAMPLES 2000
#define TAIL 50 /* of those, cut off at each end for 95 % */

/* A convolution takes about the square of this many steps. */
#define EXACT_SUM_MOST 4000

static int compare_numbers(const void *one, const void *other)
{
	double a = *(const double *)one;
	double b = *(const double *)other;

	return (a > b) - (a < b);
}

static double *sorted_copy(const double *samples, size_t count)
{
	double *copy = alloc_array(count, sizeof(*copy));

	if (!copy)
		return NULL;
	memcpy(copy, samples, count * sizeof(*copy));
	qsort(copy, count, sizeof(*copy), compare_numbers);
	return copy;
}

static double sorted_median(const double *sorted, size_t count)
{
	/* Halves first: the sum of two large numbers need not be one. */
	return count % 2 ? sorted[count / 2] : sorted[count / 2 - 1] / 2 + sorted[count / 2] / 2;
}

/* Samples to draw from again: sorted, so that a median is found by counting. */
struct urn {
	double *sorted;
	size_t *drawn; /* how often each was */
	size_t count;
};

static void urn_destroy(struct urn *urn)
{
	alloc_free(urn->sorted);
	alloc_free(urn->drawn);
}

static int urn_fill(struct urn *urn, const double *samples, size_t count)
{
	urn->count = count;
	urn->sorted = sorted_copy(samples, count);
	urn->drawn = alloc_array(count, sizeof(*urn->drawn));
	return urn->sorted && urn->drawn ? 0 : -ENOMEM;
}

/* The median of as many samples as there are, each drawn from all of them. */
static double urn_draw_median(struct urn *urn, struct random_state *random)
{
	size_t lower = (urn->count - 1) / 2;
	size_t upper = urn->count / 2;
	size_t passed = 0;
	size_t at = 0;
	double low;

	memset(urn->drawn, 0, urn->count * sizeof(*urn->drawn));
	for (size_t i = 0; i < urn->count; i++)
		urn->drawn[random_state_below(random, urn->count)]++;
	/* Ends: all together count `count`, which is more than `upper`. */
	while (passed + urn->drawn[at] <= lower)
		passed += urn->drawn[at++];
	low = urn->sorted[at];
	while (passed + urn->drawn[at] <= upper)
		passed += urn->drawn[at++];
	return upper == lower ? low : low / 2 + urn->sorted[at] / 2;
}

static void take_interval(double *drawn, struct statistics_interval *out)
{
	qsort(drawn, RESAMPLES, sizeof(*drawn), compare_numbers);
	out->low = drawn[TAIL - 1];
	out->high = drawn[RESAMPLES - TAIL];
}

int statistics_median_interval(const double *samples, size_t count, uint64_t seed,
			       struct statistics_interval *out)
{
	double drawn[RESAMPLES];
	struct random_state random;
	struct urn urn = { 0 };
	int ret = urn_fill(&urn, samples, count);

	if (!ret) {
		random_state_seed(&random, seed, 0);
		out->median = sorted_median(urn.sorted, count);
		for (size_t i = 0; i < RESAMPLES; i++)
			drawn[i] = urn_draw_median(&urn, &random);
		take_interval(drawn, out);
	}
	urn_destroy(&urn);
	return ret;
}

/* What a ratio of two medians drawn again is; 0 over 0 tells nothing, and counts as no change. */
static double drawn_ratio(double a, double b)
{
	if (a > 0)
		return b / a;
	return b > 0 ? INFINITY : 1;
}

/* Adds the logarithm of the ratio of one pair to the sum, and to that of each of its resamples. */
static int add_log_ratios(const struct statistics_pair *pair, struct random_state *random,
			  double *sum, double *sums)
{
	struct urn a = { 0 };
	struct urn b = { 0 };
	int ret = urn_fill(&a, pair->a, pair->a_count);

	if (!ret)
		ret = urn_fill(&b, pair->b, pair->b_count);
	if (!ret) {
		double median = sorted_median(a.sorted, a.count);

		if (median > 0)
			*sum += log(sorted_median(b.sorted, b.count) / median);
		else
			ret = -EDOM;
	}
	for (size_t i = 0; !ret && i < RESAMPLES; i++) {
		double drawn = urn_draw_median(&a, random);

		sums[i] += log(drawn_ratio(drawn, urn_draw_median(&b, random)));
	}
	urn_destroy(&a);
	urn_destroy(&b);
	return ret;
}

int statistics_pooled_ratio(const struct statistics_pair *pairs, size_t count, uint64_t seed,
			    struct statistics_interval *out)
{
	double sums[RESAMPLES] = { 0 };
	struct random_state random;
	double sum = 0;
	int ret = 0;

	random_state_seed(&random, seed, 0);
	for (size_t at = 0; !ret && at < count; at++)
		ret = add_log_ratios(&pairs[at], &random, &sum, sums);
	if (!ret && count > 1 && isinf(sum))
		ret = -EDOM;
	if (ret)
		return ret;
	out->median = exp(sum / (double)count);
	for (size_t i = 0; i < RESAMPLES; i++) {
		/* Infinite both ways at once: the resample tells nothing. */
		double mean = isnan(sums[i]) ? sum : sums[i];

		sums[i] = exp(mean / (double)count);
	}
	take_interval(sums, out);
	return 0;
}

int statistics_ratio_interval(const double *a, size_t a_count, const double *b, size_t b_count,
			      uint64_t seed, struct statistics_interval *out)
{
	const struct statistics_pair pair = { a, a_count, b, b_count };

	return statistics_pooled_ratio(&pair, 1, seed, out);
}

/* What the samples of one pair say. */
struct stratum {
	double u;    /* of all pairs of samples those in which b is larger; equal ones half */
	double ties; /* sum of t^3 - t over groups of t equal samples */
};

/* Walks both sides in order; each turn takes a group of equal samples. */
static int stratum_count(const struct statistics_pair *pair, struct stratum *out)
{
	double *a = sorted_copy(pair->a, pair->a_count);
	double *b = sorted_copy(pair->b, pair->b_count);
	size_t a_at = 0;
	size_t b_at = 0;

	*out = (struct stratum){ 0 };
	while (a && b && (a_at < pair->a_count || b_at < pair->b_count)) {
		size_t a_first = a_at;
		size_t b_first = b_at;
		double value;
		double tied;

		if (b_at == pair->b_count || (a_at < pair->a_count && a[a_at] < b[b_at]))
			value = a[a_at];
		else
			value = b[b_at];
		while (a_at < pair->a_count && a[a_at] <= value)
			a_at++;
		while (b_at < pair->b_count && b[b_at] <= value)
			b_at++;
		tied = (double)(a_at - a_first + b_at - b_first);
		out->ties += tied * tied * tied - tied;
		out->u +=
			(double)(b_at - b_first) * ((double)a_first + (double)(a_at - a_first) / 2);
	}
	alloc_free(a);
	alloc_free(b);
	return a && b ? 0 : -ENOMEM;
}

/*
 * How many of the C(a + b, b) orders of two sets of samples have U = 0 .. a * b, over their number. They are
 * the coefficients of the Gaussian binomial of a + b over b, the product of (1 - q^(a + i)) / (1 - q^i)
 * for i = 1 .. b; each partial product is a Gaussian binomial too, so for 20 samples a side all numbers on the
 * way are integers below 2^53, and exact.
 */
static void exact_distribution(size_t a, size_t b, double *part)
{
	size_t top = a * b;
	double all = 0;

	memset(part, 0, (top + 1) * sizeof(*part));
	part[0] = 1;
	for (size_t i = 1; i <= b; i++) {
		for (size_t u = top; u >= a + i && u <= top; u--)
			part[u] -= part[u - a - i];
		for (size_t u = i; u <= top; u++)
			part[u] += part[u - i];
	}
	for (size_t u = 0; u <= top; u++)
		all += part[u];
	for (size_t u = 0; u <= top; u++)
		part[u] /= all;
}

/* `sum` holds the distribution of 0 .. top; afterwards that of 0 .. top + add_top. */
static void convolve(double *sum, size_t top, const double *add, size_t add_top)
{
	/* From the end on: what is still to be read lies below what is written. */
	for (size_t at = top + add_top + 1; at-- > 0;) {
		size_t first = at > top ? at - top : 0;
		double value = 0;

		for (size_t u = first; u <= add_top && u <= at; u++)
			value += sum[at - u] * add[u];
		sum[at] = value;
	}
}

static double two_sided(const double *part, size_t top, size_t u)
{
	double below = 0;
	double above = 0;

	for (size_t at = 0; at <= u; at++)
		below += part[at];
	for (size_t at = top + 1; at-- > u;)
		above += part[at];
	return fmin(1, 2 * fmin(below, above));
}

static int exact_p(const struct statistics_pair *pairs, size_t count, size_t total, double u,
		   double *p)
{
	double *sum = alloc_zeroed(total + 1, sizeof(*sum));
	double *one =
		alloc_array(STATISTICS_EXACT_SAMPLES * STATISTICS_EXACT_SAMPLES + 1, sizeof(*one));
	size_t top = 0;

	if (sum && one) {
		sum[0] = 1;
		for (size_t at = 0; at < count; at++) {
			size_t add = pairs[at].a_count * pairs[at].b_count;

			exact_distribution(pairs[at].a_count, pairs[at].b_count, one);
			convolve(sum, top, one, add);
			top += add;
		}
		*p = two_sided(sum, top, (size_t)u);
	}
	alloc_free(sum);
	alloc_free(one);
	return sum && one ? 0 : -ENOMEM;
}

/* The sums over all pairs. */
struct ranking {
	double u;        /* without weights */
	double most;     /* what it would be if all of b were above all of a */
	double distance; /* of the weighted sum from the one expected */
	double variance; /* of the weighted sum */
	double step;     /* by which the weighted sum changes at least, without ties */
	bool exact;      /* no ties, few samples, equal weights */
};

static int rank_all(const struct statistics_pair *pairs, size_t count, struct ranking *ranking)
{
	*ranking = (struct ranking){ .exact = true, .step = INFINITY };
	for (size_t at = 0; at < count; at++) {
		double product = (double)pairs[at].a_count * (double)pairs[at].b_count;
		double n = (double)(pairs[at].a_count + pairs[at].b_count);
		double weight = 1 / (n + 1);
		struct stratum stratum;
		int ret = stratum_count(&pairs[at], &stratum);

		if (ret)
			return ret;
		ranking->u += stratum.u;
		ranking->most += product;
		ranking->distance += weight * (stratum.u - product / 2);
		ranking->variance +=
			weight * weight * product / 12 * (n + 1 - stratum.ties / (n * (n - 1)));
		ranking->step = fmin(ranking->step, weight);
		if (stratum.ties > 0 || pairs[at].a_count > STATISTICS_EXACT_SAMPLES ||
		    pairs[at].b_count > STATISTICS_EXACT_SAMPLES ||
		    pairs[at].a_count + pairs[at].b_count != pairs[0].a_count + pairs[0].b_count)
			ranking->exact = false;
	}
	if (ranking->most > EXACT_SUM_MOST)
		ranking->exact = false;
	return 0;
}

static double normal_p(const struct ranking *ranking)
{
	double distance = fmax(0, fabs(ranking->distance) - ranking->step / 2);
	/* Of samples that are all equal rounding may leave something above 0, far below one step. */
	if (ranking->variance < ranking->step * ranking->step * 1e-9)
		return 1;
	return erfc(distance / sqrt(2 * ranking->variance));
}

int statistics_stratified(const struct statistics_pair *pairs, size_t count,
			  struct statistics_rank *out)
{
	struct ranking ranking;
	int ret = rank_all(pairs, count, &ranking);

	if (ret)
		return ret;
	out->above = ranking.u / ranking.most;
	if (ranking.exact)
		return exact_p(pairs, count, (size_t)ranking.most, ranking.u, &out->p);
	out->p = normal_p(&ranking);
	return 0;
}

int statistics_mann_whitney(const double *a, size_t a_count, const double *b, size_t b_count,
			    double *p)
{
	const struct statistics_pair pair = { a, a_count, b, b_count };
	struct statistics_rank rank;
	int ret = statistics_stratified(&pair, 1, &rank);

	if (!ret)
		*p = rank.p;
	return ret;
}

double statistics_smallest_p(size_t a_count, size_t b_count, size_t pairs)
{
	double orders = lgamma((double)(a_count + b_count) + 1) - lgamma((double)a_count + 1) -
			lgamma((double)b_count + 1);

	return fmin(1, 2 * exp(-orders * (double)pairs));
}

struct ordered_p {
	double p;
	size_t at;
};

static int compare_ordered(const void *one, const void *other)
{
	return compare_numbers(&((const struct ordered_p *)one)->p,
			       &((const struct ordered_p *)other)->p);
}

static struct ordered_p *order_all(const double *p, size_t count)
{
	struct ordered_p *order = alloc_array(count, sizeof(*order));

	if (!order)
		return NULL;
	for (size_t at = 0; at < count; at++)
		order[at] = (struct ordered_p){ p[at], at };
	qsort(order, count, sizeof(*order), compare_ordered);
	return order;
}

int statistics_holm(double *p, size_t count)
{
	struct ordered_p *order = order_all(p, count);
	double most = 0;

	if (!order)
		return -ENOMEM;
	for (size_t at = 0; at < count; at++) {
		most = fmax(most, order[at].p * (double)(count - at));
		p[order[at].at] = fmin(1, most);
	}
	alloc_free(order);
	return 0;
}

int statistics_hochberg(double *p, size_t count)
{
	struct ordered_p *order = order_all(p, count);
	double least = 1;

	if (!order)
		return -ENOMEM;
	for (size_t at = count; at-- > 0;) {
		least = fmin(least, order[at].p * (double)count / (double)(at + 1));
		p[order[at].at] = least;
	}
	alloc_free(order);
	return 0;
}
