/* SPDX-License-Identifier: MIT */
/*
 * The threads of a run. Each goes through the same three parts: steps that are not measured, steps that are, the end.
 *
 * Callers: one thread, in the order of the functions. After a failure of crew_start threads may be left that
 * wait for ever: the process is to end.
 */
#ifndef REFSTORM_BENCH_CREW_H
#define REFSTORM_BENCH_CREW_H

#include <pthread.h>

#include "core/base/topology.h"
#include "workloads/workload.h"

struct crew;

struct crew_member {
	struct workload_thread thread;
	struct crew *crew;
	pthread_t id;
	struct histogram *latencies; /* of the measured part; for each operation of the workload */
	uint64_t begin_operations;   /* where the measured part begins and ends, for this thread */
	uint64_t begin_ns;
	uint64_t end_operations;
	uint64_t end_ns;
	int result; /* of the step that failed */
};

struct crew {
	struct workload *workload;
	const struct topology *topology; /* NULL: threads are not bound */
	pthread_barrier_t barrier;       /* of all members and the caller */
	order_u32 part;
	order_u32 failed; /* some member has; relaxed */
	struct crew_member *members;
	unsigned count; /* the workload's threads */
};

/* Makes the threads, and returns when all are writers and take steps. 0 or a negative errno. */
int crew_start(struct crew *crew, struct workload *workload, const struct topology *topology,
	       struct rs_error *error) __attribute__((warn_unused_result));

/* Sleeps; less if a member fails. */
void crew_wait(struct crew *crew, double seconds);

/* All members end their step and rest until crew_go: the moment at which the measured part begins ... */
void crew_halt(struct crew *crew);
void crew_go(struct crew *crew);
/* ... and has ended: they rest until crew_end. */
void crew_stop(struct crew *crew);

/* All threads have ended. 0, or the failure of a member. */
int crew_end(struct crew *crew, struct rs_error *error) __attribute__((warn_unused_result));

/* After crew_end. */
void crew_free(struct crew *crew);

/* How many operations the workload has a name for. */
unsigned crew_operations(const struct rs_workload *kind);

#endif /* REFSTORM_BENCH_CREW_H */
