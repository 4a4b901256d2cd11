/* SPDX-License-Identifier: MIT */
/* What a sweep runs: all combinations of lists, each a point. One thread. */
#ifndef REFSTORM_BENCH_PLAN_H
#define REFSTORM_BENCH_PLAN_H

#include "workloads/workload.h"

#define PLAN_POINTS_MAX 10000U
#define PLAN_LIST_MAX 64U /* entries of one list */
#define PLAN_THREADS_MAX 1024U
#define PLAN_REPEAT_MAX 1000U

enum plan_engine {
	PLAN_ENGINE_OFF,
	PLAN_ENGINE_LEDGER,
	PLAN_ENGINE_EXTENT,
	PLAN_ENGINES,
};

struct plan_point {
	const struct rs_workload *workload;
	enum plan_engine engine;
	enum rs_record_path record;
	unsigned threads;
	unsigned snapshots;
};

struct plan {
	const struct rs_workload *workloads[PLAN_LIST_MAX];
	size_t workload_count;
	enum plan_engine engines[PLAN_LIST_MAX];
	size_t engine_count;
	enum rs_record_path records[PLAN_LIST_MAX];
	size_t record_count;
	unsigned threads[PLAN_LIST_MAX];
	size_t threads_count;
	unsigned snapshots[PLAN_LIST_MAX];
	size_t snapshots_count;

	uint64_t blocks; /* 0: each workload's default */
	double seconds;  /* that are measured */
	double warm_up;
	double limit; /* seconds that one run may take, all of it; 0: the default */
	unsigned repeat;
	uint64_t seed;
	const char *const *images; /* devices of one file system; the caller's */
	size_t image_count;        /* 0: from nothing */
	bool pin;
	bool lock_times; /* are measured, which costs two readings of the clock for each acquisition */

	/* Counts again what a run has left, at rest: 0 or a negative errno. NULL: nobody does. */
	int (*oracle)(struct rs_forest *forest, bool quotas, struct rs_error *error);

	struct plan_point *points;
	size_t point_count;
};

/* Defaults, and no lists. */
void plan_init(struct plan *plan);
void plan_clear(struct plan *plan);

/* Names and numbers with commas between. 0; -EINVAL with the reason: unknown, empty, twice, too many. */
int plan_workloads_parse(struct plan *plan, const char *text, struct rs_error *error);
int plan_engines_parse(struct plan *plan, const char *text, struct rs_error *error);
int plan_records_parse(struct plan *plan, const char *text, struct rs_error *error);
int plan_threads_parse(struct plan *plan, const char *text, struct rs_error *error);
int plan_snapshots_parse(struct plan *plan, const char *text, struct rs_error *error);

/* Makes the points; lists that are empty, but for that of workloads, get their default. 0, -EINVAL, -ENOMEM. */
int plan_points_make(struct plan *plan, struct rs_error *error);

/* Names; NULL past the last. */
const char *plan_engine_name(unsigned engine);
const char *plan_record_name(unsigned record);

/* Seconds that one run may take. */
double plan_limit(const struct plan *plan);

/* The blocks that a point works on. */
uint64_t plan_point_blocks(const struct plan *plan, const struct plan_point *point);

#endif /* REFSTORM_BENCH_PLAN_H */
