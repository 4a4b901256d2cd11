/* SPDX-License-Identifier: MIT */
/* The quota tree of an image: status, groups with their stored numbers, relations. One thread. */
#ifndef REFSTORM_QGROUP_QUOTA_H
#define REFSTORM_QGROUP_QUOTA_H

#include "core/disk/tree.h"
#include "core/qgroup/group.h"

struct rs_image;

struct quota_status {
	bool on;
	bool simple;
	bool inconsistent; /* marked so, or of another generation than the file system */
	bool rescan;
	uint64_t rescan_at;  /* address where the rescan goes on */
	uint64_t enable_gen; /* simple quotas count extents of this generation and later */
};

/*
 * Reads the quota tree at `root` (bytenr 0: there is none, quotas are off) and
 * adds its groups and relations to `groups`, which is not sorted yet. Returns 0,
 * -EUCLEAN for items that make no sense, -ENOMEM, or an error of reading.
 */
int quota_read(struct rs_image *image, const struct tree_root *root, struct quota_status *status,
	       struct group_table *groups, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_QUOTA_H */
