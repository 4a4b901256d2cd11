/* SPDX-License-Identifier: MIT */
#include "stress/oracle/tree_refs.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "stress/oracle/walk.h"

/* How a block's references to others are keyed. */
struct origin {
	uint64_t from;
	bool by_address; /* full back references: `from` is the block's address, not its owner */
};

static struct origin origin_of(const uint8_t *block, struct mapped_extent *extent)
{
	const struct format_header *header = node_header(block);
	struct origin origin = { .from = format_le64(&header->owner) };

	/* Relaxed: this flag was set when the map was built. */
	if (extent && order_load_relaxed(&extent->flags) & EXTENT_MAP_FULL_BACKREF) {
		origin.by_address = true;
		origin.from = format_le64(&header->bytenr);
	}
	return origin;
}

static int reference_block(struct tree_refs *refs, unsigned worker, const struct origin *origin,
			   uint64_t bytenr)
{
	struct reference reference = {
		.bytenr = bytenr,
		.from = origin->from,
		.type = origin->by_address ? BTRFS_SHARED_BLOCK_REF_KEY : BTRFS_TREE_BLOCK_REF_KEY,
	};

	return refs->sink->reference(refs->sink->argument, worker, &reference,
				     extent_map_find(refs->map, bytenr),
				     refs->image->rules.node_bytes);
}

/* The file extent in item `slot`, unless it holds its data itself or is a hole. */
static int reference_data(struct tree_refs *refs, unsigned worker, const struct origin *origin,
			  const uint8_t *leaf, uint32_t slot, struct rs_error *error)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);
	struct reference reference = { .from = origin->from };
	uint32_t bytes = node_item_bytes(leaf, slot);

	if (bytes <= offsetof(struct btrfs_file_extent_item, type) ||
	    (item->type != BTRFS_FILE_EXTENT_INLINE && bytes < sizeof(*item)))
		return error_set_at(error, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
				    "file extent of item %u is cut off", slot);
	if (item->type == BTRFS_FILE_EXTENT_INLINE || !format_le64(&item->disk_bytenr))
		return 0;
	reference.bytenr = format_le64(&item->disk_bytenr);
	reference.type = origin->by_address ? BTRFS_SHARED_DATA_REF_KEY : BTRFS_EXTENT_DATA_REF_KEY;
	if (!origin->by_address) {
		reference.objectid = key.objectid;
		/* May lie before the file's beginning; the kernel, too, lets it wrap. */
		reference.offset = key.offset - format_le64(&item->offset);
	}
	return refs->sink->reference(refs->sink->argument, worker, &reference,
				     extent_map_find(refs->map, reference.bytenr),
				     format_le64(&item->disk_num_bytes));
}

/* What stands in `block` from pointer or item `slot` on. */
static int reference_all(struct tree_refs *refs, unsigned worker, const uint8_t *block,
			 uint32_t slot, struct rs_error *error)
{
	uint64_t bytenr = format_le64(&node_header(block)->bytenr);
	struct mapped_extent *extent = extent_map_find(refs->map, bytenr);
	struct origin origin = origin_of(block, extent);
	int ret = refs->sink->block(refs->sink->argument, worker, block, extent);

	for (; !ret && slot < node_count(block); slot++) {
		if (node_level(block))
			ret = reference_block(refs, worker, &origin,
					      format_le64(&node_pointer(block, slot)->blockptr));
		else if (node_item(block, slot)->key.type == BTRFS_EXTENT_DATA_KEY)
			ret = reference_data(refs, worker, &origin, block, slot, error);
	}
	if (ret == -ENOMEM)
		return error_no_memory(error, "the references");
	return ret;
}

static int on_block(void *argument, unsigned worker, const uint8_t *block, struct rs_error *error)
{
	return reference_all(argument, worker, block, 0, error);
}

/* A block that is not in the map is met as often as it is pointed to; the walk sorts that out. */
static bool first_met(const struct extent_map *map, uint64_t bytenr)
{
	struct mapped_extent *extent = extent_map_find(map, bytenr);

	return !extent || extent_map_mark(extent, EXTENT_MAP_VISITED);
}

static bool descend(void *argument, unsigned worker, const uint8_t *block, uint32_t slot,
		    struct rs_error *error)
{
	const struct tree_refs *refs = argument;

	(void)worker;
	(void)error;
	return first_met(refs->map, format_le64(&node_pointer(block, slot)->blockptr));
}

/* The super block, or a root item, references the root of a tree. */
static int reference_root(struct tree_refs *refs, const struct listed_tree *tree)
{
	struct origin origin = { .from = tree->id };

	/* The copies that a balance works on begin with a block that is its own parent. */
	if (tree->id == (uint64_t)BTRFS_TREE_RELOC_OBJECTID)
		origin = (struct origin){ .from = tree->bytenr, .by_address = true };
	return reference_block(refs, 0, &origin, tree->bytenr);
}

/* The first pointer of a node on the path that is not gone; see below. */
static uint32_t first_left(const struct listed_tree *tree, const uint8_t *block)
{
	uint32_t slot = 0;

	for (; slot < node_count(block); slot++) {
		struct format_key key = node_key(block, slot);
		int order = format_key_compare(&key, &tree->drop_progress);

		/* At drop_level the key is the next to go; above, the path takes the last one up to it. */
		if (node_level(block) == tree->drop_level ? order >= 0 : order > 0)
			break;
	}
	return slot;
}

/* The children of a node on the path that still count are walked like all others. */
static int add_children(struct tree_refs *refs, struct walk *walk, const uint8_t *block,
			uint32_t slot, uint64_t owner)
{
	for (; slot < node_count(block); slot++) {
		struct node_expect child = node_child(block, slot, owner);

		if (first_met(refs->map, child.bytenr) && walk_add(walk, &child))
			return -ENOMEM;
	}
	return 0;
}

/*
 * A tree in the course of being dropped: what lies before the path to drop_progress is
 * gone, the path itself is there. Down to drop_level the path is read here.
 */
static int read_dropping(struct tree_refs *refs, struct walk *walk, const struct listed_tree *tree,
			 uint8_t *block, struct rs_error *error)
{
	struct node_expect expect = tree_list_expect(tree);
	int ret;

	/* Ends: one level down each time. */
	for (;;) {
		struct mapped_extent *extent = extent_map_find(refs->map, expect.bytenr);
		uint32_t first;
		uint32_t path;

		if (extent)
			extent_map_mark(extent, EXTENT_MAP_VISITED);
		ret = image_read(refs->image, &expect, 0, NULL, block, error);
		if (ret)
			return ret;
		first = first_left(tree, block);
		path = expect.level > tree->drop_level && first ? first - 1 : first;
		ret = reference_all(refs, 0, block, path, error);
		if (!ret && add_children(refs, walk, block, first, expect.owner))
			ret = error_no_memory(error, "the tree blocks");
		if (ret || path == first)
			return ret;
		expect = node_child(block, path, expect.owner);
	}
}

static int add_tree(struct tree_refs *refs, struct walk *walk, const struct listed_tree *tree,
		    uint8_t *block, struct rs_error *error)
{
	struct node_expect expect = tree_list_expect(tree);

	if (reference_root(refs, tree))
		return error_no_memory(error, "the references");
	if (tree->dropping)
		return read_dropping(refs, walk, tree, block, error);
	if (first_met(refs->map, tree->bytenr) && walk_add(walk, &expect))
		return error_no_memory(error, "the tree blocks");
	return 0;
}

int tree_refs_read(struct tree_refs *refs, struct rs_error *error)
{
	struct walk walk = {
		.argument = refs,
		.block = on_block,
		.descend = descend,
		.watch = refs->watch,
	};
	uint8_t *block = image_block_alloc(refs->image);
	size_t at;
	int ret = 0;

	if (!block || walk_init(&walk, refs->reader)) {
		alloc_free(block);
		return error_no_memory(error, "the tree blocks");
	}
	for (at = 0; !ret && at < refs->trees->count; at++) {
		ret = add_tree(refs, &walk, &refs->trees->trees[at], block, error);
		if (ret)
			error_add_place(error, "tree %" PRId64, (int64_t)refs->trees->trees[at].id);
	}
	if (!ret)
		ret = walk_run(&walk, error);
	walk_destroy(&walk);
	alloc_free(block);
	return ret;
}
