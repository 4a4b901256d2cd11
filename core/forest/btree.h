/* SPDX-License-Identifier: MIT */
/*
 * B-trees in the btrfs layout: search, and changes of what a writer has copied for itself.
 *
 * Who may call: who holds the lock of the root; changes inside a transaction (trans_join), with
 * room for tree blocks reserved (BTREE_BLOCKS for each change). Blocks are copied by cow.h
 * before they are changed.
 * Errors: changes return 0 or a negative errno. What fails before anything is changed says so by
 * returning; what fails later aborts the transaction (trans_abort) and returns what it was aborted with.
 */
#ifndef REFSTORM_FOREST_BTREE_H
#define REFSTORM_FOREST_BTREE_H

#include "core/forest/forest_impl.h"

/* Tree blocks that one change may need: a copy and a split at each level, and both neighbours. */
#define BTREE_BLOCKS (4U * FORMAT_LEVELS)

/* From a root to a leaf. Valid until the tree is changed by anything else than through it. */
struct btree_path {
	struct buffer *nodes[FORMAT_LEVELS]; /* by level; NULL above the root */
	uint32_t slots[FORMAT_LEVELS];
};

static inline const uint8_t *btree_leaf(const struct btree_path *path)
{
	return path->nodes[0]->data;
}

/*
 * The first item that is not below `key`, which may be behind the last one of its leaf. True if it is
 * there exactly.
 */
bool btree_find(struct rs_subvol *root, const struct format_key *key, struct btree_path *path);

/* At the item itself: if the path stands behind its leaf's last, the first of the next. False: there is none. */
bool btree_settle(struct rs_subvol *root, struct btree_path *path);
/* The next item; the one before. False, and the path is where it was: there is none. */
bool btree_next(struct rs_subvol *root, struct btree_path *path);
bool btree_previous(struct rs_subvol *root, struct btree_path *path);

/* As btree_find, with all blocks of the path copied, so that item data may be changed. 1 exact, 0 not, or an errno. */
int btree_change(struct rs_writer *writer, struct rs_subvol *root, const struct format_key *key,
		 struct btree_path *path) __attribute__((warn_unused_result));

/* An item of `bytes` bytes, all zero; the path is at it. -EEXIST; -E2BIG: more than a leaf holds. */
int btree_insert(struct rs_writer *writer, struct rs_subvol *root, const struct format_key *key,
		 uint32_t bytes, struct btree_path *path) __attribute__((warn_unused_result));

/*
 * `count` items from the path on, all in its leaf; the path is of btree_change or btree_insert. Leaves
 * and nodes that get small are merged with a neighbour. The path is not valid after.
 */
int btree_delete(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		 uint32_t count) __attribute__((warn_unused_result));

/* Another size: cut at the end, or with zeros there. The path stays at the item. -E2BIG. */
int btree_resize(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		 uint32_t bytes) __attribute__((warn_unused_result));

/* Another key for the item at the path, which keeps its place among its neighbours. */
void btree_rekey(struct btree_path *path, const struct format_key *key);

/* The item's data, to be changed; the path is of btree_change or btree_insert. */
uint8_t *btree_item(const struct btree_path *path);

/* An empty tree for the root: one leaf. */
int btree_create(struct rs_writer *writer, struct rs_subvol *root)
	__attribute__((warn_unused_result));

/* Bytes of the largest item that a leaf holds. */
uint32_t btree_item_bytes_max(const struct rs_forest *forest);

#endif /* REFSTORM_FOREST_BTREE_H */
