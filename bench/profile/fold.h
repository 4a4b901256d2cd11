/* SPDX-License-Identifier: MIT */
/*
 * Stacks folded into a tree: what `perf script` prints is read line by line, each sample once, so that only
 * as much is kept as there are different stacks. One thread.
 */
#ifndef REFSTORM_BENCH_PROFILE_FOLD_H
#define REFSTORM_BENCH_PROFILE_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FOLD_NONE UINT32_MAX
#define FOLD_DEPTH_MAX 256U /* callers above it are left out */

/* Whose code a function is, which tells what it is charged with. */
enum fold_owner {
	FOLD_PROGRAM,
	FOLD_LIBRARY,
	FOLD_KERNEL,
};

/* A function, as it was called by all those above it. */
struct fold_frame {
	uint32_t name;   /* number of its name */
	uint32_t parent; /* FOLD_NONE: the root */
	uint32_t child;  /* first of its callees, the last one met first */
	uint32_t next;   /* among the callees of its caller */
	uint32_t depth;  /* of the root 0 */
	uint64_t weight; /* with its callees */
};

struct fold;

/* With a root that stands for everything. NULL: no memory. */
struct fold *fold_create(void) __attribute__((warn_unused_result));
/* NULL is allowed. */
void fold_destroy(struct fold *fold);

struct fold_function {
	const char *name;
	enum fold_owner owner;
};

/* One stack, the innermost function first. 0 or -ENOMEM, and then nothing was added. */
int fold_add(struct fold *fold, const struct fold_function *stack, size_t depth, uint64_t weight)
	__attribute__((warn_unused_result));

/*
 * What `perf script --ns -F pid,tid,time,event,ip,sym,dso` prints of on-CPU samples: a weight of 1 each.
 * 0, -ENOMEM or -EIO. `samples` are those that were added.
 */
int fold_read_samples(struct fold *fold, FILE *from, uint64_t *samples)
	__attribute__((warn_unused_result));

/*
 * The same with --show-switch-events, of samples at switches away from a thread: the weight is the time up to
 * its next switch in, in ns, times `every`, the switches that one sample stands for. Left out are threads that
 * could have gone on, but whose CPU another got; those that did not come back; and the thread `besides`.
 */
int fold_read_switches(struct fold *fold, FILE *from, uint64_t every, uint32_t besides,
		       uint64_t *samples) __attribute__((warn_unused_result));

/* Frame number 0 is the root. */
size_t fold_frames(const struct fold *fold);
const struct fold_frame *fold_frame(const struct fold *fold, uint32_t number);
const char *fold_name(const struct fold *fold, uint32_t name);

struct fold_share {
	const char *name; /* the tree's */
	uint64_t weight;
};

/*
 * The functions that were running, or with `program` the innermost of the program's own, the heaviest first.
 * Returns how many of `room` there are.
 */
size_t fold_top(const struct fold *fold, bool program, struct fold_share *shares, size_t room);

#endif /* REFSTORM_BENCH_PROFILE_FOLD_H */
