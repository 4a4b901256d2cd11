// SPDX-License-Identifier: MIT
#include "core/disk/tree.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"

/* The path from the root to the block being read. */
struct walk {
	struct rs_image *image;
	const struct format_key *from;
	const struct format_key *to;
	tree_item_fn *fn;
	void *argument;
	uint64_t owner;
	uint8_t *blocks[FORMAT_LEVELS];
	uint32_t slot[FORMAT_LEVELS];
	/* Keys of the block at each level must stay below this; unless it is the last of all. */
	struct format_key bound[FORMAT_LEVELS];
	bool bounded[FORMAT_LEVELS];
};

uint64_t tree_owner(uint64_t id)
{
	return format_is_subvolume(id) ? NODE_OWNER_SUBVOLUME : id;
}

struct node_expect tree_root_expect(const struct tree_root *root)
{
	struct node_expect expect = {
		.bytenr = root->bytenr,
		.generation = root->generation,
		.owner = tree_owner(root->id),
		.level = root->level,
		.is_root = true,
	};

	return expect;
}

/* The slot to begin with: for nodes the child that may hold `from`. */
static uint32_t first_slot(const struct walk *walk, const uint8_t *block)
{
	uint32_t slot;

	if (!walk->from || !node_count(block))
		return 0;
	slot = node_lower_bound(block, walk->from);
	if (node_level(block) && slot) {
		struct format_key key = { 0 };

		if (slot < node_count(block))
			key = node_key(block, slot);
		if (slot == node_count(block) || format_key_compare(&key, walk->from))
			slot--;
	}
	return slot;
}

static int enter_block(struct walk *walk, const struct node_expect *expect, struct rs_error *error)
{
	uint8_t level = expect->level;
	uint8_t *block;
	int ret;

	if (!walk->blocks[level])
		walk->blocks[level] = image_block_alloc(walk->image);
	block = walk->blocks[level];
	if (!block)
		return error_no_memory(error, "a tree block");
	ret = image_read(walk->image, expect, 0, NULL, block, error);
	if (ret)
		return ret;
	if (walk->bounded[level] && node_count(block)) {
		struct format_key last = node_key(block, node_count(block) - 1);

		if (format_key_compare(&last, &walk->bound[level]) >= 0)
			return error_set_at(error, -EUCLEAN, expect->bytenr,
					    "last key (%" PRIu64 " %u %" PRIu64
					    ") is above the next block's first",
					    last.objectid, last.type, last.offset);
	}
	walk->slot[level] = first_slot(walk, block);
	return 0;
}

/* Goes to the child that the current slot of `level` points to. */
static int descend(struct walk *walk, uint8_t level, struct rs_error *error)
{
	const uint8_t *block = walk->blocks[level];
	uint32_t slot = walk->slot[level];
	struct node_expect child = node_child(block, slot, walk->owner);

	walk->bounded[level - 1] = walk->bounded[level];
	walk->bound[level - 1] = walk->bound[level];
	if (slot + 1 < node_count(block)) {
		walk->bounded[level - 1] = true;
		walk->bound[level - 1] = node_key(block, slot + 1);
	}
	return enter_block(walk, &child, error);
}

static int visit_leaf(struct walk *walk, struct rs_error *error)
{
	const uint8_t *block = walk->blocks[0];
	uint32_t slot;

	for (slot = walk->slot[0]; slot < node_count(block); slot++) {
		struct tree_item item = {
			.key = node_key(block, slot),
			.data = node_item_data(block, slot),
			.bytes = node_item_bytes(block, slot),
			.leaf = format_le64(&node_header(block)->bytenr),
		};
		int ret;

		if (walk->to && format_key_compare(&item.key, walk->to) > 0)
			return TREE_STOP;
		ret = walk->fn(walk->argument, &item, error);
		if (ret)
			return ret;
	}
	return 0;
}

/* Everything below the root block, which is at `top`. */
static int walk_blocks(struct walk *walk, uint8_t top, struct rs_error *error)
{
	uint8_t level = top;
	int ret;

	for (;;) {
		if (!level) {
			ret = visit_leaf(walk, error);
			if (ret || !top)
				return ret;
			walk->slot[++level]++;
			continue;
		}
		if (walk->slot[level] >= node_count(walk->blocks[level])) {
			if (level == top)
				return 0;
			walk->slot[++level]++;
			continue;
		}
		if (walk->to) {
			struct format_key key = node_key(walk->blocks[level], walk->slot[level]);

			if (format_key_compare(&key, walk->to) > 0)
				return 0;
		}
		ret = descend(walk, level, error);
		if (ret)
			return ret;
		level--;
	}
}

int tree_walk(struct rs_image *image, const struct tree_root *root, const struct format_key *from,
	      const struct format_key *to, tree_item_fn *fn, void *argument, struct rs_error *error)
{
	struct walk walk = {
		.image = image,
		.from = from,
		.to = to,
		.fn = fn,
		.argument = argument,
		.owner = tree_owner(root->id),
	};
	struct node_expect expect = tree_root_expect(root);
	unsigned level;
	int ret;

	if (root->level >= FORMAT_LEVELS)
		return error_set_at(error, -EUCLEAN, root->bytenr, "tree %" PRId64 " has %u levels",
				    (int64_t)root->id, root->level + 1U);
	ret = enter_block(&walk, &expect, error);
	if (!ret)
		ret = walk_blocks(&walk, root->level, error);
	if (ret < 0)
		error_add_place(error, "tree %" PRId64, (int64_t)root->id);
	for (level = 0; level < FORMAT_LEVELS; level++)
		alloc_free(walk.blocks[level]);
	return ret < 0 ? ret : 0;
}
