/* SPDX-License-Identifier: MIT */
/*
 * Allocations that fail while a script runs, and what its lines may come to then. Callers: as each
 * function says; refusals_take any threads together.
 */
#ifndef REFSTORM_STRESS_FOREST_REFUSALS_H
#define REFSTORM_STRESS_FOREST_REFUSALS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/order.h"
#include "core/base/random.h"

struct rs_forest;
struct script_operation;

enum refusals_kind {
	REFUSALS_NONE,
	REFUSALS_SINGLE, /* one at a time: what has failed for it is tried again, and does what it should */
	REFUSALS_SPELLS, /* all for a while */
};

struct refusals {
	enum refusals_kind kind;
	struct rs_forest *forest;
	pthread_mutex_t lock; /* protects what follows */
	struct random_state random;
	bool armed;
	unsigned spell;     /* operations up to the end of this one */
	uint64_t made;      /* before the last arming */
	order_u32 begun;    /* the first operation; relaxed: once it is set it stays */
	order_u32 happened; /* any; relaxed: once it is set it stays */
	order_u32 diverged; /* a line has not done what it should; relaxed: likewise */
};

void refusals_init(struct refusals *refusals, enum refusals_kind kind, uint64_t seed);
void refusals_end(struct refusals *refusals);

/* By one thread: none fails from now on; they do again, as they have from the first operation on. */
void refusals_pause(struct refusals *refusals);
void refusals_resume(struct refusals *refusals);

typedef int refusals_run_fn(void *thread, const struct script_operation *operation);

/*
 * Runs the operation, again where it failed for want of memory. What it came to: as it should where it
 * may have come to something else because allocations have failed.
 */
int refusals_take(struct refusals *refusals, refusals_run_fn *run, void *thread,
		  const struct script_operation *operation);

/* Since the beginning. Paused. */
uint64_t refusals_made(const struct refusals *refusals);

#endif /* REFSTORM_STRESS_FOREST_REFUSALS_H */
