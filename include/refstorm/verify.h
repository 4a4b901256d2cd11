/* SPDX-License-Identifier: MIT */
/*
 * The accounts of a btrfs image, computed from its trees alone, beside those
 * that the kernel stored in it.
 */
#ifndef REFSTORM_VERIFY_H
#define REFSTORM_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "refstorm/export.h"
#include "refstorm/image.h"
#include "refstorm/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which accounting the image has turned on, and the computed numbers follow. */
enum rs_quota_mode {
	RS_QUOTA_OFF,    /* none: level-0 numbers as full accounting would have them */
	RS_QUOTA_FULL,   /* shared and exclusive bytes by root set */
	RS_QUOTA_SIMPLE, /* bytes by owner */
};

enum rs_match {
	RS_MATCH_NO,
	RS_MATCH_YES,
	RS_MATCH_UNKNOWN, /* nothing is stored, or it is not meant to hold */
};

/* One quota group. All sizes in bytes, logical, not multiplied by copies. */
struct rs_group {
	uint16_t level;
	uint64_t number;    /* of a level-0 group: the subvolume id */
	const char *path;   /* of the subvolume from the top level; NULL if it has none */
	uint64_t rfer;      /* of extents that a member references */
	uint64_t excl;      /* of extents that only members reference */
	uint64_t data_rfer; /* the same without tree blocks */
	uint64_t data_excl;
	bool has_stored;
	uint64_t stored_rfer; /* what the kernel stored */
	uint64_t stored_excl;
	enum rs_match match;
};

struct rs_verify_report {
	enum rs_quota_mode mode;
	uint64_t generation;
	bool inconsistent;  /* the stored numbers are marked so */
	bool rescanning;    /* a rescan is under way ... */
	uint64_t rescan_at; /* ... and has got to this address */
	size_t group_count;
	const struct rs_group *groups; /* ascending by level, then number */
	size_t mismatches;             /* groups with RS_MATCH_NO */
	uint64_t referenced_bytes;     /* of all extents that subvolume trees reference */
	uint64_t tree_blocks;
	uint64_t data_extents;
	uint64_t root_sets;      /* distinct */
	uint64_t root_set_runs;  /* of all of them together */
	uint64_t root_set_bytes; /* of memory */
	double read_seconds;     /* reading trees and collecting unions */
	double sets_seconds;     /* interning sets and counting groups */
	double total_seconds;
	unsigned threads;
};

struct rs_verify_options {
	unsigned threads;         /* 0: one for each CPU allowed */
	rs_progress_fn *progress; /* may be NULL; called by the calling thread */
	void *argument;
};

/*
 * Computes the numbers of every group. `options` may be NULL. One thread for each
 * image; it blocks until the end, while workers of its own read.
 *
 * Returns 0 and the report, also if numbers differ; or a negative errno and the
 * reason in `error`: -EUCLEAN damaged trees, with the address; -EIO; -ENOMEM;
 * -EINVAL too many threads; -ECANCELED given up by `progress`.
 */
RS_API int rs_verify(struct rs_image *image, const struct rs_verify_options *options,
		     struct rs_verify_report **report, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL is allowed. */
RS_API void rs_verify_report_free(struct rs_verify_report *report);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_VERIFY_H */
