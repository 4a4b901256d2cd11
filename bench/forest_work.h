/* SPDX-License-Identifier: MIT */
/*
 * What the benchmarks of the live forest share: a forest that is made, filled, and counted again by the
 * oracle in the end. One at a time.
 *
 * Callers: the first thread of the benchmark; forest_work_write and forest_work_failed_if any thread.
 */
#ifndef REFSTORM_BENCH_FOREST_WORK_H
#define REFSTORM_BENCH_FOREST_WORK_H

#include "bench/shim.h"
#include "core/base/order.h"
#include "refstorm/forest.h"

#define FOREST_WORK_BLOCK UINT64_C(4096)
#define FOREST_WORK_COMMIT_EVERY UINT64_C(50000)
#define FOREST_WORK_SEED 7U

struct forest_work {
	struct rs_forest *forest;
	struct rs_writer *writer; /* of the first thread */
	order_u64 failed;         /* calls that should not have */
	uint64_t references;      /* that there were at the end */
};
extern struct forest_work forest_work;

/* A subvolume with one file. */
struct forest_work_file {
	struct rs_subvol *subvol;
	uint64_t inode;
	uint64_t blocks;
};

/* Of some moment. */
struct forest_work_moment {
	uint64_t wall_ns;
	uint64_t cpu_ns;  /* of all threads of the process */
	uint64_t user_ns; /* the part of it outside the system, which gives memory; by its ticks */
	struct rs_forest_statistics statistics;
};

void forest_work_begin(void);
void forest_work_end(void);

/* Counted, so that a benchmark with a failure fails. */
void forest_work_failed_if(int result);

void forest_work_moment_take(struct forest_work_moment *moment);
double forest_work_seconds(const struct forest_work_moment *begin,
			   const struct forest_work_moment *end);

/* Writes one block. */
void forest_work_write(struct rs_writer *writer, const struct forest_work_file *file,
		       uint64_t block);

/* Makes a subvolume whose file has an extent for each of its blocks, committed. */
void forest_work_fill(struct forest_work_file *file, const char *name, uint64_t blocks);

/* At rest, committed: nothing failed, the oracle finds nothing, and there are so many extents of data. */
void forest_work_check(struct bench_state *state, uint64_t data_extents);

/* The same for quotas: each subvolume's group is what the oracle counts. */
void forest_work_groups_check(struct bench_state *state);

#endif /* REFSTORM_BENCH_FOREST_WORK_H */
