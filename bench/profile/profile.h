/* SPDX-License-Identifier: MIT */
/* A profile of a workload: what locks, retries and waits there were, and where time went. One thread. */
#ifndef REFSTORM_BENCH_PROFILE_PROFILE_H
#define REFSTORM_BENCH_PROFILE_PROFILE_H

#include <jansson.h>
#include <stdio.h>

#include "bench/profile/lock_table.h"
#include "bench/profile/profile_run.h"
#include "core/base/tally.h"

#define PROFILE_TOP 15U
#define PROFILE_NOTES 8U
#define PROFILE_NAME 240

struct profile_options {
	struct profile_run_options run;
	double seconds; /* that are measured, besides warming up */
	bool perf;
	const char *directory; /* where flame graphs go */
	const char *stamp;     /* HHMMSS, in their names */
	bool (*interrupted)(void);
};

/* Of stacks on CPUs, or off them. */
struct profile_stacks {
	bool there;
	uint64_t samples;
	uint64_t weight; /* samples, or ns */
	char svg[64];    /* the file's name in the directory */
	size_t count;
	struct profile_share {
		char function[PROFILE_NAME];
		double share; /* of 1 */
	} top[PROFILE_TOP];
};

struct profile_result {
	uint64_t operations;
	double seconds;
	double cpu_seconds; /* of all threads of the process */
	struct lock_table locks;
	struct tally tally;
	struct profile_stacks on_cpu;
	struct profile_stacks off_cpu;
	char notes[PROFILE_NOTES][400];
	unsigned note_count;
	bool interrupted;
};

/*
 * Runs the workload and fills `result`, which profile_destroy empties, also after an error. 0 or a negative
 * errno; what perf could not do is no error but a note.
 */
int profile_make(const struct profile_options *options, struct profile_result *result,
		 struct rs_error *error) __attribute__((warn_unused_result));
void profile_destroy(struct profile_result *result);

/* For people. */
void profile_print(FILE *to, const struct profile_options *options,
		   const struct profile_result *result);

/* refstorm.profile.v1; takes `run`, the record of what it ran on. NULL: no memory. */
json_t *profile_json(const struct profile_options *options, const struct profile_result *result,
		     json_t *run);

const char *profile_engine_name(const struct profile_run_options *options);
const char *profile_record_name(const struct profile_run_options *options);

#endif /* REFSTORM_BENCH_PROFILE_PROFILE_H */
