/* SPDX-License-Identifier: MIT */
/* The tree of a new subvolume. By a writer that is in no transaction. */
#ifndef REFSTORM_FOREST_SUBVOLUME_H
#define REFSTORM_FOREST_SUBVOLUME_H

#include "core/forest/forest_impl.h"

/* An empty root directory. Errors as btree.h and trans_join. */
int subvolume_tree_make(struct rs_writer *writer, struct rs_subvol *root)
	__attribute__((warn_unused_result));

/* rs_subvol_snapshot_into, of groups that were checked. */
int subvolume_snapshot(struct rs_writer *writer, struct rs_subvol *source, const char *name,
		       bool read_only, const uint64_t *groups, size_t count, struct rs_subvol **out)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_SUBVOLUME_H */
