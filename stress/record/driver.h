/* SPDX-License-Identifier: MIT */
/* One run from its first thread to its last sum. Callers: main. */
#ifndef REFSTORM_STRESS_RECORD_DRIVER_H
#define REFSTORM_STRESS_RECORD_DRIVER_H

#include "stress/record/stress.h"

/* Makes everything but threads: STRESS_PASS, or STRESS_UNUSABLE after a message. */
enum stress_verdict driver_create(struct stress *stress, const struct options *options)
	__attribute__((warn_unused_result));

/* After STRESS_HANG threads still run: the process can only be left. */
enum stress_verdict driver_run(struct stress *stress) __attribute__((warn_unused_result));
void driver_destroy(struct stress *stress);

/* May be called by a signal's handler. */
void driver_interrupt(int signal);

#endif /* REFSTORM_STRESS_RECORD_DRIVER_H */
