/* SPDX-License-Identifier: MIT */
/* Searching the trees that back references name. */
#include <errno.h>

#include "core/base/array.h"
#include "core/forest/root.h"
#include "core/qgroup/live_walk_impl.h"

/* Those that were made since. Ids ascend, but for those that were there when the forest was opened. */
static int roots_catch_up(struct live_walk_roots *roots)
{
	struct rs_subvol *last = roots->count ? roots->roots[roots->count - 1] : NULL;

	while ((last = forest_root_next(roots->forest, last))) {
		void *grown = array_grow(roots->roots, roots->count, 1, &roots->capacity,
					 sizeof(struct rs_subvol *));

		if (!grown)
			return -ENOMEM;
		roots->roots = grown;
		roots->roots[roots->count++] = last;
	}
	return 0;
}

static struct rs_subvol *roots_search(const struct live_walk_roots *roots, uint64_t id)
{
	size_t low = 0;
	size_t high = roots->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (roots->roots[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < roots->count && roots->roots[low]->id == id ? roots->roots[low] : NULL;
}

static struct live_walk_tree tree_committed(struct rs_subvol *root)
{
	/* ROOT.commit: the tree as a commit left it, all its nodes. */
	const struct root_commit *commit = rcu_pointer_observe(&root->commit);
	struct live_walk_tree tree = { 0 };

	if (commit) {
		tree.node = commit->node;
		tree.deleted = commit->dropping;
		if (tree.deleted)
			tree.from = commit->drop_progress;
	}
	return tree;
}

/* What its last commit shows is whole: it is the running one that deletes it. */
static bool root_leaves(struct rs_subvol *root)
{
	/* Relaxed, both: nobody changes them meanwhile. */
	const struct root_commit *commit = order_load_relaxed(&root->commit);

	return order_load_relaxed(&root->state) == ROOT_DELETED && commit && !commit->dropping;
}

static struct live_walk_tree tree_current(struct rs_subvol *root, bool leaving)
{
	/* Relaxed: nobody changes it meanwhile. */
	uint32_t state = order_load_relaxed(&root->state);
	struct live_walk_tree tree = { .node = root->node };

	tree.deleted = state == ROOT_DELETED || state == ROOT_GONE;
	if (leaving && root_leaves(root))
		tree.deleted = false;
	if (tree.deleted)
		tree.from = root->drop_progress;
	return tree;
}

int live_walk_tree_find(struct live_walk_roots *roots, enum live_walk_state state, uint64_t id,
			struct live_walk_tree *tree)
{
	struct rs_subvol *root = roots_search(roots, id);

	*tree = (struct live_walk_tree){ 0 };
	if (!root && (!roots->count || roots->roots[roots->count - 1]->id < id)) {
		if (roots_catch_up(roots))
			return -ENOMEM;
		root = roots_search(roots, id);
	}
	if (root && state == LIVE_WALK_COMMITTED)
		*tree = tree_committed(root);
	else if (root)
		*tree = tree_current(root, state == LIVE_WALK_LEAVING);
	return 0;
}

/* The slot that the key lies in: the last one whose key is not above; or the first. */
static uint32_t tree_slot(const struct buffer *node, const struct format_key *key)
{
	uint32_t slot = node_lower_bound(node->data, key);
	struct format_key found;

	if (slot < node_count(node->data)) {
		found = node_key(node->data, slot);
		if (!format_key_compare(&found, key))
			return slot;
	}
	return slot ? slot - 1 : 0;
}

/* NULL: it is not the block that the pointer means. A deleted tree's may have gone, and its address be another's. */
static const struct buffer *tree_child(const struct buffer_map *map, const struct buffer *node,
				       uint32_t slot)
{
	const struct format_key_ptr *pointer = node_pointer(node->data, slot);
	const struct buffer *child = buffer_find(map, format_le64(&pointer->blockptr));

	if (!child || child->generation != format_le64(&pointer->generation) ||
	    child->level + 1U != node->level)
		return NULL;
	return child;
}

/* Not before what is left of the tree. */
static struct format_key tree_clamp(const struct live_walk_tree *tree, const struct format_key *key)
{
	return format_key_compare(key, &tree->from) < 0 ? tree->from : *key;
}

const struct buffer *live_walk_tree_parent(const struct buffer_map *map,
					   const struct live_walk_tree *tree,
					   const struct buffer *block)
{
	const struct buffer *node = tree->node;
	struct format_key key;

	if (node->level <= block->level || !node_count(block->data))
		return NULL;
	key = node_key(block->data, 0);
	key = tree_clamp(tree, &key);
	/* Ends: each child is one level lower. */
	for (;;) {
		uint32_t slot = tree_slot(node, &key);

		if (node->level == block->level + 1U)
			return format_le64(&node_pointer(node->data, slot)->blockptr) ==
					       block->bytenr ?
				       node :
				       NULL;
		node = tree_child(map, node, slot);
		if (!node)
			return NULL;
	}
}

/* From the path's block at `level` down, along the first pointers. */
static bool path_descend(const struct buffer_map *map, struct live_walk_path *path, unsigned level)
{
	while (level) {
		const struct buffer *child =
			tree_child(map, path->nodes[level], path->slots[level]);

		if (!child)
			return false;
		path->nodes[--level] = child;
		path->slots[level] = 0;
	}
	return true;
}

bool live_walk_tree_seek(const struct buffer_map *map, const struct live_walk_tree *tree,
			 const struct format_key *key, struct live_walk_path *path)
{
	struct format_key from = tree_clamp(tree, key);
	const struct buffer *node = tree->node;

	path->top = node->level;
	while (node && node->level) {
		unsigned level = node->level;

		path->nodes[level] = node;
		path->slots[level] = tree_slot(node, &from);
		node = tree_child(map, node, path->slots[level]);
	}
	if (!node)
		return false;
	path->nodes[0] = node;
	path->slots[0] = node_lower_bound(node->data, &from);
	return true;
}

bool live_walk_tree_next_leaf(const struct buffer_map *map, struct live_walk_path *path)
{
	unsigned level = 1;

	while (level <= path->top && path->slots[level] + 1 >= node_count(path->nodes[level]->data))
		level++;
	if (level > path->top)
		return false;
	path->slots[level]++;
	return path_descend(map, path, level);
}
