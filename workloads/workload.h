/* SPDX-License-Identifier: MIT */
/*
 * Workloads of benchmarks and profiles: each is one file that exports one struct rs_workload, and is
 * listed in workload.c.
 *
 * A run: prepare by one thread; then `threads` threads, each a writer, call step over and over, for as
 * long as the caller likes; when all have stopped, check and finish by one thread. Every workload goes on
 * in the same way for ever: what it adds it takes away again, and the number of snapshots stays what was
 * asked for.
 */
#ifndef REFSTORM_WORKLOADS_WORKLOAD_H
#define REFSTORM_WORKLOADS_WORKLOAD_H

#include "core/base/histogram.h"
#include "core/base/order.h"
#include "core/base/random.h"
#include "refstorm/forest.h"
#include "refstorm/quota.h"

#define WORKLOAD_OPERATIONS_MAX 8U

struct workload_options {
	unsigned threads; /* at least 1 */
	unsigned snapshots; /* that there are while it runs; of workloads that have a number of them */
	uint64_t blocks; /* of 4 KiB, in the files that it works on, all together; 0: its default */
	uint64_t seed;
};

/* One run of a workload. */
struct workload {
	const struct rs_workload *kind;
	struct rs_forest *forest; /* empty, or opened from an image: it works beside what is there */
	struct workload_options options;
	void *data;         /* the kind's own, from prepare to finish */
	order_u32 stopping; /* steps end soon; relaxed */
};

/* One thread of it. */
struct workload_thread {
	struct workload *workload;
	struct rs_writer *writer;
	unsigned index; /* below options.threads */
	struct random_state random;
	uint64_t operations;         /* that have been done: what throughput counts */
	struct histogram *latencies; /* one for each of kind->operations; NULL: not measured */
};

struct rs_workload {
	const char *name;    /* [a-z-]+ */
	const char *summary; /* one line */
	const char
		*parameters; /* lines: what threads, snapshots and blocks mean here, and defaults */
	const char *
		operations[WORKLOAD_OPERATIONS_MAX]; /* names for latencies; NULL behind the last */
	bool needs_quotas;                           /* cannot run with them off */
	uint64_t blocks;                             /* the default */

	/* 0 or a negative errno. Quotas are off meanwhile, and on behind it where the run has them. */
	int (*prepare)(struct workload *workload, struct rs_writer *writer);
	/* Some operations, over in some milliseconds, counted in thread->operations. 0 or a negative errno. */
	int (*step)(struct workload_thread *thread);
	/* Whether what is there is what must be, besides what oracles check of every forest. May be NULL. 0, -EUCLEAN, or an error. */
	int (*check)(struct workload *workload, struct rs_writer *writer, struct rs_error *error);
	/* Frees data, also where prepare has failed. May be NULL. */
	void (*finish)(struct workload *workload);
};

/* Number `index` of the list; NULL past the last. */
const struct rs_workload *workload_at(unsigned index);
/* NULL: there is none. */
const struct rs_workload *workload_find(const char *name);

/* How step brackets an operation: `begun` is what _begin returned, `operation` a number in kind->operations. */
uint64_t workload_begin(const struct workload_thread *thread);
void workload_done(struct workload_thread *thread, unsigned operation, uint64_t begun);

#endif /* REFSTORM_WORKLOADS_WORKLOAD_H */
