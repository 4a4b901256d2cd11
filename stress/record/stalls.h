/* SPDX-License-Identifier: MIT */
/* Stalls at labelled windows, in builds that have them. Callers: one thread, but for the windows. */
#ifndef REFSTORM_STRESS_RECORD_STALLS_H
#define REFSTORM_STRESS_RECORD_STALLS_H

#include <stdbool.h>
#include <stdint.h>

#define STALLS_WINDOWS_MAX 128U

bool stalls_are_possible(void);

/* From now on one in `one_in` passes stalls, mostly for up to 200 us, now and then 5 ms. */
void stalls_begin(uint64_t seed, uint64_t one_in);
void stalls_end(void);

struct stalls_window {
	const char *name;
	uint64_t passes;
	uint64_t stalls;
};

/* The `at`-th window that is known; false behind the last. */
bool stalls_window(unsigned at, struct stalls_window *window);
uint64_t stalls_made(void);

#endif /* REFSTORM_STRESS_RECORD_STALLS_H */
