/* SPDX-License-Identifier: MIT */
/* The samples of a sweep, put together for each point: as JSON (refstorm.bench.v1) and as a table. One thread. */
#ifndef REFSTORM_BENCH_RESULT_H
#define REFSTORM_BENCH_RESULT_H

#include <jansson.h>
#include <stdio.h>

#include "bench/sweep/sample.h"

#define RESULT_TEXT_BYTES 512U

struct result_point {
	unsigned samples; /* that are complete */
	uint64_t operations;
	double *values[SAMPLE_METRICS]; /* room for plan->repeat each */
	unsigned value_counts[SAMPLE_METRICS];
	struct histogram *latencies; /* of each operation of the workload */
	struct sample_lock *locks;   /* room for SAMPLE_LOCKS_MAX */
	size_t lock_count;
	char failed[RESULT_TEXT_BYTES]; /* why; empty: it has not */
};

struct result {
	const struct plan *plan;
	struct result_point *points; /* as many as the plan's */
};

/* 0 or -ENOMEM. */
int result_create(const struct plan *plan, struct result *result)
	__attribute__((warn_unused_result));
void result_destroy(struct result *result);

/* 0 or -ENOMEM. */
int result_add(struct result *result, size_t point, const struct sample *sample)
	__attribute__((warn_unused_result));
/* From now on the point has no numbers. The first reason counts. */
void result_fail(struct result *result, size_t point, const char *why);

/* All that there is; `run` is taken over. NULL: no memory. */
json_t *result_json(const struct result *result, json_t *run, bool partial);

/* One row a point. False: no memory. */
bool result_print(FILE *to, const struct result *result);

#endif /* REFSTORM_BENCH_RESULT_H */
