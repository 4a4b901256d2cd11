/* SPDX-License-Identifier: MIT */
/*
 * One run of refstorm-record-stress: what its threads share. Callers: as each member says; those
 * without a word are set before the threads begin.
 */
#ifndef REFSTORM_STRESS_RECORD_STRESS_H
#define REFSTORM_STRESS_RECORD_STRESS_H

#include <pthread.h>

#include "core/base/order.h"
#include "core/base/random.h"
#include "stress/record/headcheck.h"
#include "stress/record/options.h"
#include "stress/record/shared.h"
#include "stress/record/viewcheck.h"

/* What the threads did; relaxed sums, added to by whoever did it. */
struct stress_counts {
	order_u64 cuts;
	order_u64 commits;
	order_u64 commits_refused; /* 64 transactions waited */
	order_u64 cut_waits;
	order_u64 cut_timeouts;
	order_u64 closed_checked; /* open operations that a closed cut had to have seen end */
	order_u64 runs;
	order_u64 runs_refused; /* by a planned failure of the runner */
	order_u64 begins_refused;
	order_u64 views;
	order_u64 views_ended; /* by the record, for their age */
	order_u64 samples;     /* look-ups at a view, twice */
	order_u64 samples_void;
	order_u64 left;      /* producers that left and joined again */
	order_u64 replaced;  /* threads that ended */
	order_u64 abandoned; /* of them, inside an operation */
	order_u64 moved;     /* to other CPUs */
	order_u64 naps;
	order_u64 checks; /* of all sums, at rest */
	order_u64 oldest_ns;
	order_u64 pending_max;
	order_u64 bytes_max;
	order_u64 overstated; /* readings of more deltas recorded than there were */
};

struct stress;
struct worker;
typedef void worker_fn(struct worker *worker);

/* A thread other than a producer. */
struct worker {
	struct stress *stress;
	worker_fn *fn;
	const char *role;
	unsigned number;
	pthread_t handle;
	bool started;
	struct random_state random;                              /* the thread's */
	order_u64 progress __attribute__((aligned(ORDER_LINE))); /* relaxed: moves on, no more */
	order_ptr state;                                         /* relaxed: a text, for people */
	order_u32 thread;
} __attribute__((aligned(ORDER_LINE)));

/* Threads that are asked to rest between two operations. */
struct parking {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	order_u32 asked; /* relaxed: a hint; true under the mutex */
	/* Under the mutex: */
	unsigned parked; /* in this turn, those that have gone too */
	unsigned gone;
	unsigned turn; /* how often they were let go on */
};

struct seat;

/* How a run ended: the exit codes of the program. */
enum stress_verdict {
	STRESS_PASS = 0,
	STRESS_FAULT = 1,
	STRESS_UNUSABLE = 2,
	STRESS_HANG = 3,
	STRESS_NOTHING = 6,
	STRESS_INTERRUPTED = 130,
};

struct stress {
	const struct options *options;
	struct keyspace space;
	struct rs_record *record;
	struct headcheck heads;
	struct headcheck_order helped; /* of runs by producers that wait */
	struct viewcheck views;
	struct parking parking;
	struct stress_counts counts;
	struct shared *shared; /* with the tracer */
	struct seat *seats;
	struct worker *workers;
	unsigned seat_count;
	unsigned worker_count;
	unsigned parkers; /* threads that park: producers and viewers */
	order_u32 finish; /* for producers, viewers, lookers; relaxed: seen soon */
	order_u32 rest;   /* for runners and mergers, whom producers may wait for; relaxed */
	order_u32 quota_is_enough; /* set before the threads begin */
	/* Commits in the order in which they returned, under the mutex. */
	pthread_mutex_t commit_mutex;
	uint64_t *commits;
	size_t commit_count;
	/* Of the driver. */
	uint64_t begin_ns;
	uint64_t end_ns;
	uint64_t cpu_ns;
	uint64_t deltas; /* recorded */
	double generator_ns;
	struct rs_record_statistics statistics; /* at the end */
};

static inline bool stress_is_over(const struct stress *stress)
{
	return order_load_relaxed(&stress->finish) != 0;
}

static inline bool stress_rests(const struct stress *stress)
{
	return order_load_relaxed(&stress->rest) != 0;
}

static inline void stress_count(order_u64 *count)
{
	order_fetch_add_relaxed(count, 1);
}

static inline void worker_step(struct worker *worker, const char *state)
{
	/* Relaxed: for the watchdog; this thread is the only writer. */
	order_own_store_relaxed(&worker->state, (void *)(uintptr_t)state);
	order_own_store_relaxed(&worker->progress, order_load_relaxed(&worker->progress) + 1);
}

#endif /* REFSTORM_STRESS_RECORD_STRESS_H */
