/* SPDX-License-Identifier: MIT */
/*
 * What a record path does: it keeps deltas and runs them. core/delayed/record.c adds operations,
 * cuts, views and bounds, which are the same for all of them.
 *
 * Who may call: `append` any producer inside an operation; `run` one thread at a time; the
 * others any thread.
 */
#ifndef REFSTORM_DELAYED_STORE_H
#define REFSTORM_DELAYED_STORE_H

#include "core/delayed/delta.h"

struct store; /* each path's own */

/* What has gone through a store; sums since it was made. */
struct store_statistics {
	uint64_t recorded;      /* deltas appended */
	uint64_t merged;        /* of them, folded into another or cancelled */
	uint64_t run;           /* entries given to a runner */
	uint64_t merges;        /* batches; 0 where each append merges */
	uint64_t pending_bytes; /* memory of what is pending */
	bool taking;            /* some of it may be in no number, for a moment */
	uint64_t oldest_time; /* clock_now_ns() not after the oldest pending delta came; 0: none */
};

struct store_run {
	uint64_t cut;         /* deltas up to this number */
	uint64_t transaction; /* the one they belong to */
	rs_head_fn *run;
	void *argument;
	struct rs_run_result *result; /* heads and entries are added to it */
	uint64_t since; /* clock_now_ns() before which nothing past the cut was recorded; 0: unknown */
};

struct store_functions {
	const char *name;
	void (*destroy)(struct store *store);
	/* The delta is complete. 0 or -ENOMEM, and then it is not recorded. */
	int (*append)(struct store *store, const struct rs_delta *delta);
	/*
	 * Runs all that was appended by operations up to the cut, which is closed, by ascending
	 * bytenr. 0, -ENOMEM, or what the runner returned: its head and all behind it stay.
	 */
	int (*run)(struct store *store, const struct store_run *run);
	int (*lookup)(struct store *store, uint64_t bytenr, uint64_t seq_max,
		      struct rs_head_pending *pending, struct rs_delta *entries, size_t capacity);
	void (*statistics)(struct store *store, struct store_statistics *statistics);
	/* Deltas pending, from a line that appending writes anyway: cheap, for the bounds. */
	uint64_t (*pending)(const struct store *store);
};

/* 0 or -ENOMEM. */
int locked_create(struct store **out) __attribute__((warn_unused_result));
extern const struct store_functions locked_functions;
int hashed_create(struct store **out) __attribute__((warn_unused_result));
extern const struct store_functions hashed_functions;

#endif /* REFSTORM_DELAYED_STORE_H */
