/* SPDX-License-Identifier: MIT */
/*
 * The statistics of repeated runs: medians with intervals, and whether two sets of samples differ.
 * Any thread; samples are not changed. Numbers are finite, and those of ratios not negative.
 */
#ifndef REFSTORM_BENCH_STATISTICS_H
#define REFSTORM_BENCH_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/* The most samples a side for which the distribution of U is computed, not approximated. */
#define STATISTICS_EXACT_SAMPLES 20

struct statistics_interval {
	double median;
	double low; /* bootstrap, 95 %: percentiles of medians of samples drawn again */
	double high;
};

/* The samples of one point measured twice. At least one on each side. */
struct statistics_pair {
	const double *a;
	size_t a_count;
	const double *b;
	size_t b_count;
};

struct statistics_rank {
	double p; /* two-sided */
	double above; /* the part of all pairs of one sample each in which b is the larger; equal ones count half */
};

/* At least one sample. The same samples and seed give the same. 0 or -ENOMEM. */
int statistics_median_interval(const double *samples, size_t count, uint64_t seed,
			       struct statistics_interval *out) __attribute__((warn_unused_result));

/*
 * Median of b over median of a, with the bootstrap interval of that ratio, whose high end may be
 * infinite. 0, -ENOMEM, -EDOM (median of a is 0).
 */
int statistics_ratio_interval(const double *a, size_t a_count, const double *b, size_t b_count,
			      uint64_t seed, struct statistics_interval *out)
	__attribute__((warn_unused_result));

/*
 * The geometric mean, over the pairs, of median of b over median of a, and its bootstrap interval: the
 * samples of each pair are drawn again apart from those of the others. `count` >= 1.
 * 0, -ENOMEM, -EDOM (a median of an a, or with more than one pair of a b, is 0: there is no such mean).
 */
int statistics_pooled_ratio(const struct statistics_pair *pairs, size_t count, uint64_t seed,
			    struct statistics_interval *out) __attribute__((warn_unused_result));

/*
 * Mann-Whitney U, two-sided: how likely samples this far apart are if both come from one distribution. Exact
 * without ties and up to 20 samples each, else by the normal approximation with correction for ties and continuity.
 * At least one sample each. 0 or -ENOMEM.
 */
int statistics_mann_whitney(const double *a, size_t a_count, const double *b, size_t b_count,
			    double *p) __attribute__((warn_unused_result));

/*
 * Van Elteren's test: Mann-Whitney's over many pairs at once, samples compared within their pair only, so
 * that the pairs may measure things of quite different size. The U of each, by 1 / (all its samples + 1), are
 * added up. The distribution of the sum is exact (a convolution) where no pair has ties, all have the
 * same number of samples and at most 20 a side, and the sum is small enough for it to be quick; else normal,
 * with the exact variance given the ties. `count` >= 1. 0 or -ENOMEM.
 */
int statistics_stratified(const struct statistics_pair *pairs, size_t count,
			  struct statistics_rank *out) __attribute__((warn_unused_result));

/* The smallest p that Mann-Whitney's test can give, over `pairs` of this many samples: 2 / C(a + b, b)^pairs. */
double statistics_smallest_p(size_t a_count, size_t b_count, size_t pairs);

/* Holm's correction for testing many at once: each p in place becomes its adjusted one. 0 or -ENOMEM. */
int statistics_holm(double *p, size_t count) __attribute__((warn_unused_result));

/*
 * Benjamini and Hochberg's: of those whose adjusted p is below x, at most the part x is expected to be
 * there by chance. 0 or -ENOMEM.
 */
int statistics_hochberg(double *p, size_t count) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_STATISTICS_H */
