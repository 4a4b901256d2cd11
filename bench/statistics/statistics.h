/* SPDX-License-Identifier: MIT */
/*
 * The statistics of repeated runs: medians with intervals, and whether two sets of samples differ.
 * Any thread; samples are not changed. Numbers are finite.
 */
#ifndef REFSTORM_BENCH_STATISTICS_H
#define REFSTORM_BENCH_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

struct statistics_interval {
	double median;
	double low; /* bootstrap, 95 %: percentiles of medians of samples drawn again */
	double high;
};

/* At least one sample. The same samples and seed give the same. 0 or -ENOMEM. */
int statistics_median_interval(const double *samples, size_t count, uint64_t seed,
			       struct statistics_interval *out) __attribute__((warn_unused_result));

/* Median of b over median of a, with the bootstrap interval of that ratio. 0, -ENOMEM, -EDOM (median of a is 0). */
int statistics_ratio_interval(const double *a, size_t a_count, const double *b, size_t b_count,
			      uint64_t seed, struct statistics_interval *out)
	__attribute__((warn_unused_result));

/*
 * Mann-Whitney U, two-sided: how likely samples this far apart are if both come from one distribution. Exact
 * without ties and up to 20 samples each, else by the normal approximation with correction for ties and continuity.
 * At least one sample each. 0 or -ENOMEM.
 */
int statistics_mann_whitney(const double *a, size_t a_count, const double *b, size_t b_count,
			    double *p) __attribute__((warn_unused_result));

/* Holm's correction for testing many at once: each p in place becomes its adjusted one. 0 or -ENOMEM. */
int statistics_holm(double *p, size_t count) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_STATISTICS_H */
