/* SPDX-License-Identifier: MIT */
/* Which points of two documents belong together, and in which metrics. One thread. */
#ifndef REFSTORM_BENCH_COMPARE_MATCH_H
#define REFSTORM_BENCH_COMPARE_MATCH_H

#include "bench/statistics/compare.h"

/*
 * Fills in the points, workloads and metrics of the report, its warnings and lists. 0; -ENOMEM or -EINVAL
 * (no common point, a metric that none has) with the error set.
 */
int compare_match(const json_t *a, const json_t *b, const struct compare_options *options,
		  struct compare_report *report, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_COMPARE_MATCH_H */
