/* SPDX-License-Identifier: MIT */
/* A record path side by side with its model, in one thread. Asserts. */
#ifndef REFSTORM_TEST_STORE_TRIAL_H
#define REFSTORM_TEST_STORE_TRIAL_H

#include "tests/support/delta_model.h"
#include "tests/support/store_crowd.h"

/* A store, the model of it, and what its last run gave. */
struct store_trial {
	const struct store_variant *variant;
	const struct store_functions *functions;
	struct store *store;
	struct delta_model model;
	struct rs_delta *entries; /* of the last run */
	size_t count;
	size_t capacity;
	uint64_t bytenr; /* of its last head, plus 1 */
	unsigned broken; /* heads */
	uint64_t heads;
	uint64_t fail_at; /* the head, from 1, whose runner fails; 0: none */
	uint64_t failed_bytenr;
	rs_head_fn *look; /* called in the runner */
};

/* An empty store. */
void store_trial_begin(struct store_trial *trial, const struct store_variant *variant);
void store_trial_end(struct store_trial *trial);
void store_trial_merge(struct store_trial *trial);

/* Numbers add up, and say what is pending by the model. */
void store_trial_check(struct store_trial *trial);

void store_trial_append(struct store_trial *trial, const struct rs_delta *delta);

struct rs_delta store_trial_delta(uint64_t bytenr, enum rs_delta_type type, uint64_t root,
				  int32_t count, uint64_t seq);

/* Appends such a delta. */
void store_trial_change(struct store_trial *trial, uint64_t bytenr, enum rs_delta_type type,
			uint64_t root, int32_t count, uint64_t seq);

/* Of a run: keeps what it is given in trial->entries; the argument is the trial. */
rs_head_fn store_trial_runner;

/* What the run returned. */
int store_trial_run(struct store_trial *trial, uint64_t cut);

/* Runs, and looks whether that was what the model says, and no more. 0, or the runner's -EDOM. */
int store_trial_run_check(struct store_trial *trial, uint64_t cut);

/* A look-up says what the model says; `capacity` is at most 64. */
void store_trial_lookup(struct store_trial *trial, uint64_t bytenr, uint64_t seq_max,
			size_t capacity);

/*
 * Too many for the model: the store alone gets `count` deltas that do not merge, from the
 * `first` on, over `spread` extents; and these are counted when they are run.
 */
void store_trial_fill(struct store_trial *trial, uint64_t first, uint64_t count, uint64_t spread,
		      uint64_t seq);
void store_trial_run_count(struct store_trial *trial, uint64_t cut, uint64_t heads,
			   uint64_t entries, uint64_t left);

#endif /* REFSTORM_TEST_STORE_TRIAL_H */
