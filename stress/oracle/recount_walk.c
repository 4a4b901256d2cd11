/* SPDX-License-Identifier: MIT */
/* Each block once: what it implies for what it leads to. */
#include "stress/oracle/recount_impl.h"

#include <errno.h>
#include <inttypes.h>

/* From whom references are: the tree, or the block itself if they are full. */
struct origin {
	uint64_t from;
	bool full;
};

static struct origin origin_of(const struct buffer *buffer)
{
	struct origin origin = { .full = buffer_word_approx(buffer) & BUFFER_FULL };

	origin.from = origin.full ? buffer->bytenr : format_le64(&node_header(buffer->data)->owner);
	return origin;
}

static int imply(struct recount *recount, const struct recount_ref *ref)
{
	if (!recount->options.references)
		return 0;
	recount->report.references++;
	return recount_refs_add(&recount->refs, ref);
}

static int imply_block(struct recount *recount, const struct origin *origin, uint64_t bytenr,
		       uint8_t level)
{
	const struct recount_ref ref = {
		.bytenr = bytenr,
		.bytes = recount->forest->node_bytes,
		.from = origin->from,
		.owner = origin->full ? 0 : level,
		.count = 1,
		.type = origin->full ? RS_DELTA_SHARED_BLOCK_REF : RS_DELTA_TREE_BLOCK_REF,
	};

	return imply(recount, &ref);
}

static int imply_data(struct recount *recount, const struct origin *origin, const uint8_t *leaf,
		      uint32_t slot)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);
	struct recount_ref ref = {
		.from = origin->from,
		.count = 1,
		.type = origin->full ? RS_DELTA_SHARED_DATA_REF : RS_DELTA_EXTENT_DATA_REF,
	};

	if (!recount_node_extent(leaf, slot, &ref.bytenr, &ref.bytes))
		return 0;
	if (!origin->full) {
		ref.owner = key.objectid;
		ref.offset = key.offset - format_le64(&item->offset);
	}
	return imply(recount, &ref);
}

/* What a tree that is being taken apart still has of a node on its path. */
struct remains {
	uint32_t first; /* the first pointer, or item, that is there with all below it */
	bool on_path;   /* the one before it is the next node of the path */
};

static struct remains remains_of(const struct recount_drop *drop, const uint8_t *node)
{
	struct remains remains = { 0 };
	uint32_t slot;

	if (!drop)
		return remains;
	for (slot = 0; slot < node_count(node); slot++) {
		struct format_key key = node_key(node, slot);
		int order = format_key_compare(&key, &drop->progress);

		/* The progress is the next to go in its node; above, it is inside what begins at or before it. */
		if (order > 0 || (!order && node_level(node) <= drop->level))
			break;
	}
	remains.first = slot;
	remains.on_path = node_level(node) > drop->level && slot > 0;
	return remains;
}

static int walk_block(struct recount *recount, const struct recount_expect *expect,
		      const struct recount_drop *drop);

static int walk_pointers(struct recount *recount, const struct buffer *buffer,
			 const struct recount_expect *expect, const struct recount_drop *drop)
{
	struct origin origin = origin_of(buffer);
	struct remains remains = remains_of(drop, buffer->data);
	uint32_t slot = remains.first - remains.on_path;
	int ret = 0;

	for (; !ret && slot < node_count(buffer->data); slot++) {
		struct recount_expect child = recount_node_child(buffer->data, slot, expect);
		bool on_path = remains.on_path && slot + 1 == remains.first;

		ret = imply_block(recount, &origin, child.bytenr, child.level);
		if (!ret)
			ret = walk_block(recount, &child, on_path ? drop : NULL);
	}
	return ret;
}

static int walk_items(struct recount *recount, const struct buffer *buffer,
		      const struct recount_drop *drop)
{
	struct origin origin = origin_of(buffer);
	uint32_t slot = remains_of(drop, buffer->data).first;
	int ret = 0;

	recount->report.items += node_count(buffer->data) - slot;
	for (; !ret && slot < node_count(buffer->data); slot++)
		ret = imply_data(recount, &origin, buffer->data, slot);
	return ret;
}

/* Recursion ends: each child's level is one lower. */
static int walk_block(struct recount *recount, const struct recount_expect *expect,
		      const struct recount_drop *drop)
{
	struct recount_block *block = recount_blocks_get(&recount->blocks, expect->bytenr);
	bool first;
	struct buffer *buffer;

	if (!block)
		return -ENOMEM;
	block->pointers++;
	first = !block->walked;
	block->walked = true;
	if (first) {
		block->buffer = buffer_find(&recount->forest->buffers, expect->bytenr);
		if (!block->buffer)
			recount_find(recount, RECOUNT_NODE, expect->bytenr,
				     "a pointer leads here, and there is no block");
		else
			block->sound = recount_node_check(recount, block->buffer);
		recount->report.blocks += block->buffer != NULL;
	}
	if (!block->sound)
		return 0;
	buffer = block->buffer;
	if (!recount_node_expected(recount, buffer, expect)) {
		/* Nobody reads on from here; what lies below is found missing, then. */
		block->sound = false;
		return 0;
	}
	if (!first)
		return 0;
	return expect->level ? walk_pointers(recount, buffer, expect, drop) :
			       walk_items(recount, buffer, drop);
}

int recount_walk_root(struct recount *recount, const struct rs_subvol *root,
		      const struct root_commit *commit)
{
	const struct recount_drop drop = { commit->drop_progress, commit->drop_level };
	const struct origin origin = { .from = root->id };
	const struct buffer *node = commit->node;
	const struct recount_expect expect = {
		.bytenr = node->bytenr,
		.generation = node->generation,
		.is_root = true,
		.level = node->level,
	};
	int ret = imply_block(recount, &origin, node->bytenr, node->level);

	if (!commit->dropping && node->generation > commit->generation)
		recount_find(recount, RECOUNT_NODE, node->bytenr,
			     "the root of tree %" PRIu64 " is of generation %" PRIu64
			     ", above its commit's %" PRIu64,
			     root->id, node->generation, commit->generation);
	return ret ? ret : walk_block(recount, &expect, commit->dropping ? &drop : NULL);
}
