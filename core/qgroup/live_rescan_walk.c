/* SPDX-License-Identifier: MIT */
#include "core/qgroup/live_rescan_walk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/base/idtable.h"
#include "core/forest/root.h"

#define WALK_FIRST 1024U
/* References whose sets are fetched ahead. */
#define WALK_AHEAD 6U
/* What a compressed extent holds at most, unpacked: its items' offsets lie below. */
#define WALK_UNPACKED_MAX (UINT64_C(128) << 10)

/* Data of one inode of one tree, as a keyed back reference names it. */
struct walk_items {
	uint64_t bytenr;
	uint64_t inode;
	uint64_t offset; /* of the item, less that in the extent; may be below 0 */
	uint64_t end;    /* items begin below */
};

int live_rescan_walk_init(struct live_rescan_walk *walk, struct rs_forest *forest,
			  struct live_ledger *ledger)
{
	*walk = (struct live_rescan_walk){ .forest = forest, .ledger = ledger };
	walk->entries = alloc_zeroed(WALK_FIRST, sizeof(*walk->entries));
	walk->entry_mask = WALK_FIRST - 1;
	return walk->entries ? 0 : -ENOMEM;
}

void live_rescan_walk_destroy(struct live_rescan_walk *walk)
{
	unsigned level;

	alloc_free(walk->entries);
	alloc_free(walk->data.ones);
	for (level = 0; level < FORMAT_LEVELS; level++)
		alloc_free(walk->blocks[level].ones);
}

void live_rescan_walk_forget(struct live_rescan_walk *walk)
{
	unsigned level;

	walk->data.count = 0;
	for (level = 0; level < FORMAT_LEVELS; level++)
		walk->blocks[level].count = 0;
	if (walk->entry_count)
		memset(walk->entries, 0, (walk->entry_mask + 1) * sizeof(*walk->entries));
	walk->entry_count = 0;
	walk->root = NULL;
	walk->leaf = NULL;
}

static void walk_full_hold(struct live_sets *sets, const struct live_rescan_walk_full *full,
			   int64_t change)
{
	size_t at;

	for (at = 0; at < full->count; at++)
		live_sets_hold(sets, full->ones[at].set, change);
}

void live_rescan_walk_hold(struct live_rescan_walk *walk, bool hold)
{
	struct live_sets *sets = live_ledger_sets(walk->ledger);
	int64_t change = hold ? 1 : -1;
	unsigned level;
	size_t at;

	for (at = 0; at <= walk->entry_mask; at++)
		if (walk->entries[at].bytenr)
			live_sets_hold(sets, walk->entries[at].set, change);
	walk_full_hold(sets, &walk->data, change);
	for (level = 0; level < FORMAT_LEVELS; level++)
		walk_full_hold(sets, &walk->blocks[level], change);
}

static struct live_rescan_walk_entry *walk_place(struct live_rescan_walk_entry *entries,
						 size_t mask, uint64_t bytenr)
{
	size_t at = idtable_hash_u64(bytenr) & mask;

	/* Ends: at most half of the entries are in use. */
	while (entries[at].bytenr && entries[at].bytenr != bytenr)
		at = (at + 1) & mask;
	return &entries[at];
}

static int walk_keep(struct live_rescan_walk *walk, uint64_t bytenr, uint32_t set)
{
	struct live_rescan_walk_entry *larger;
	size_t mask = walk->entry_mask * 2 + 1;
	size_t at;

	if (walk->entry_count > walk->entry_mask / 2) {
		larger = alloc_zeroed(mask + 1, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		for (at = 0; at <= walk->entry_mask; at++)
			if (walk->entries[at].bytenr)
				*walk_place(larger, mask, walk->entries[at].bytenr) =
					walk->entries[at];
		alloc_free(walk->entries);
		walk->entries = larger;
		walk->entry_mask = mask;
	}
	*walk_place(walk->entries, walk->entry_mask, bytenr) =
		(struct live_rescan_walk_entry){ bytenr, set };
	walk->entry_count++;
	return 0;
}

/* NULL: a tree that the forest does not hold. */
static struct rs_subvol *walk_root(struct live_rescan_walk *walk, uint64_t id)
{
	if (!walk->root || walk->root->id != id)
		walk->root = root_find_id(walk->forest, id);
	return walk->root;
}

/* As it is committed; NULL: without blocks. */
static const struct buffer *walk_root_node(struct rs_subvol *root)
{
	/* Relaxed: changed under the commit lock. */
	const struct root_commit *commit = order_load_relaxed(&root->commit);

	return commit ? commit->node : NULL;
}

static const struct buffer *walk_child(const struct live_rescan_walk *walk,
				       const struct buffer *node, const struct format_key *key,
				       uint32_t *slot)
{
	uint32_t at = node_lower_bound(node->data, key);
	struct format_key found;

	if (at < node_count(node->data)) {
		found = node_key(node->data, at);
		if (at && format_key_compare(&found, key))
			at--;
	} else if (at) {
		at--;
	}
	*slot = at;
	return buffer_find(&walk->forest->buffers,
			   format_le64(&node_pointer(node->data, at)->blockptr));
}

static int walk_lost(const struct extent *extent, const struct extent_ref *ref,
		     struct rs_error *error)
{
	return error_set_at(error, -EUCLEAN, extent->bytenr,
			    "a back reference of type %u by %" PRIu64 ", %" PRIu64 ", %" PRIu64
			    " leads nowhere",
			    ref->type, ref->root_or_parent, ref->owner, ref->offset);
}

static int walk_block(struct live_rescan_walk *walk, const struct buffer *block, uint32_t *set,
		      struct rs_error *error);

static int walk_join(struct live_rescan_walk *walk, uint32_t *set, uint32_t more)
{
	return live_sets_join(live_ledger_sets(walk->ledger), *set, more, set);
}

/* The block is one of the tree: through its root, or through a node. */
static int walk_block_keyed(struct live_rescan_walk *walk, const struct buffer *block,
			    const struct extent *extent, const struct extent_ref *ref,
			    uint32_t *set, struct rs_error *error)
{
	struct rs_subvol *root = walk_root(walk, ref->root_or_parent);
	struct format_key key = node_key(block->data, 0);
	const struct buffer *node;
	uint32_t own;
	uint32_t slot;
	int ret;

	if (!root)
		return 0;
	node = walk_root_node(root);
	if (node == block) {
		if (!live_ledger_has_root(walk->ledger, root->id))
			return 0;
		ret = live_ledger_set_of(walk->ledger, root->id, &own);
		return ret ? ret : walk_join(walk, set, own);
	}
	while (node && node->level > block->level + 1)
		node = walk_child(walk, node, &key, &slot);
	if (!node || node->level != block->level + 1 ||
	    walk_child(walk, node, &key, &slot) != block)
		return walk_lost(extent, ref, error);
	ret = walk_block(walk, node, &own, error);
	return ret ? ret : walk_join(walk, set, own);
}

/*
 * The roots that reach a block of the level, which a reference names; of those that are kept, without a
 * look at the block.
 */
static int walk_parent(struct live_rescan_walk *walk, const struct extent *extent,
		       const struct extent_ref *ref, unsigned level, uint32_t *set,
		       struct rs_error *error)
{
	const struct live_rescan_walk_entry *entry =
		walk_place(walk->entries, walk->entry_mask, ref->root_or_parent);
	const struct buffer *block;

	if (entry->bytenr) {
		*set = entry->set;
		return 0;
	}
	block = buffer_find(&walk->forest->buffers, ref->root_or_parent);
	if (!block || block->level != level)
		return walk_lost(extent, ref, error);
	return walk_block(walk, block, set, error);
}

/* What the next references will look at. */
static void walk_ahead(const struct live_rescan_walk *walk, const struct extent *extent,
		       uint32_t at)
{
	uint64_t bytenr;

	if (at + WALK_AHEAD >= extent->full_count)
		return;
	bytenr = extent->full[at + WALK_AHEAD] & ~(uint64_t)(RS_DELTA_UNIT - 1);
	__builtin_prefetch(&walk->entries[idtable_hash_u64(bytenr) & walk->entry_mask]);
}

/* How many of the extent's full references, which it has some of, are those of the last one; room for the others. */
static int walk_full_begin(struct live_rescan_walk_full *full, const struct extent *extent,
			   uint32_t *common)
{
	uint32_t most = extent->full_count < full->count ? extent->full_count :
							   (uint32_t)full->count;
	struct live_rescan_walk_one *grown;
	uint32_t at = 0;

	while (at < most && full->ones[at].word == extent->full[at])
		at++;
	*common = at;
	grown = array_grow(full->ones, at, extent->full_count - at, &full->capacity,
			   sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	full->ones = grown;
	/* What is left of the last one goes, but where all of this one's are its first ones. */
	if (at < extent->full_count)
		full->count = at;
	return 0;
}

/* Those up to number `at` come to the set; if those before it were kept. */
static void walk_full_keep(struct live_rescan_walk_full *full, const struct extent *extent,
			   uint32_t at, uint32_t set)
{
	if (full->count == at)
		full->ones[full->count++] = (struct live_rescan_walk_one){ extent->full[at], set };
}

/* All full references of a tree block: its parents are a level higher. */
static int walk_block_full(struct live_rescan_walk *walk, const struct buffer *block,
			   const struct extent *extent, uint32_t *set, struct rs_error *error)
{
	struct live_rescan_walk_full *full = &walk->blocks[block->level];
	uint32_t sum = LIVE_SET_EMPTY;
	uint32_t own;
	uint32_t at;
	int ret;

	if (!extent->full_count)
		return 0;
	ret = walk_full_begin(full, extent, &at);
	if (!ret && at)
		sum = full->ones[at - 1].set;
	for (; at < extent->full_count && !ret; at++) {
		const struct extent_ref ref = extent_ref_at(extent, extent->keyed_count + at);

		walk_ahead(walk, extent, at);
		ret = walk_parent(walk, extent, &ref, block->level + 1U, &own, error);
		if (!ret)
			ret = walk_join(walk, &sum, own);
		if (!ret)
			walk_full_keep(full, extent, at, sum);
	}
	return ret ? ret : walk_join(walk, set, sum);
}

/* The roots that reach the block. Its references lead up: at most as deep as a tree is high. */
static int walk_block(struct live_rescan_walk *walk, const struct buffer *block, uint32_t *set,
		      struct rs_error *error)
{
	const struct live_rescan_walk_entry *entry =
		walk_place(walk->entries, walk->entry_mask, block->bytenr);
	struct extent extent;
	uint32_t at;
	int ret = 0;

	*set = LIVE_SET_EMPTY;
	if (entry->bytenr) {
		*set = entry->set;
		return 0;
	}
	if (!extent_index_find(walk->forest->extents, block->bytenr, &extent))
		return error_set_at(error, -EUCLEAN, block->bytenr, "a tree block has no extent");
	for (at = 0; at < extent.keyed_count && !ret; at++)
		ret = walk_block_keyed(walk, block, &extent, &extent.keyed[at], set, error);
	if (!ret)
		ret = walk_block_full(walk, block, &extent, set, error);
	return ret ? ret : walk_keep(walk, block->bytenr, *set);
}

/* The leaf in which the key is or would be, kept with the range of keys that it is for. */
static bool walk_leaf(struct live_rescan_walk *walk, struct rs_subvol *root,
		      const struct format_key *key)
{
	const struct buffer *node = walk_root_node(root);

	if (walk->leaf && walk->leaf_root == root && format_key_compare(key, &walk->low) >= 0 &&
	    (walk->high_is_end || format_key_compare(key, &walk->high) < 0))
		return true;
	walk->low = (struct format_key){ 0 };
	walk->high_is_end = true;
	while (node && node->level) {
		const struct buffer *parent = node;
		uint32_t slot;

		node = walk_child(walk, parent, key, &slot);
		if (slot)
			walk->low = node_key(parent->data, slot);
		if (slot + 1 < node_count(parent->data)) {
			walk->high = node_key(parent->data, slot + 1);
			walk->high_is_end = false;
		}
	}
	walk->leaf = node;
	walk->leaf_root = root;
	return node;
}

/* Whether the extent says that the leaf refers to it by its address: then its items are not keyed. */
static bool walk_leaf_is_full(const struct extent *extent, const struct buffer *leaf)
{
	uint32_t low = 0;
	uint32_t high = extent->full_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (extent_ref_at(extent, extent->keyed_count + middle).root_or_parent <
		    leaf->bytenr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < extent->full_count &&
	       extent_ref_at(extent, extent->keyed_count + low).root_or_parent == leaf->bytenr;
}

/* How many items of the leaf refer to the extent. `*past`: what follows cannot. */
static uint32_t walk_leaf_items(const struct walk_items *items, const struct buffer *leaf,
				bool *past)
{
	const struct format_key first = {
		.objectid = items->inode,
		.offset = (int64_t)items->offset < 0 ? 0 : items->offset,
		.type = BTRFS_EXTENT_DATA_KEY,
	};
	uint32_t slot = node_lower_bound(leaf->data, &first);
	uint32_t count = node_count(leaf->data);
	uint32_t found = 0;

	for (; slot < count; slot++) {
		struct format_key at = node_key(leaf->data, slot);
		const struct btrfs_file_extent_item *item =
			(const void *)node_item_data(leaf->data, slot);

		*past = at.objectid != items->inode || at.type != BTRFS_EXTENT_DATA_KEY ||
			(int64_t)at.offset >= (int64_t)items->end;
		if (*past)
			break;
		found += item->type != BTRFS_FILE_EXTENT_INLINE &&
			 format_le64(&item->disk_bytenr) == items->bytenr &&
			 at.offset - format_le64(&item->offset) == items->offset;
	}
	return found;
}

static int walk_leaf_add(struct live_rescan_walk *walk, const struct buffer *leaf, uint32_t times,
			 uint32_t *word, struct rs_error *error)
{
	uint32_t set;
	int ret = walk_block(walk, leaf, &set, error);

	return ret ? ret : live_ledger_word_add(walk->ledger, word, set, times);
}

static int walk_data_keyed(struct live_rescan_walk *walk, const struct extent *extent,
			   const struct extent_ref *ref, uint32_t *word, struct rs_error *error)
{
	struct rs_subvol *root = walk_root(walk, ref->root_or_parent);
	struct walk_items items = { extent->bytenr, ref->owner, ref->offset, 0 };
	struct format_key key = { ref->owner, ref->offset, BTRFS_EXTENT_DATA_KEY };
	uint64_t left = ref->count;
	bool past = false;

	if (!root)
		return 0;
	items.end = ref->offset +
		    (extent->bytes > WALK_UNPACKED_MAX ? extent->bytes : WALK_UNPACKED_MAX);
	if ((int64_t)key.offset < 0)
		key.offset = 0;
	/* Ends: each turn takes a leaf further on. */
	while (left && !past) {
		const struct buffer *leaf;
		bool last;
		uint32_t found;
		int ret;

		if (!walk_leaf(walk, root, &key))
			break;
		leaf = walk->leaf;
		key = walk->high;
		last = walk->high_is_end;
		found = walk_leaf_items(&items, leaf, &past);
		if (found && format_le64(&node_header(leaf->data)->owner) == root->id &&
		    !walk_leaf_is_full(extent, leaf)) {
			if (found > left)
				break;
			left -= found;
			ret = walk_leaf_add(walk, leaf, found, word, error);
			if (ret)
				return ret;
		}
		if (last)
			break;
	}
	return left ? walk_lost(extent, ref, error) : 0;
}

/* All full references of data. */
static int walk_data_full(struct live_rescan_walk *walk, const struct extent *extent,
			  uint32_t *word, struct rs_error *error)
{
	struct live_rescan_walk_full *full = &walk->data;
	uint32_t at;
	int ret;

	if (!extent->full_count)
		return 0;
	ret = walk_full_begin(full, extent, &at);
	if (!ret && at)
		ret = live_ledger_word_add(walk->ledger, word, full->ones[at - 1].set, 1);
	for (; at < extent->full_count && !ret; at++) {
		const struct extent_ref ref = extent_ref_at(extent, extent->keyed_count + at);
		uint32_t set;

		walk_ahead(walk, extent, at);
		ret = walk_parent(walk, extent, &ref, 0, &set, error);
		if (!ret)
			ret = live_ledger_word_add(walk->ledger, word, set, ref.count);
		/* Only where each root has it once. */
		if (!(*word & LIVE_WORD_LAYERED))
			walk_full_keep(full, extent, at, *word);
	}
	return ret;
}

static int walk_data(struct live_rescan_walk *walk, const struct extent *extent, uint32_t *word,
		     struct rs_error *error)
{
	int ret = walk_data_full(walk, extent, word, error);
	uint32_t at;

	for (at = 0; at < extent->keyed_count && !ret; at++)
		ret = walk_data_keyed(walk, extent, &extent->keyed[at], word, error);
	return ret;
}

static int walk_metadata(struct live_rescan_walk *walk, const struct extent *extent, uint32_t *word,
			 struct rs_error *error)
{
	const struct buffer *block = buffer_find(&walk->forest->buffers, extent->bytenr);
	uint32_t set;
	int ret;

	/* Of a tree that the forest does not hold. */
	if (!block)
		return 0;
	ret = walk_block(walk, block, &set, error);
	return ret ? ret : live_ledger_word_add(walk->ledger, word, set, 1);
}

int live_rescan_walk_word(struct live_rescan_walk *walk, const struct extent *extent,
			  uint32_t *word, struct rs_error *error)
{
	int ret;

	*word = LIVE_WORD_NONE;
	ret = extent->metadata ? walk_metadata(walk, extent, word, error) :
				 walk_data(walk, extent, word, error);
	if (ret)
		live_ledger_word_drop(walk->ledger, *word);
	return ret;
}
