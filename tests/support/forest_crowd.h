/* SPDX-License-Identifier: MIT */
/*
 * Threads that do random things to a forest, under all its oracles. Operations may fail for what
 * another thread has done meanwhile, and for nothing else; most must not. What the threads share
 * here orders nothing between two operations, so that the thread sanitizer sees the forest's own
 * orders only, and those of the oracles that watch each change (forest_crowd_watch).
 */
#ifndef REFSTORM_TEST_FOREST_CROWD_H
#define REFSTORM_TEST_FOREST_CROWD_H

#include <pthread.h>

#include "core/base/order.h"
#include "refstorm/forest.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "stress/oracle/refverify.h"

#define FOREST_CROWD_THREADS 16U
#define FOREST_CROWD_PLACES 64U
/* Above it no more are made. There is always a place for the one that a thread has begun. */
#define FOREST_CROWD_KNOWN (FOREST_CROWD_PLACES - FOREST_CROWD_THREADS - 8U)
#define FOREST_CROWD_FILES 6U        /* of its own, in each subvolume */
#define FOREST_CROWD_IMAGE_FILES 64U /* that are known of an image's subvolume, at most */

enum forest_crowd_kind {
	FOREST_CROWD_COMMIT,
	FOREST_CROWD_SUBVOL,
	FOREST_CROWD_SNAPSHOT,
	FOREST_CROWD_DELETE,
	FOREST_CROWD_DROP, /* a step */
	FOREST_CROWD_WRITE,
	FOREST_CROWD_FALLOCATE,
	FOREST_CROWD_CLONE,
	FOREST_CROWD_DEDUPE,
	FOREST_CROWD_TRUNCATE,
	FOREST_CROWD_PUNCH,
	FOREST_CROWD_DEFRAG,
	FOREST_CROWD_UNLINK,
	FOREST_CROWD_KINDS,
};

struct forest_crowd_options {
	unsigned threads;
	unsigned operations; /* of each thread */
	uint64_t seed;
	unsigned blocks;     /* of a file, 4 KiB each, at most */
	unsigned commit_in;  /* one operation in so many is a commit; 0: none */
	unsigned subvols_in; /* or a new subvolume, a snapshot, or the end of one */
	unsigned drop_in;    /* or a step of taking deleted trees apart */
	unsigned near; /* subvolumes that nearly all is done to, and few files, so that threads meet; 0: all */
};

/* A file that an image has. */
struct forest_crowd_file {
	uint64_t inode;
	char *name; /* in the root directory; NULL: it is known by its number only */
};

struct forest_crowd_files {
	struct forest_crowd_files *next;
	size_t count;
	struct forest_crowd_file files[FOREST_CROWD_IMAGE_FILES];
};

/* A subvolume that the crowd knows. Does not change, and stays until the crowd's end. */
struct forest_crowd_subvol {
	struct forest_crowd_subvol *next;
	struct rs_subvol *subvol;
	const struct forest_crowd_files *files; /* or NULL; those of a snapshot are its source's */
	bool read_only;
};

struct forest_crowd_tally {
	uint64_t tried[FOREST_CROWD_KINDS];
	uint64_t done[FOREST_CROWD_KINDS];
	uint64_t image; /* of those done, to files of the image */
	uint64_t unexpected;
	int first_result; /* of those that are not expected */
	enum forest_crowd_kind first_kind;
};

struct forest_crowd {
	struct rs_forest *forest;
	const struct forest_crowd_options *options;
	struct rs_observer observer;
	struct refverify *verify;
	struct recount_accounts *accounts;
	bool watched;                          /* the observer is told */
	order_ptr places[FOREST_CROWD_PLACES]; /* struct forest_crowd_subvol; NULL: free */
	order_u32 used;                        /* places, about; relaxed */
	order_u32 serial;                      /* of the next name; relaxed */
	pthread_mutex_t mutex;                 /* protects the two lists, which only grow */
	struct forest_crowd_subvol *subvols;
	struct forest_crowd_files *files;
	struct forest_crowd_tally *tallies; /* one a thread, while threads run */
	struct forest_crowd_tally tally;    /* of all runs */
};

/* Oracles, and what they watch the forest with: crowd->observer. */
void forest_crowd_init(struct forest_crowd *crowd);
void forest_crowd_destroy(struct forest_crowd *crowd);

/* At rest, before anything is changed: what the forest has, of an image, is known to the oracles and to the crowd. */
void forest_crowd_load(struct forest_crowd *crowd, struct rs_forest *forest, uint64_t seed);

/*
 * Runs the threads to their end. Asserts that nothing failed that may not, and that more than two
 * of three operations did what they are for.
 */
void forest_crowd_run(struct forest_crowd *crowd, struct rs_forest *forest,
		      const struct forest_crowd_options *options);

/*
 * Commits, and asserts that all oracles find nothing. Other writers have left. Where deleted trees are
 * taken apart in the background that is waited for; else they are checked as far as that has got.
 */
void forest_crowd_check(struct forest_crowd *crowd);

/* Its parts: from now on the subvolume is worked on; all that a recount has found must be nothing. */
void forest_crowd_keep(struct forest_crowd *crowd, struct rs_subvol *subvol, bool read_only,
		       const struct forest_crowd_files *files);
void forest_crowd_report(const struct recount_report *report);

const char *forest_crowd_kind_name(enum forest_crowd_kind kind);

#endif /* REFSTORM_TEST_FOREST_CROWD_H */
