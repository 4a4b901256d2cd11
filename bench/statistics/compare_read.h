/* SPDX-License-Identifier: MIT */
/* Documents refstorm.bench.v1 as compare reads them: checked once, then their points by key. One thread. */
#ifndef REFSTORM_BENCH_COMPARE_READ_H
#define REFSTORM_BENCH_COMPARE_READ_H

#include "bench/statistics/compare.h"

/*
 * Whether all that is used later is there and of its type: names, counts, samples (finite, not negative).
 * 0 or -EINVAL with the error set.
 */
int compare_read_check(const json_t *document, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Adds a formatted text to the array. 0 or -ENOMEM. */
int compare_read_note(json_t *texts, const char *format, ...)
	__attribute__((format(printf, 2, 3), warn_unused_result));

/*
 * An object: from what tells a point from others, as text, to its index. Failed points are left out with a
 * warning. 0, -ENOMEM, -EINVAL (a point is there twice), with the error set.
 */
int compare_read_index(const json_t *document, const char *name, json_t *warnings, json_t **index,
		       struct rs_error *error) __attribute__((warn_unused_result));

/* `params` without what does not tell points apart, as text, freed with free. NULL: no memory. */
char *compare_read_params(const json_t *point);

/* Warns where the two were not measured on the same machine, build and kernel, and if one is partial. 0 or -ENOMEM. */
int compare_read_runs(const json_t *a, const json_t *b, const struct compare_options *options,
		      json_t *warnings) __attribute__((warn_unused_result));

/* The samples of a metric; NULL if the point has none of it. */
const json_t *compare_read_samples(const json_t *point, const char *metric);

#endif /* REFSTORM_BENCH_COMPARE_READ_H */
