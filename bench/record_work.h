/* SPDX-License-Identifier: MIT */
/*
 * What a thread of bench/record_bench.c appends, and in the count build, what locked instructions
 * and stores to shared lines that takes. Callers: each thread its own.
 */
#ifndef REFSTORM_BENCH_RECORD_WORK_H
#define REFSTORM_BENCH_RECORD_WORK_H

#include "bench/keys.h"
#include "bench/shim.h"

#define WORK_OPERATION 64U /* deltas */

/* The same few deltas, which move on with each operation. */
struct work {
	struct rs_producer *producer;
	struct rs_delta deltas[WORK_OPERATION];
	struct keys keys;
	bool keyed; /* each operation has new keys; else the addresses move on */
	uint64_t appended;
	uint64_t sum;
	uint64_t failed;
	uint64_t next_sum; /* of the addresses of an operation's deltas */
	/* In the count build: what appends did that switched segments, and what was done in all. */
	uint64_t switches;
	uint64_t locked_in_switches;
	uint64_t stores_in_switches;
	uint64_t locked;
	uint64_t stores;
};

void work_init(struct work *work, enum keys_kind kind, uint64_t extents, unsigned thread,
	       unsigned threads);

/* The sum of the deltas' addresses. */
uint64_t work_sum(const struct rs_delta *deltas, uint64_t count);

/* Operations that call an empty function in place of the library. */
void work_loop(struct work *work, uint64_t operations);

/* Operations of the work's producer. */
void work_append(struct work *work, uint64_t operations);

/* Nothing has been done yet. */
void work_forget(struct work *work);

/* After the loop, in the count build: what appends cost. Fails if they write shared lines outside of switches. */
void work_show_counts(struct bench_state *state, const struct work *work);

#endif /* REFSTORM_BENCH_RECORD_WORK_H */
