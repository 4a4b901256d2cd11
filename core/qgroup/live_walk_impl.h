/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the walk share: trees as of the walk's state, and paths down them.
 *
 * Callers: the thread that walks.
 */
#ifndef REFSTORM_QGROUP_LIVE_WALK_IMPL_H
#define REFSTORM_QGROUP_LIVE_WALK_IMPL_H

#include "core/forest/forest_impl.h"
#include "core/qgroup/live_walk.h"

/*
 * A tree that back references name. Of one that is deleted nothing is there before `from`, but its other
 * blocks are still what keyed references stand for, and other roots may share those.
 */
struct live_walk_tree {
	const struct buffer *node;
	struct format_key from; /* all zero of a whole one */
	bool deleted;
};

/* From a tree's node down to a leaf. */
struct live_walk_path {
	const struct buffer *nodes[FORMAT_LEVELS];
	uint32_t slots[FORMAT_LEVELS];
	unsigned top; /* level of the tree's node */
};

/* The roots of a forest, as far as walks have met them. */
struct live_walk_roots {
	struct rs_forest *forest;
	struct rs_subvol **roots; /* ascending by id */
	size_t count;
	size_t capacity;
};

/*
 * The tree of the root `id`; its node is NULL if there is none. Takes the lock of the forest's table where
 * roots have been made since it last did. 0 or -ENOMEM.
 */
int live_walk_tree_find(struct live_walk_roots *roots, enum live_walk_state state, uint64_t id,
			struct live_walk_tree *tree) __attribute__((warn_unused_result));

/* The block of the tree that points to `block`, by its first key; NULL: there is none. */
const struct buffer *live_walk_tree_parent(const struct buffer_map *map,
					   const struct live_walk_tree *tree,
					   const struct buffer *block);

/*
 * At the first item of the tree that is not below `key`, or behind the last one of a leaf. False: the
 * tree is damaged.
 */
bool live_walk_tree_seek(const struct buffer_map *map, const struct live_walk_tree *tree,
			 const struct format_key *key, struct live_walk_path *path);
/* At the first item of the next leaf. False: there is none. */
bool live_walk_tree_next_leaf(const struct buffer_map *map, struct live_walk_path *path);

#endif /* REFSTORM_QGROUP_LIVE_WALK_IMPL_H */
