/* SPDX-License-Identifier: MIT */
/*
 * The program `perf`, which watches this process for a while and tells what it saw. It is started without a shell;
 * its data lie in a directory of their own that is gone afterwards. One thread.
 */
#ifndef REFSTORM_BENCH_PROFILE_PERF_H
#define REFSTORM_BENCH_PROFILE_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "refstorm/error.h"

enum perf_kind {
	PERF_ON_CPU,  /* stacks by the clock of the CPUs */
	PERF_OFF_CPU, /* stacks of some switches, and all switches */
};

struct perf {
	enum perf_kind kind;
	char directory[64]; /* empty: there is none */
	pid_t pid;          /* of what runs; 0: nothing */
	int control;        /* what it is told; -1: closed */
	int answers;
	FILE *text; /* of perf script */
};

/*
 * perf watches from now on: all threads that there are. `number`: on CPU, samples a second; off CPU, of each
 * thread's switches one of so many gets a stack. 0, or a negative errno with what is missing in `error`: then
 * nothing is to be ended.
 */
int perf_begin(struct perf *perf, enum perf_kind kind, uint64_t number, struct rs_error *error)
	__attribute__((warn_unused_result));

/* It has seen enough. 0, or an errno as above. Then perf_close. */
int perf_end(struct perf *perf, struct rs_error *error) __attribute__((warn_unused_result));

/* What it saw, as text to be read to its end. NULL: an error. */
FILE *perf_read(struct perf *perf, struct rs_error *error) __attribute__((warn_unused_result));

/* Ends what runs, and takes the data away. An error if perf_read's text was not whole; may be NULL. */
int perf_close(struct perf *perf, struct rs_error *error);

#endif /* REFSTORM_BENCH_PROFILE_PERF_H */
