/* SPDX-License-Identifier: MIT */
/*
 * Upwards from the extent: each tree block above it is looked at once, for what it is referenced by. A
 * root is found where its own node is.
 *
 * A keyed reference says which tree its block is in, and by the block's first key, or the place in the
 * file, the tree says where. What leads there are leaves and nodes that were made for that tree and are not
 * marked full; that a leaf is full is known from the extent, which has a reference with the leaf's
 * address then: the mark in the buffer may be younger than the index.
 */
#include "core/qgroup/live_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/qgroup/live_walk_impl.h"

#define WALK_SLOTS 256U /* to begin with; a power of two */

/* A place in the table of blocks that this walk has met. */
struct walk_slot {
	uint64_t bytenr;
	uint64_t walk; /* another walk's: free */
};

struct live_walk {
	struct rs_forest *forest;
	enum live_walk_state state;
	struct live_walk_roots roots;
	uint64_t number; /* of the walk */
	struct walk_slot *slots;
	size_t mask;
	uint64_t *blocks; /* that were met, in that order */
	size_t block_count;
	size_t block_capacity;
	uint64_t *found; /* roots */
	size_t found_count;
	size_t found_capacity;
};

int live_walk_create(struct rs_forest *forest, struct live_walk **out)
{
	struct live_walk *walk = alloc_zeroed(1, sizeof(*walk));

	*out = NULL;
	if (!walk)
		return -ENOMEM;
	walk->forest = forest;
	walk->roots.forest = forest;
	walk->slots = alloc_zeroed(WALK_SLOTS, sizeof(*walk->slots));
	if (!walk->slots) {
		alloc_free(walk);
		return -ENOMEM;
	}
	walk->mask = WALK_SLOTS - 1;
	*out = walk;
	return 0;
}

void live_walk_destroy(struct live_walk *walk)
{
	if (!walk)
		return;
	alloc_free(walk->roots.roots);
	alloc_free(walk->slots);
	alloc_free(walk->blocks);
	alloc_free(walk->found);
	alloc_free(walk);
}

/* Its slot, or a free one: there always is one. */
static struct walk_slot *walk_slot_of(const struct live_walk *walk, uint64_t bytenr)
{
	size_t at = (size_t)(bytenr / RS_DELTA_UNIT * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (;; at++) {
		struct walk_slot *slot = &walk->slots[at & walk->mask];

		if (slot->walk != walk->number || slot->bytenr == bytenr)
			return slot;
	}
}

static int walk_slots_grow(struct live_walk *walk)
{
	size_t count = (walk->mask + 1) * 2;
	struct walk_slot *slots = alloc_zeroed(count, sizeof(*slots));
	size_t at;

	if (!slots)
		return -ENOMEM;
	alloc_free(walk->slots);
	walk->slots = slots;
	walk->mask = count - 1;
	for (at = 0; at < walk->block_count; at++)
		*walk_slot_of(walk, walk->blocks[at]) =
			(struct walk_slot){ walk->blocks[at], walk->number };
	return 0;
}

/* A tree block above the extent: its turn will come, once. */
static int walk_meet(struct live_walk *walk, uint64_t bytenr)
{
	struct walk_slot *slot = walk_slot_of(walk, bytenr);
	uint64_t *blocks;

	if (slot->walk == walk->number)
		return 0;
	blocks = array_grow(walk->blocks, walk->block_count, 1, &walk->block_capacity,
			    sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	walk->blocks = blocks;
	blocks[walk->block_count++] = bytenr;
	*slot = (struct walk_slot){ bytenr, walk->number };
	return walk->block_count * 2 > walk->mask ? walk_slots_grow(walk) : 0;
}

/* Once for each root, since its node is met once. */
static int walk_find(struct live_walk *walk, uint64_t root)
{
	uint64_t *found = array_grow(walk->found, walk->found_count, 1, &walk->found_capacity,
				     sizeof(*found));

	if (!found)
		return -ENOMEM;
	walk->found = found;
	found[walk->found_count++] = root;
	return 0;
}

static int walk_lost(uint64_t bytenr, const struct extent_ref *ref, struct rs_error *error)
{
	return error_set_at(error, -EUCLEAN, bytenr,
			    "a back reference (root or parent %" PRIu64 ", owner %" PRIu64
			    ", offset %" PRIu64 ", %" PRIu32 " times) leads nowhere",
			    ref->root_or_parent, ref->owner, ref->offset, ref->count);
}

/* A keyed reference to a tree block. */
static int walk_keyed_block(struct live_walk *walk, uint64_t bytenr, const struct extent_ref *ref,
			    struct rs_error *error)
{
	const struct buffer_map *map = &walk->forest->buffers;
	const struct buffer *block;
	struct live_walk_tree tree;
	int ret = live_walk_tree_find(&walk->roots, walk->state, ref->root_or_parent, &tree);

	if (ret || !tree.node)
		return ret;
	if (tree.node->bytenr == bytenr)
		return tree.deleted ? 0 : walk_find(walk, ref->root_or_parent);
	block = buffer_find(map, bytenr);
	if (block)
		block = live_walk_tree_parent(map, &tree, block);
	return block ? walk_meet(walk, block->bytenr) : walk_lost(bytenr, ref, error);
}

/* One of the blocks that were met. */
static int walk_block(struct live_walk *walk, uint64_t bytenr, struct rs_error *error)
{
	struct extent extent;
	uint32_t at;
	int ret = 0;

	if (!extent_index_find(walk->forest->extents, bytenr, &extent) || !extent.metadata)
		return error_set_at(error, -EUCLEAN, bytenr,
				    "a back reference leads here, where no tree block is");
	for (at = 0; !ret && at < extent.keyed_count; at++)
		ret = walk_keyed_block(walk, bytenr, &extent.keyed[at], error);
	for (at = 0; !ret && at < extent.full_count; at++)
		ret = walk_meet(walk,
				extent_ref_at(&extent, extent.keyed_count + at).root_or_parent);
	return ret;
}

/* Whether the extent has a full reference by this leaf. */
static bool extent_has_parent(const struct extent *extent, uint64_t leaf)
{
	uint32_t low = 0;
	uint32_t high = extent->full_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		/* Behind the address there are the bits of the count, which is not 0. */
		if (extent->full[middle] < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return low < extent->full_count &&
	       extent->full[low] / RS_DELTA_UNIT == leaf / RS_DELTA_UNIT;
}

/* Items that a keyed reference of data stands for, and where they are looked for. */
struct walk_items {
	const struct extent *extent;
	const struct extent_ref *ref;
	struct live_walk_path path;
	bool ended; /* the inode's have been passed */
};

static bool item_is_meant(const struct walk_items *items, const uint8_t *leaf, uint32_t slot)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);

	return item->type != BTRFS_FILE_EXTENT_INLINE &&
	       format_le64(&item->disk_bytenr) == items->extent->bytenr &&
	       node_key(leaf, slot).offset - format_le64(&item->offset) == items->ref->offset;
}

/* How many of the path's leaf, from its slot on. */
static uint32_t items_of_leaf(struct walk_items *items, uint32_t wanted)
{
	const struct buffer *leaf = items->path.nodes[0];
	/* If it was made for another tree, or is full, its items have references of their own. */
	bool counts = format_le64(&node_header(leaf->data)->owner) == items->ref->root_or_parent &&
		      !extent_has_parent(items->extent, leaf->bytenr);
	uint32_t slot = items->path.slots[0];
	uint32_t found = 0;

	for (; slot < node_count(leaf->data) && found < wanted; slot++) {
		struct format_key key = node_key(leaf->data, slot);

		items->ended = key.objectid != items->ref->owner ||
			       key.type != BTRFS_EXTENT_DATA_KEY;
		if (items->ended || !counts)
			break;
		found += item_is_meant(items, leaf->data, slot);
	}
	return found;
}

/* A keyed reference of data. */
static int walk_keyed_data(struct live_walk *walk, const struct extent *extent,
			   const struct extent_ref *ref, struct rs_error *error)
{
	const struct buffer_map *map = &walk->forest->buffers;
	/* An offset that has wrapped is below 0: no item is there. */
	const struct format_key key = {
		.objectid = ref->owner,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = ref->offset <= INT64_MAX ? ref->offset : 0,
	};
	struct walk_items items = { .extent = extent, .ref = ref };
	uint32_t left = ref->count;
	struct live_walk_tree tree;
	bool more;
	int ret = live_walk_tree_find(&walk->roots, walk->state, ref->root_or_parent, &tree);

	if (ret || !tree.node)
		return ret;
	more = live_walk_tree_seek(map, &tree, &key, &items.path);
	while (more && !ret) {
		uint32_t found = items_of_leaf(&items, left);

		if (found)
			ret = walk_meet(walk, items.path.nodes[0]->bytenr);
		left -= found;
		more = left && !items.ended && live_walk_tree_next_leaf(map, &items.path);
	}
	return !ret && left ? walk_lost(extent->bytenr, ref, error) : ret;
}

static int walk_data(struct live_walk *walk, const struct extent *extent, struct rs_error *error)
{
	uint32_t at;
	int ret = 0;

	for (at = 0; !ret && at < extent->keyed_count; at++)
		ret = walk_keyed_data(walk, extent, &extent->keyed[at], error);
	for (at = 0; !ret && at < extent->full_count; at++)
		ret = walk_meet(walk,
				extent_ref_at(extent, extent->keyed_count + at).root_or_parent);
	return ret;
}

static int compare_roots(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* They mostly are: references stand in the order of their roots. */
static void walk_sort(struct live_walk *walk)
{
	size_t at = 1;

	while (at < walk->found_count && walk->found[at - 1] < walk->found[at])
		at++;
	if (at < walk->found_count)
		qsort(walk->found, walk->found_count, sizeof(*walk->found), compare_roots);
}

int live_walk_roots(struct live_walk *walk, enum live_walk_state state, uint64_t bytenr,
		    const uint64_t **roots, size_t *count, struct rs_error *error)
{
	struct extent extent;
	size_t next;
	int ret = 0;

	*roots = NULL;
	*count = 0;
	if (!extent_index_find(walk->forest->extents, bytenr, &extent))
		return 0;
	walk->state = state;
	walk->number++;
	walk->block_count = 0;
	walk->found_count = 0;
	if (extent.metadata)
		ret = walk_meet(walk, bytenr);
	else
		ret = walk_data(walk, &extent, error);
	/* Ends: each block of the index comes once. */
	for (next = 0; !ret && next < walk->block_count; next++)
		ret = walk_block(walk, walk->blocks[next], error);
	if (ret == -ENOMEM)
		return error_no_memory(error, "a walk along back references");
	if (ret)
		return ret;
	walk_sort(walk);
	*roots = walk->found;
	*count = walk->found_count;
	return 0;
}
