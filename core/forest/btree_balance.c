/* SPDX-License-Identifier: MIT */
/* Trees that grow and shrink: splitting what is full, merging what is small. */
#include "core/forest/btree_impl.h"
#include "core/forest/cow.h"
#include "core/forest/inner.h"
#include "core/forest/leaf.h"
#include "core/forest/trans.h"

/* A block is small that is filled by less than one part in so many. Two that become one leave room again. */
#define SMALL_PARTS 3U

static struct inner_pointer balance_pointer(const struct buffer *child,
					    const struct format_key *key)
{
	return (struct inner_pointer){
		.key = *key,
		.bytenr = child->bytenr,
		.generation = child->generation,
	};
}

/* A new root node above the old one, which is not empty. */
static int balance_root_raise(struct rs_writer *writer, struct rs_subvol *root,
			      struct btree_path *path)
{
	struct buffer *old = root->node;
	uint8_t level = (uint8_t)(old->level + 1);
	struct format_key key = node_key(old->data, 0);
	struct inner_pointer pointer = balance_pointer(old, &key);
	struct buffer *node;
	int result;

	assert(level < FORMAT_LEVELS);
	result = cow_block_new(writer, root, level, &node);
	if (result)
		return result;
	inner_pointer_insert(node->data, 0, &pointer);
	root->node = node;
	path->nodes[level] = node;
	path->slots[level] = 0;
	return 0;
}

/*
 * `right` has got what was behind the first `left` entries of the path's block at `level`, and is pointed
 * to from now on. The path follows what it stood at if `moved`.
 */
static void balance_split_finish(struct btree_path *path, unsigned level, struct buffer *right,
				 const struct format_key *key, uint32_t left, bool moved)
{
	struct inner_pointer pointer = balance_pointer(right, key);

	inner_pointer_insert(path->nodes[level + 1]->data, path->slots[level + 1] + 1, &pointer);
	if (!moved)
		return;
	path->nodes[level] = right;
	path->slots[level] -= left;
	path->slots[level + 1]++;
}

/* Whether nothing of the tree is behind the path's block at `level`. */
static bool balance_is_last(const struct btree_path *path, unsigned level)
{
	for (; btree_parent(path, level); level++)
		if (path->slots[level + 1] + 1 < node_count(path->nodes[level + 1]->data))
			return false;
	return true;
}

static bool balance_node_full(const struct rs_subvol *root, const struct buffer *node)
{
	return node_count(node->data) == inner_capacity(root->forest->node_bytes);
}

/* The path's interior node at `level`, whose parent has room. At the end of the tree the first stays full. */
static int balance_node_split(struct rs_writer *writer, struct rs_subvol *root,
			      struct btree_path *path, unsigned level)
{
	struct buffer *node = path->nodes[level];
	uint32_t count = node_count(node->data);
	bool at_end = balance_is_last(path, level) && path->slots[level] == count - 1;
	uint32_t left = at_end ? count - 1 : count / 2;
	struct format_key key = node_key(node->data, left);
	struct buffer *right;
	int result = cow_block_new(writer, root, (uint8_t)level, &right);

	if (result)
		return result;
	inner_move_right(node->data, right->data, count - left);
	balance_split_finish(path, level, right, &key, left, path->slots[level] >= left);
	return 0;
}

/* Room for one more pointer in the leaf's parent: each split leaves a whole tree. */
static int balance_parent_room(struct rs_writer *writer, struct rs_subvol *root,
			       struct btree_path *path)
{
	unsigned level = 1;
	int result = 0;

	while (level <= root->node->level && balance_node_full(root, path->nodes[level]))
		level++;
	if (level > root->node->level)
		result = balance_root_raise(writer, root, path);
	while (!result && --level)
		result = balance_node_split(writer, root, path, level);
	return result;
}

/* The path's leaf into two; `key` as for btree_leaf_room. */
static int balance_leaf_split(struct rs_writer *writer, struct rs_subvol *root,
			      struct btree_path *path, const struct format_key *key,
			      const struct leaf_split *split)
{
	struct buffer *leaf = path->nodes[0];
	uint32_t moved = node_count(leaf->data) - split->left;
	struct format_key first = moved ? node_key(leaf->data, split->left) : *key;
	struct buffer *right;
	int result = balance_parent_room(writer, root, path);

	if (!result)
		result = cow_block_new(writer, root, 0, &right);
	if (result)
		return result;
	leaf_move_right(leaf->data, right->data, root->forest->node_bytes, moved);
	balance_split_finish(path, 0, right, &first, split->left, split->right);
	return 0;
}

/*
 * The path stands behind the last item of its leaf: the front of the next leaf does as well, if that has
 * room and the same parent. 1: the path is there, copied; 0; or an errno.
 */
static int balance_leaf_next(struct rs_writer *writer, struct rs_subvol *root,
			     struct btree_path *path, uint32_t bytes)
{
	struct buffer *parent = btree_parent(path, 0);
	uint32_t slot = path->slots[1] + 1;
	struct buffer *leaf;
	int result;

	if (!parent || slot == node_count(parent->data))
		return 0;
	leaf = btree_child(root, parent, slot);
	if (leaf_free_bytes(leaf->data, root->forest->node_bytes) < bytes)
		return 0;
	result = cow_copy(writer, root, leaf, parent, slot, &leaf);
	if (result)
		return result;
	path->nodes[0] = leaf;
	path->slots[0] = 0;
	path->slots[1] = slot;
	return 1;
}

int btree_leaf_room(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
		    const struct format_key *key, uint32_t bytes)
{
	uint32_t node_bytes = root->forest->node_bytes;
	uint32_t all = bytes + (key ? LEAF_ITEM_BYTES : 0);
	int result = 0;

	/* Ends: after two splits at most the item is alone in its leaf. */
	while (!result && leaf_free_bytes(btree_leaf(path), node_bytes) < all) {
		struct leaf_need need = { path->slots[0], bytes, !key };
		uint32_t count = node_count(btree_leaf(path));
		struct leaf_split split = { .left = count, .right = true };

		/* Behind the last item: whoever adds items in order leaves full leaves behind. */
		if (need.slot == count)
			result = balance_leaf_next(writer, root, path, all);
		else
			split = leaf_split_find(btree_leaf(path), node_bytes, &need);
		if (!result)
			result = balance_leaf_split(writer, root, path, key, &split);
		else if (result > 0)
			return 0;
	}
	return result;
}

/* A block of the tree that nothing points to any more; it is empty. */
static int balance_drop(struct rs_writer *writer, struct rs_subvol *root, struct buffer *buffer)
{
	assert(!node_count(buffer->data));
	return cow_block_drop(writer, root, buffer);
}

/* While the root node has one pointer, what that leads to is the root. */
static int balance_root_lower(struct rs_writer *writer, struct rs_subvol *root,
			      struct btree_path *path)
{
	int result = 0;

	while (!result && root->node->level && node_count(root->node->data) == 1) {
		struct buffer *old = root->node;
		struct buffer *child = btree_child(root, old, 0);

		/* A root that has changed is of this transaction. */
		result = cow_copy(writer, root, child, old, 0, &child);
		if (result)
			break;
		inner_pointer_remove(old->data, 0);
		root->node = child;
		path->nodes[old->level] = NULL;
		result = balance_drop(writer, root, old);
	}
	return result;
}

/* The path's block at `level`, which is empty and not the root. */
static int balance_remove(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path,
			  unsigned level)
{
	struct buffer *parent = path->nodes[level + 1];

	inner_pointer_remove(parent->data, path->slots[level + 1]);
	if (!path->slots[level + 1] && node_count(parent->data))
		btree_key_changed(path, level + 1);
	return balance_drop(writer, root, path->nodes[level]);
}

/* Bytes behind the header that are in use. */
static uint32_t balance_used(const struct buffer *buffer, uint32_t node_bytes)
{
	uint32_t count = node_count(buffer->data);

	return buffer->level ? count * (uint32_t)sizeof(struct format_key_ptr) :
			       leaf_used_bytes(buffer->data, node_bytes, count);
}

/* What `parent` points to at `slot` and behind it become one if they fit. 1: they are; 0; or an errno. */
static int balance_merge(struct rs_writer *writer, struct rs_subvol *root, struct buffer *parent,
			 uint32_t slot)
{
	uint32_t node_bytes = root->forest->node_bytes;
	struct buffer *left = btree_child(root, parent, slot);
	struct buffer *right = btree_child(root, parent, slot + 1);
	uint32_t count = node_count(right->data);
	int result;

	if (balance_used(left, node_bytes) + balance_used(right, node_bytes) >
	    leaf_capacity(node_bytes))
		return 0;
	result = cow_copy(writer, root, left, parent, slot, &left);
	if (!result)
		result = cow_copy(writer, root, right, parent, slot + 1, &right);
	if (result)
		return result;
	if (left->level)
		inner_move_left(left->data, right->data, count);
	else
		leaf_move_left(left->data, right->data, node_bytes, count);
	inner_pointer_remove(parent->data, slot + 1);
	result = balance_drop(writer, root, right);
	return result ? result : 1;
}

/* 1: the path's block at `level` is one with a neighbour; 0: it is not small, or none has room; or an errno. */
static int balance_merge_small(struct rs_writer *writer, struct rs_subvol *root,
			       struct btree_path *path, unsigned level)
{
	uint32_t node_bytes = root->forest->node_bytes;
	struct buffer *parent = path->nodes[level + 1];
	uint32_t slot = path->slots[level + 1];
	int result = 0;

	if (balance_used(path->nodes[level], node_bytes) >= leaf_capacity(node_bytes) / SMALL_PARTS)
		return 0;
	if (slot)
		result = balance_merge(writer, root, parent, slot - 1);
	if (!result && slot + 1 < node_count(parent->data))
		result = balance_merge(writer, root, parent, slot);
	return result;
}

int btree_shrink(struct rs_writer *writer, struct rs_subvol *root, struct btree_path *path)
{
	unsigned level;
	/* From here on the root node, if it is above the leaf, has a pointer to spare. */
	int result = balance_root_lower(writer, root, path);

	for (level = 0; !result && level < root->node->level; level++) {
		if (!node_count(path->nodes[level]->data)) {
			result = balance_remove(writer, root, path, level);
			continue;
		}
		result = balance_merge_small(writer, root, path, level);
		if (!result)
			break;
		if (result > 0)
			result = 0;
	}
	return result ? result : balance_root_lower(writer, root, path);
}
