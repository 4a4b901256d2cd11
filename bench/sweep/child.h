/* SPDX-License-Identifier: MIT */
/* A sample in a process of its own. Callers: the only thread of the process. */
#ifndef REFSTORM_BENCH_CHILD_H
#define REFSTORM_BENCH_CHILD_H

#include "bench/sweep/sample.h"

enum child_end {
	CHILD_GOOD,
	CHILD_WRONG, /* what it did, or could not do */
	CHILD_HUNG,
	CHILD_CRASHED,
	CHILD_INTERRUPTED,
};

#define CHILD_WHY_BYTES 512U

/*
 * Runs sample number `repeat`. In `why` is what it says where it is wrong, hung or crashed. It is ended when `interrupted`,
 * which may be NULL, says so, and after plan_limit.
 */
enum child_end child_run(const struct plan *plan, const struct plan_point *point, unsigned repeat,
			 const struct topology *topology, bool (*interrupted)(void),
			 struct sample *sample, char why[CHILD_WHY_BYTES]);

#endif /* REFSTORM_BENCH_CHILD_H */
