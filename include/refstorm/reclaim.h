/* SPDX-License-Identifier: MIT */
/* What deleting subvolumes and snapshots of a btrfs image would free. */
#ifndef REFSTORM_RECLAIM_H
#define REFSTORM_RECLAIM_H

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

struct rs_reclaim_options {
	unsigned threads;         /* 0: one for each CPU allowed */
	rs_progress_fn *progress; /* may be NULL; called by the calling thread */
	void *argument;
	bool each;     /* with no names: `each` is about all subvolumes */
	uint32_t best; /* so many entries of `best` at the most */
};

/* One subvolume. All sizes in bytes, logical, not multiplied by copies. */
struct rs_reclaim_entry {
	uint64_t id;
	const char *path; /* from the top level; NULL if it has none */
	uint64_t bytes; /* freed by deleting it: alone in `each`, after those before it in `best` */
	uint64_t total; /* in `best`: by deleting it and all before it; else 0 */
};

struct rs_reclaim_report {
	uint64_t generation;
	bool given;         /* there were names ... */
	size_t given_count; /* ... and they stand for so many subvolumes: `each` is about these */
	uint64_t bytes;     /* freed by deleting exactly these, all of them */
	size_t each_count;
	const struct rs_reclaim_entry *each; /* ascending by id */
	size_t best_count;
	const struct rs_reclaim_entry *best; /* in the order of deletion; NULL if not asked for */
	double seconds;
	unsigned threads;
};

/*
 * Counts the extents, data and tree blocks, that no subvolume references any
 * more once those that `names` stand for are deleted. Subvolumes that are deleted
 * already count as gone, even if their trees are still there. What changes in the
 * trees that stay is not counted: names that are taken out of directories, items
 * of the extent tree.
 *
 * A name is an id (digits only), a group (digits/digits: all subvolumes at or
 * below it; 0/257 is subvolume 257), or a path from the top level. What is named
 * twice counts once. The top level itself cannot be deleted.
 *
 * `best` is chosen from the subvolumes named, or with no names from all that are
 * snapshots: in turn the one that frees most. Of several that free the same, the
 * one that shares most bytes with just one subvolume that is left, then with just
 * two, and so on; then the lowest id. It ends early when none is left to choose.
 *
 * `options` may be NULL. One thread for each image; it blocks until the end,
 * while workers of its own read.
 *
 * Returns 0 and the report; or a negative errno and the reason in `error`:
 * -ENOENT a name that stands for nothing, or for a subvolume that is deleted
 * already; -EINVAL a name for the top level, nothing asked for, or too many
 * threads; -EUCLEAN damaged trees, with the address; -EIO; -ENOMEM; -ECANCELED
 * given up by `progress`.
 */
RS_API int rs_reclaim(struct rs_image *image, const char *const *names, size_t count,
		      const struct rs_reclaim_options *options, struct rs_reclaim_report **report,
		      struct rs_error *error) __attribute__((warn_unused_result));

/* NULL is allowed. */
RS_API void rs_reclaim_report_free(struct rs_reclaim_report *report);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_RECLAIM_H */
