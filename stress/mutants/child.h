/* SPDX-License-Identifier: MIT */
/*
 * One run of a test in a process group of its own, with a limit of time and with a planted bug armed
 * or none. One thread.
 */
#ifndef REFSTORM_STRESS_MUTANTS_CHILD_H
#define REFSTORM_STRESS_MUTANTS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "refstorm/error.h"

#define CHILD_TAIL_BYTES 2048

struct child_order {
	const char *const *command;     /* NULL at the end */
	const char *const *environment; /* NAME=value, NULL at the end */
	const char *folder;             /* to run in; NULL: the one of the caller */
	const char *plant;              /* to arm; NULL: none */
	double limit_s;
};

enum child_how {
	CHILD_EXITED,   /* with `number` */
	CHILD_SIGNALED, /* by `number` */
	CHILD_TIMED_OUT,
	CHILD_CANCELED,
};

struct child_end {
	enum child_how how;
	int number;
	bool reached; /* the plant */
	double seconds;
	char tail[CHILD_TAIL_BYTES]; /* the last of what it printed */
};

struct child {
	pid_t pid;
	int handle; /* readable once the process has ended */
	int mark;   /* a file in memory into which a reached plant writes */
	FILE *log;
	uint64_t begin_ns;
	uint64_t limit_ns;
	bool timed_out;
	bool canceled;
};

/* 0, or a negative errno with `error` set: then there is no process, and nothing to end. */
int child_start(struct child *child, const struct child_order *order, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Nanoseconds until its limit; 0 if that is over. */
uint64_t child_left_ns(const struct child *child);

/* Ends the process and those that it started; child_ended is still to be called. */
void child_time_out(struct child *child);
void child_cancel(struct child *child);

/* False while it runs. True once, with `end` filled in and everything of the child let go. */
bool child_ended(struct child *child, struct child_end *end);

#endif /* REFSTORM_STRESS_MUTANTS_CHILD_H */
