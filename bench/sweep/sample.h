/* SPDX-License-Identifier: MIT */
/*
 * One run of a point, in a process of its own: the forest is made, the workload warmed up, measured and checked.
 *
 * Callers: the only thread of a process, once in its life; the threads of the run are made in here.
 */
#ifndef REFSTORM_BENCH_SAMPLE_H
#define REFSTORM_BENCH_SAMPLE_H

#include "bench/sweep/plan.h"
#include "core/base/lock.h"
#include "core/base/topology.h"

#define SAMPLE_LOCKS_MAX 32U /* names of locks */
#define SAMPLE_NAME_BYTES 48U

/* All locks of one name. Times are 0 unless they are measured. */
struct sample_lock {
	char name[SAMPLE_NAME_BYTES];
	struct lock_statistics numbers; /* its name is not used */
};

enum sample_metric {
	SAMPLE_OPS_PER_S,      /* all threads together */
	SAMPLE_NS_PER_OP,      /* wall time of one thread */
	SAMPLE_CPU_NS_PER_OP,  /* of the whole process */
	SAMPLE_USER_NS_PER_OP, /* the part of it outside the system */
	SAMPLE_JOIN_WAIT_NS_MAX,
	SAMPLE_COMMITS_PER_S,
	SAMPLE_PEAK_RSS_BYTES, /* when the measured part ends */
	SAMPLE_SETS,           /* of the ledger */
	SAMPLE_METRICS,
};

const char *sample_metric_name(enum sample_metric metric);

struct sample {
	uint64_t operations; /* of the measured part, as all that follows */
	double metrics[SAMPLE_METRICS];
	bool has[SAMPLE_METRICS];
	struct histogram latencies[WORKLOAD_OPERATIONS_MAX];
	struct sample_lock locks[SAMPLE_LOCKS_MAX];
	size_t lock_count;
};

/*
 * Runs it. `topology` may be NULL: threads are not bound. 0, or a negative errno and the reason: what failed, or
 * was found wrong by a check; then threads may be left behind, and the process is to end.
 */
int sample_run(const struct plan *plan, const struct plan_point *point, unsigned repeat,
	       const struct topology *topology, struct sample *sample, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_SAMPLE_H */
