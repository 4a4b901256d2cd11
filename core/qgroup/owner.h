/* SPDX-License-Identifier: MIT */
/*
 * Simple quotas: every extent counts for the subvolume that first had it, in
 * full, for as long as it is allocated. Tree blocks say their owner in the
 * header, data extents in an EXTENT_OWNER_REF of their extent item. What is older
 * than the generation in which quotas were turned on does not count.
 *
 * Who may call: owner_block and the sweep of owner_read_extents on the workers,
 * each adding to sums of its own; the rest one thread.
 */
#ifndef REFSTORM_QGROUP_OWNER_H
#define REFSTORM_QGROUP_OWNER_H

#include "core/disk/reader.h"
#include "core/disk/tree.h"
#include "core/qgroup/group.h"

struct owner_sums;

struct owner_account {
	const struct group_table *groups; /* sorted */
	uint64_t enable_gen;
	uint32_t node_bytes;
	struct owner_sums *sums; /* for each worker: data and metadata bytes of each group */
	unsigned workers;
};

/* 0 or -ENOMEM. */
int owner_account_init(struct owner_account *owner, const struct group_table *groups,
		       uint64_t enable_gen, uint32_t node_bytes, unsigned workers)
	__attribute__((warn_unused_result));
void owner_account_destroy(struct owner_account *owner);

/* Counts a tree block of a subvolume tree. An account_block_fn; `argument` is the owner_account. */
int owner_block(void *argument, unsigned worker, const uint8_t *block, struct rs_error *error);

/* Counts all data extents of the extent tree at `root`. 0, -EUCLEAN, or as sweep_tree. */
int owner_read_extents(struct owner_account *owner, struct reader *reader,
		       const struct tree_root *root, const struct pool_watch *watch,
		       struct rs_error *error) __attribute__((warn_unused_result));

/* Writes the sums into the groups, those above level 0 as sums of their members. 0 or -ENOMEM. */
int owner_count_groups(const struct owner_account *owner, struct group_table *groups)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_OWNER_H */
