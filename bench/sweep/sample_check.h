/* SPDX-License-Identifier: MIT */
/* Whether the forest that a run leaves is right. One thread. */
#ifndef REFSTORM_BENCH_SAMPLE_CHECK_H
#define REFSTORM_BENCH_SAMPLE_CHECK_H

#include "bench/sweep/plan.h"

/*
 * The workload's own check; then, when all is committed and deleted trees are gone, the plan's oracle. No writer
 * but this one. 0, -EUCLEAN and what is wrong, or another negative errno.
 */
int sample_check(const struct plan *plan, struct workload *workload, struct rs_writer *writer,
		 bool quotas, struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_SAMPLE_CHECK_H */
