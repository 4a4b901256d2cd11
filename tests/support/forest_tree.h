/* SPDX-License-Identifier: MIT */
/*
 * Forests with one tree to try things on, and what must hold of all trees of a forest. What does not
 * hold fails the test that calls.
 */
#ifndef REFSTORM_TEST_FOREST_TREE_H
#define REFSTORM_TEST_FOREST_TREE_H

#include "core/forest/forest_impl.h"

struct forest_tree {
	struct rs_forest *forest;
	struct rs_writer *writer;
	struct rs_subvol *root; /* the top level, of which all items are removed: no files */
};

/* Leaves out extents: items of any type but BTRFS_EXTENT_DATA_KEY may be put in. */
void forest_tree_begin(struct forest_tree *tree, uint32_t node_bytes);
void forest_tree_end(struct forest_tree *tree);

/* Into a transaction with room for `changes` changes of trees, and the root locked; and out again. */
void forest_tree_enter(struct forest_tree *tree, struct rs_subvol *root, unsigned changes);
void forest_tree_leave(struct forest_tree *tree, struct rs_subvol *root);

void forest_tree_commit(struct forest_tree *tree);

struct forest_tree_shape {
	unsigned levels;
	uint64_t leaves;
	uint64_t blocks;
	uint64_t items;
	uint64_t used_bytes; /* of leaves, headers left out */
};

/*
 * Every block by the rules of node_check, under what its parent says of it; that buffers say what
 * headers do; that keys ascend from leaf to leaf. At rest, or by the holder of the root's lock.
 */
void forest_tree_check(const struct rs_subvol *root, struct forest_tree_shape *shape);

/*
 * The same of all roots, and that each block has as many references as there are pointers to it and
 * roots at it. At rest. `committed`: nothing has changed since a commit, so that no other blocks are left.
 */
void forest_tree_check_all(struct rs_forest *forest, bool committed);

#endif /* REFSTORM_TEST_FOREST_TREE_H */
