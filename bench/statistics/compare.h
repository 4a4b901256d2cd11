/* SPDX-License-Identifier: MIT */
/*
 * Two results of refstorm bench (JSON, refstorm.bench.v1) side by side: what got worse, what better.
 *
 * A sweep has tens of points with few samples each. Five samples a side, all of one above all of
 * the other, give Mann-Whitney's p = 2 / C(10, 5) = 0.008: corrected for 40 points, no change however
 * large could be told from chance. So each metric is tested twice, and each time at half of alpha:
 *
 * - The workload: van Elteren's test over its points at once. A change of the code that a workload runs shows
 *   in most of its points, all in one direction; ten points of five samples can give a p of 10^-23.
 *   Holm's correction over workloads and metrics.
 * - Each point alone, for what shows in one place only (so many threads, so many snapshots). Holm's correction
 *   over all points and metrics. This one needs repeats: `point_repeats` says how many.
 *
 * A point counts as changed by the second test, or within a workload that changed in the same direction if its
 * own p is below alpha after Benjamini and Hochberg's correction over that workload. If nothing changed at
 * all, anything is called changed in at most the part alpha of all comparisons; and of the points named
 * within a workload that did change, at most about that part is there by chance.
 *
 * And what is called changed must have changed by more than the threshold: the ratio of the medians, for a workload
 * the geometric mean of the ratios of its points. Past it is past it either way: 1.05 and 1 / 1.05. That is the
 * guard against what no test of two files can see: a machine that was a little slower on that day. It is no full
 * one: with a deviation of 5 % and five samples, a day 1 % slower alarms in about 2 of 100 comparisons of 40 points,
 * one 2 % slower in about 6.
 *
 * Without names of metrics, cpu_ns_per_op decides, and ops_per_s is tested and shown but decides nothing: what
 * else runs on a machine takes time away from a run, which lowers operations per second for as long as it lasts, mostly
 * in one of the two files; CPU time does not count it. Waiting costs no CPU time either: on a quiet machine name
 * ops_per_s too.
 *
 * One thread. The documents are read, never changed.
 */
#ifndef REFSTORM_BENCH_COMPARE_H
#define REFSTORM_BENCH_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench/statistics/statistics.h"
#include "refstorm/error.h"

#define COMPARE_METRICS_MAX 32
#define COMPARE_POINTS_MAX 10000
#define COMPARE_SAMPLES_MAX 1000
#define COMPARE_ALL SIZE_MAX /* in place of a point: all of its workload */

enum compare_verdict {
	COMPARE_SAME,    /* the interval of the ratio lies within the threshold */
	COMPARE_UNCLEAR, /* neither shown to be the same nor to have changed */
	COMPARE_BETTER,
	COMPARE_WORSE,
};

struct compare_options {
	const char *metrics[COMPARE_METRICS_MAX];
	size_t metric_count; /* 0: as above */
	double threshold;    /* 0.05: five percent */
	double alpha;
	const char *a_name; /* for messages */
	const char *b_name;
};

struct compare_metric {
	const char *name;
	bool more_is_better; /* a rate: its name ends in _per_s */
	bool decides;        /* whether the result of the whole depends on it */
};

/* Measured in both. The texts belong to the first document. */
struct compare_point {
	const char *workload;
	const char *engine; /* NULL: none given; so for record */
	const char *record;
	json_int_t threads;
	json_int_t snapshots;
	const json_t *a; /* the whole point */
	const json_t *b;
	size_t workload_at; /* in the report's names */
};

/* One metric of a point, or of all points of a workload that have it. */
struct compare_test {
	size_t metric;
	size_t workload;
	size_t point;   /* or COMPARE_ALL */
	size_t points;  /* how many were put together */
	size_t samples; /* the fewest on one side of one point */
	double a;       /* medians; of points only */
	double b;
	struct statistics_interval ratio; /* b over a, if has_ratio; `high` may be infinite */
	bool has_ratio;
	double shift; /* `ratio.median`, or if there is none what stands for it: infinite, or 1 for unknown */
	struct statistics_rank rank;
	double adjusted; /* p, corrected */
	enum compare_verdict verdict;
};

struct compare_report {
	double threshold;
	double alpha;
	struct compare_metric metrics[COMPARE_METRICS_MAX];
	size_t metric_count;
	const char **workloads;
	size_t workload_count;
	struct compare_point *points; /* those of a workload stand together */
	size_t point_count;
	struct compare_test *tests; /* by metric, by workload: first all of it, then each point */
	size_t test_count;
	size_t repeats;          /* fewest samples on a side of any test that decides */
	size_t workload_repeats; /* from so many on each workload could show a change */
	size_t point_repeats;    /* from so many on each point alone could */
	json_t *warnings;        /* texts */
	json_t *only_a;          /* texts: points of one document */
	json_t *only_b;
};

/*
 * 0; -EINVAL (a document cannot be used, or the two have no common point with a metric asked for) or -ENOMEM,
 * with the error set. The report is freed with compare_report_free and lives no longer than the documents.
 */
int compare_documents(const json_t *a, const json_t *b, const struct compare_options *options,
		      struct compare_report **report, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL is fine. */
void compare_report_free(struct compare_report *report);

/* How many tests of metrics that decide ended so. */
size_t compare_report_count(const struct compare_report *report, enum compare_verdict verdict);

const char *compare_verdict_name(enum compare_verdict verdict);

/* The params of a point that tell it from others, as text; the caller frees it with free. NULL: no memory. */
char *compare_point_params(const struct compare_point *point);

/* refstorm.compare.v1; NULL: no memory. */
json_t *compare_report_json(const struct compare_report *report);

#endif /* REFSTORM_BENCH_COMPARE_H */
