/* SPDX-License-Identifier: MIT */
/* What tests of the record path share: its configurations, deltas, and a runner that keeps heads. */
#ifndef REFSTORM_TEST_RECORD_CASE_H
#define REFSTORM_TEST_RECORD_CASE_H

#include <stdbool.h>

#include "refstorm/record.h"

/* A configuration: path and queue, and how many queues a record has. */
struct record_case {
	const char *name;
	enum rs_record_path path;
	enum rs_record_queue queue;
	unsigned cpus;
};

#define RECORD_CASES 5U
extern const struct record_case record_cases[RECORD_CASES];

/* `state` of a test that record_tests_run runs. */
const struct record_case *record_case_of(void **state);

/* A record of the case; other options may be NULL. Skips the test where the machine has no such queue. */
struct rs_record *record_case_create(void **state, const struct rs_record_options *options);

/* Each test in each configuration, by its name. What main returns. */
struct record_test {
	const char *name;
	void (*fn)(void **state);
};
int record_tests_run(const char *group, const struct record_test *tests, size_t count);

struct rs_delta record_ref(uint64_t bytenr, uint64_t key, int32_t count);
struct rs_delta record_root(uint64_t bytenr, uint64_t root, int32_t count, uint64_t reserved);

/* An operation of one delta, or of several. Asserts that it succeeds. */
void record_one(struct rs_producer *producer, struct rs_delta delta);
void record_many(struct rs_producer *producer, const struct rs_delta *deltas, size_t count);

/* A cut, closed. */
uint64_t record_close(struct rs_record *record);

#define RECORD_HEADS_MAX 4096U

/* Heads as the runner got them, copied. */
struct record_heads {
	struct rs_head heads[RECORD_HEADS_MAX];
	struct rs_delta entries[2 * RECORD_HEADS_MAX];
	size_t head_count;
	size_t entry_count;
	size_t fail_at; /* the head of this number, from 1, fails with -EIO; 0: none */
};

rs_head_fn record_heads_take; /* its argument is a struct record_heads, which begins as all zero */

/* A record, one producer, and what the last run did. */
struct record_world {
	struct rs_record *record;
	struct rs_producer *producer;
	struct record_heads heads;
	struct rs_run_result result;
};

void record_world_begin(struct record_world *world, void **state,
			const struct rs_record_options *options);
void record_world_end(struct record_world *world);

/* Runs up to the cut; heads kept before are forgotten. What the run returned. */
int record_run_to(struct record_world *world, uint64_t cut, size_t fail_at);

/* The last run came to the cut, with so many heads and entries. */
void record_assert_ran(const struct record_world *world, uint64_t cut, size_t heads,
		       size_t entries);

/* Closes a cut and runs all; asserts as above. */
void record_run_rest(struct record_world *world, size_t heads, size_t entries);

/* Merges what is queued, and looks the extent up: references pending, which the entries add up to. */
int64_t record_pending(struct rs_record *record, uint64_t bytenr, uint64_t seq_max);

/* At rest all that was recorded is merged, run or pending, and `run` is as said. Asserts. */
void record_assert_sums(struct rs_record *record, uint64_t recorded, uint64_t run);

#endif /* REFSTORM_TEST_RECORD_CASE_H */
