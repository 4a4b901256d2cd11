/* SPDX-License-Identifier: MIT */
/*
 * A workload that goes on in this process while it is looked at. All functions by one thread, which rests
 * meanwhile: it is not bound to a CPU, the workload's threads are.
 */
#ifndef REFSTORM_BENCH_PROFILE_RUN_H
#define REFSTORM_BENCH_PROFILE_RUN_H

#include "refstorm/error.h"
#include "workloads/workload.h"

struct profile_run_options {
	const struct rs_workload *kind;
	bool quotas;
	enum rs_quota_engine engine; /* of quotas */
	enum rs_record_path record;
	unsigned threads;
	unsigned snapshots;
	uint64_t seed;
};

struct profile_run;

/*
 * Makes a forest, prepares, turns quotas on, and lets the threads go. 0 or a negative errno: then nothing is
 * to be ended.
 */
int profile_run_begin(const struct profile_run_options *options, struct profile_run **out,
		      struct rs_error *error) __attribute__((warn_unused_result));

/* Of all threads up to now; each tells after some milliseconds. */
uint64_t profile_run_operations(const struct profile_run *run);

/* Whether a thread has stopped since an operation failed. */
bool profile_run_has_failed(const struct profile_run *run);

/* Ends it, checks what is there and takes it away. 0 or a negative errno: something went wrong, or is wrong. */
int profile_run_end(struct profile_run *run, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_PROFILE_RUN_H */
