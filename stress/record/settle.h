/* SPDX-License-Identifier: MIT */
/* Checks at rest: no producer is in an operation, no view is held, and all is run. Callers: the driver. */
#ifndef REFSTORM_STRESS_RECORD_SETTLE_H
#define REFSTORM_STRESS_RECORD_SETTLE_H

#include "stress/record/stress.h"

/* Commits, runs all there is, and compares everything. Producers and viewers rest or have ended. */
void settle_check(struct stress *stress);

/* Largest figures of the record so far, and that no more is pending than bounds explain. */
void settle_sample(struct stress *stress);

#endif /* REFSTORM_STRESS_RECORD_SETTLE_H */
