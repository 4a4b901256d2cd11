/* SPDX-License-Identifier: MIT */
/* Finds threads that do not get on. Callers: the driver, one thread. */
#ifndef REFSTORM_STRESS_RECORD_WATCHDOG_H
#define REFSTORM_STRESS_RECORD_WATCHDOG_H

#include "stress/record/stress.h"

struct watchdog {
	uint64_t seen[SHARED_SEATS_MAX + 64]; /* the progress of each */
	uint64_t since_ns[SHARED_SEATS_MAX + 64];
};

void watchdog_init(struct watchdog *watchdog);

/*
 * True if a thread has not got on for options->hang_seconds, in which nobody was stopped, and then all
 * of them have been described on standard error. Threads that rest or have ended are not missed.
 */
bool watchdog_look(struct watchdog *watchdog, struct stress *stress);

#endif /* REFSTORM_STRESS_RECORD_WATCHDOG_H */
