/* SPDX-License-Identifier: MIT */
/*
 * Copying tree blocks for writing, and what that does to references: btrfs's rules for blocks
 * that several trees share.
 *
 * Who may call: who holds the lock of the root, inside a transaction, with room for tree blocks
 * reserved. Two writers may copy one shared block for their trees at the same time: the block's lock
 * makes one of them the first, and whoever leaves it without a reference takes it apart.
 * Errors: as btree.h: what fails half-way aborts the transaction.
 */
#ifndef REFSTORM_FOREST_COW_H
#define REFSTORM_FOREST_COW_H

#include "core/forest/forest_impl.h"

/* A new block of the root, its header filled in, without items, and known to others: its reference is recorded. */
int cow_block_new(struct rs_writer *writer, struct rs_subvol *root, uint8_t level,
		  struct buffer **out) __attribute__((warn_unused_result));

/* A block that the root has alone, of this transaction, and that nothing points to any more. */
int cow_block_drop(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer)
	__attribute__((warn_unused_result));

/*
 * The root's own copy of `buffer`, a block of its tree, which `parent` (itself copied; NULL: none) points
 * to at `slot`; that pointer, or the root, leads to the copy then. The same buffer if it is of this
 * transaction.
 */
int cow_copy(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer,
	     struct buffer *parent, uint32_t slot, struct buffer **out)
	__attribute__((warn_unused_result));

/* The snapshot's root node, from its source's, which is referenced by nobody else. In a commit. */
int cow_snapshot(struct rs_writer *writer, struct rs_subvol *source, struct rs_subvol *snapshot)
	__attribute__((warn_unused_result));

/*
 * Adds (`count` 1) or drops (-1) what the block refers to: by the block's address if `full`, else keyed by
 * the tree in its header. `real_root` is the tree that is being changed.
 */
int cow_children(struct rs_writer *writer, const struct buffer *buffer, uint64_t real_root,
		 bool full, int count) __attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_COW_H */
