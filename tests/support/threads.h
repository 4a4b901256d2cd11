/* SPDX-License-Identifier: MIT */
/* Threads of a test, and stalls that chance puts into labelled windows. */
#ifndef REFSTORM_TEST_THREADS_H
#define REFSTORM_TEST_THREADS_H

#include <stdint.h>

#include "core/base/random.h"

#define THREADS_MAX 64

typedef void threads_fn(void *argument, unsigned thread);

/*
 * Runs `fn` in `count` threads, enrolled with RCU, that begin together, and returns when all have
 * returned. cmocka's assertions belong to the thread of the test: `fn` counts what is wrong.
 */
void threads_run(unsigned count, threads_fn *fn, void *argument);

/*
 * The seeds of a run, each printed with `name`: REFSTORM_DATA_SEED and REFSTORM_TIMING_SEED, or
 * the time. The seed of the data gives the same data again, not the same interleaving.
 */
uint64_t threads_data_seed(const char *name);
uint64_t threads_timing_seed(const char *name);

/*
 * From now on a thread that passes a window whose name begins with `prefix` stalls, on average
 * once in `one_in` passes, for up to `us_max` microseconds. Nothing in builds without windows.
 */
void threads_stalls_begin(const char *prefix, uint64_t seed, unsigned one_in, unsigned us_max);

/* Ends them, when the threads have been joined; asserts that `window` was passed, where there are windows. */
void threads_stalls_end(void);
void threads_stalls_assert_passed(const char *window);

#endif /* REFSTORM_TEST_THREADS_H */
