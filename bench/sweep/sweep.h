/* SPDX-License-Identifier: MIT */
/*
 * Runs all samples of a plan, each in a process of its own. The points take turns: as many rounds as samples
 * are wanted, in each all of them in an order that is drawn from the seed.
 *
 * Callers: the only thread of the process.
 */
#ifndef REFSTORM_BENCH_SWEEP_H
#define REFSTORM_BENCH_SWEEP_H

#include "bench/sweep/result.h"

struct sweep_hooks {
	bool (*interrupted)(void); /* true: what runs is ended, and the sweep; may be NULL */
	/* Before each sample, of which `done` are over; may be NULL. */
	void (*progress)(void *argument, size_t done, size_t all, const struct plan_point *next);
	void *argument;
};

struct sweep_outcome {
	size_t wrong; /* points that failed: a check or an operation of theirs */
	size_t hung;
	size_t crashed;
	size_t idle; /* in which nothing was done */
	bool interrupted;
};

/*
 * Points that fail are left alone from then on, the others go on. 0, whatever came out; -ENOMEM, -EIO (the
 * machine cannot be read, so that threads cannot be bound).
 */
int sweep_run(const struct plan *plan, const struct sweep_hooks *hooks, struct result *result,
	      struct sweep_outcome *outcome, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_SWEEP_H */
