/* SPDX-License-Identifier: MIT */
/*
 * Runs a script on a back end: lines of a thread in their order, lines of no thread when all
 * threads have come to rest. The run ends with the first line that does not do what it should.
 *
 * Callers: script_run any thread, which becomes the one for lines of no thread. Progress: blocks
 * until the script is through. Guarantee: what a line of no thread has done is seen by all lines
 * below it, and it sees all that lines above it have done.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_RUN_H
#define REFSTORM_WORKLOADS_SCRIPT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "workloads/script.h"

/* 0 or a negative errno. `thread` is what `join` gave to the calling thread. */
typedef int script_run_fn(void *thread, const struct script_operation *operation);

/* What operations are run on, made for one script. */
struct script_backend {
	const char *name; /* "a mounted directory", in messages */
	void *argument;
	/* In each thread of the run, before its first operation and after its last. 0, -ENOMEM. */
	int (*join)(void *argument, void **thread);
	void (*leave)(void *thread);
	/* Why nothing can be changed any more, in `error`, and its code; 0. May be NULL. */
	int (*aborted)(void *argument, struct rs_error *error);
	script_run_fn *run[SCRIPT_KINDS]; /* NULL: it has no such operation */
	/* Why it has not this one of a kind that it has; NULL: it has. Before the run. May be NULL. */
	const char *(*refused)(const struct script_operation *operation);
	/* What an expectation that has failed found; NULL: its errno says it. May be NULL. */
	const char *(*found)(void *thread);
};

struct script_run_options {
	const struct script *script;
	const struct script_backend *backend;
	unsigned threads; /* @T runs on thread T modulo this number; 0: one for each T */
	/* Runs all oracles for `check`, while nothing else runs: 0, or what is wrong. May be NULL. */
	int (*check)(void *argument, struct rs_error *error);
	void *check_argument;
	bool (*interrupted)(void); /* asked by all threads before each operation. May be NULL. */
};

struct script_run_result {
	uint64_t operations; /* that did what they should */
	uint64_t failures;   /* of these: that failed as they should */
	uint64_t checks;     /* of these: checks and expectations */
	unsigned threads;    /* of @T lines */
};

enum script_run_outcome {
	SCRIPT_RUN_OK,
	SCRIPT_RUN_WRONG,    /* a line did not do what it should */
	SCRIPT_RUN_UNUSABLE, /* the back end has not all operations, or no thread could be had */
	SCRIPT_RUN_NOTHING,  /* the script has no operation */
	SCRIPT_RUN_INTERRUPTED,
};

/* Unless OK, `error` says what and where; WRONG and UNUSABLE name the line. */
enum script_run_outcome script_run(const struct script_run_options *options,
				   struct script_run_result *result, struct rs_error *error);

#endif /* REFSTORM_WORKLOADS_SCRIPT_RUN_H */
