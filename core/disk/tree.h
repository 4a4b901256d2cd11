/* SPDX-License-Identifier: MIT */
/*
 * Walking one tree in key order, one block at a time: for the small trees
 * (chunk, root, quota) and for single look-ups. Large trees are read by
 * core/disk/reader.h.
 *
 * Who may call: any thread. Bounded: keys must ascend over the whole tree, so
 * no block can be met twice, and a tree has at most 8 levels.
 */
#ifndef REFSTORM_DISK_TREE_H
#define REFSTORM_DISK_TREE_H

#include "core/disk/format.h"
#include "core/disk/node.h"
#include "refstorm/error.h"

struct rs_image;

struct tree_root {
	uint64_t id; /* objectid of the tree; owners are checked against it */
	uint64_t bytenr;
	uint64_t generation;
	uint8_t level;
};

struct tree_item {
	struct format_key key;
	const uint8_t *data; /* inside the block: valid during the call */
	uint32_t bytes;
	uint64_t leaf; /* address of the block, for messages */
};

/* Return 0 to go on, TREE_STOP to end the walk well, a negative errno to fail it. */
typedef int tree_item_fn(void *argument, const struct tree_item *item, struct rs_error *error);
#define TREE_STOP 1

/*
 * Calls `fn` for each item with from <= key <= to, in order; NULL is no bound.
 * Returns 0 (also when stopped), what `fn` returned, or an error of image_read.
 */
int tree_walk(struct rs_image *image, const struct tree_root *root, const struct format_key *from,
	      const struct format_key *to, tree_item_fn *fn, void *argument, struct rs_error *error)
	__attribute__((warn_unused_result));

/* What node_check is to expect of the root block. */
struct node_expect tree_root_expect(const struct tree_root *root);

/* The owner that blocks of tree `id` must have: `id`, or NODE_OWNER_SUBVOLUME. */
uint64_t tree_owner(uint64_t id);

#endif /* REFSTORM_DISK_TREE_H */
