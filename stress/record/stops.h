/* SPDX-License-Identifier: MIT */
/*
 * A process of its own that stops producers, one at a time, for a millisecond to a second, wherever
 * they are, and lets them go on. Callers: the driver, one thread.
 */
#ifndef REFSTORM_STRESS_RECORD_STOPS_H
#define REFSTORM_STRESS_RECORD_STOPS_H

#include <stdbool.h>

#include "stress/record/shared.h"

/* Forks it; best while the process has one thread. Its id, or a negative errno. */
pid_t stops_start(struct shared *shared, uint64_t seed, uint64_t longest_ms);

/* Ends it; nobody is stopped then. False: it had died. */
bool stops_end(struct shared *shared, pid_t tracer);

/* Where threads were stopped, by function: the `at`-th most frequent. False behind the last. */
struct stops_place {
	const char *name;
	uint64_t stops;
};
void stops_places_find(struct shared *shared);
bool stops_place(unsigned at, struct stops_place *place);

#endif /* REFSTORM_STRESS_RECORD_STOPS_H */
