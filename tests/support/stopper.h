/* SPDX-License-Identifier: MIT */
/*
 * Stops threads anywhere, in the middle of what they do: another process traces them, stops one
 * after the other for a random time and notes where each stood.
 *
 * Who may call: begin and end the thread of the test, while no thread that was added runs; add
 * any thread, for itself; it may end while it is traced.
 */
#ifndef REFSTORM_TEST_STOPPER_H
#define REFSTORM_TEST_STOPPER_H

#include <stdint.h>

struct stopper;

/* Stops last up to `us_max` microseconds. NULL where tracing is not allowed. */
struct stopper *stopper_begin(uint64_t seed, unsigned us_max);

/* The calling thread may be stopped from now on, for as long as it lives. NULL: nothing. */
void stopper_add(struct stopper *stopper);

/* Stops so far. */
uint64_t stopper_count(const struct stopper *stopper);

/* Where a thread stood; `argument` is that of stopper_end. */
typedef void stopper_fn(void *argument, uint64_t instruction);

/* Ends the tracing and returns how often a thread was stopped; `fn` may be NULL. */
uint64_t stopper_end(struct stopper *stopper, stopper_fn *fn, void *argument);

#endif /* REFSTORM_TEST_STOPPER_H */
