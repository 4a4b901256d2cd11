/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the B-tree share. Paths here are copied: all of their blocks are the tree's own, of
 * this transaction.
 */
#ifndef REFSTORM_FOREST_BTREE_IMPL_H
#define REFSTORM_FOREST_BTREE_IMPL_H

#include <assert.h>

#include "core/forest/btree.h"

/* What a pointer of the tree leads to: something keeps the tree's blocks, so that it is there. */
static inline struct buffer *btree_child(const struct rs_subvol *root, const struct buffer *node,
					 uint32_t slot)
{
	uint64_t bytenr = format_le64(&node_pointer(node->data, slot)->blockptr);
	struct buffer *child = buffer_find(&root->forest->buffers, bytenr);

	assert(child && child->bytenr == bytenr);
	return child;
}

/* The block that the path has above `level`; NULL: it is the root that the path has there. */
static inline struct buffer *btree_parent(const struct btree_path *path, unsigned level)
{
	return level + 1 < FORMAT_LEVELS ? path->nodes[level + 1] : NULL;
}

/* The first key of the path's block at `level`, which is not empty, is another one: tells its ancestors. */
void btree_key_changed(const struct btree_path *path, unsigned level);

/*
 * Makes room for an item with `key` and `bytes` of data at the path, or with `key` NULL for the item there
 * to grow by so much. The path follows. What fails leaves the tree as it was, but maybe split.
 */
int btree_leaf_room(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		    const struct format_key *key, uint32_t bytes)
	__attribute__((warn_unused_result));

/* Something was removed from the path's leaf: removes it if it is empty, merges it if it is small, and so up. */
int btree_shrink(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_BTREE_IMPL_H */
