/* SPDX-License-Identifier: MIT */
/* Plants in extent items: their sum, length, level, flags, whether they are there, and where. */
#include "tests/support/backref_plant.h"
#include "tests/support/leaf_edit.h"

#define ITEM_BYTES ((uint32_t)sizeof(struct btrfs_extent_item))
#define INFO_BYTES ((uint32_t)sizeof(struct btrfs_tree_block_info))

uint32_t inline_ref_bytes(uint8_t type)
{
	switch (type) {
	case BTRFS_EXTENT_DATA_REF_KEY:
		return 1 + sizeof(struct btrfs_extent_data_ref);
	case BTRFS_SHARED_DATA_REF_KEY:
		return 1 + sizeof(__le64) + sizeof(__le32);
	default:
		return 1 + sizeof(__le64);
	}
}

bool plant_is_data(const uint8_t *item)
{
	return format_le64(item + offsetof(struct btrfs_extent_item, flags)) &
	       BTRFS_EXTENT_FLAG_DATA;
}

uint32_t inline_refs_begin(const struct format_key *key, const uint8_t *data)
{
	if (key->type == BTRFS_EXTENT_ITEM_KEY && !plant_is_data(data))
		return ITEM_BYTES + INFO_BYTES;
	return ITEM_BYTES;
}

void inline_refs_read(struct inline_refs *refs, const struct format_key *key, const uint8_t *data,
		      uint32_t bytes)
{
	uint32_t at = inline_refs_begin(key, data);

	for (refs->count = 0; at < bytes && refs->count < BACKREF_INLINE_MAX;
	     at += inline_ref_bytes(data[at]))
		refs->at[refs->count++] = at;
}

bool plant_may_move(const struct planted *planted)
{
	return planted->site.slot || planted->tree->count == 1;
}

bool plant_key_fits(const struct extent_tree *tree, uint32_t leaf, const struct format_key *key)
{
	struct format_key first = node_key(tree->leaves[leaf].block, 0);
	struct format_key next;

	if (tree->count > 1 && format_key_compare(key, &first) <= 0)
		return false;
	if (leaf + 1 == tree->count)
		return true;
	next = node_key(tree->leaves[leaf + 1].block, 0);
	return format_key_compare(key, &next) < 0;
}

void plant_refs_add(uint8_t *item, uint64_t more)
{
	leaf_put64(item, format_le64(item) + more);
}

/* The item's key and data, if it is an extent item; counts as changed if so. */
static uint8_t *item_of(struct planted *planted, struct format_key *key)
{
	struct extent_tree *tree = planted->tree;

	*key = extent_tree_key(tree, &planted->site);
	if (!extent_key_is_item(key))
		return NULL;
	planted->bytenr = key->objectid;
	return leaf_data(tree->leaves[planted->site.leaf].block, planted->site.slot);
}

static uint8_t *change(struct planted *planted)
{
	return extent_tree_change(planted->tree, planted->site.leaf);
}

static uint64_t bytes_of(const struct planted *planted, const struct format_key *key)
{
	return key->type == BTRFS_METADATA_ITEM_KEY ? planted->tree->node_bytes : key->offset;
}

/* `argument` is added to the sum; 0: it becomes 0. */
static bool make_refs(struct planted *planted)
{
	uint64_t more = planted->plant->argument;
	struct format_key key;
	uint8_t *data = item_of(planted, &key);

	if (!data)
		return false;
	change(planted);
	plant_refs_add(data, more ? more : -format_le64(data));
	return true;
}

/* `argument` sectors are added to the length. */
static bool make_length(struct planted *planted)
{
	struct extent_tree *tree = planted->tree;
	struct format_key key;

	if (!item_of(planted, &key) || key.type != BTRFS_EXTENT_ITEM_KEY ||
	    !plant_may_move(planted))
		return false;
	key.offset += planted->plant->argument * tree->sector_bytes;
	leaf_key_set(change(planted), planted->site.slot, &key);
	if (extent_tree_next(tree, &planted->site) < key.objectid + key.offset)
		planted->also = extent_tree_next(tree, &planted->site);
	return true;
}

/* A length that is no multiple of a sector. */
static bool make_odd_length(struct planted *planted)
{
	struct format_key key;

	if (!item_of(planted, &key) || key.type != BTRFS_EXTENT_ITEM_KEY ||
	    !plant_may_move(planted))
		return false;
	key.offset -= 1;
	leaf_key_set(change(planted), planted->site.slot, &key);
	return true;
}

/* Reaches over the extent behind it, of which the overlap is said. */
static bool make_overlap_longer(struct planted *planted)
{
	struct extent_tree *tree = planted->tree;
	struct format_key key;
	uint64_t next;

	if (!item_of(planted, &key) || key.type != BTRFS_EXTENT_ITEM_KEY ||
	    !plant_may_move(planted))
		return false;
	next = extent_tree_next(tree, &planted->site);
	if (next == UINT64_MAX || next - key.objectid > FORMAT_EXTENT_BYTES_MAX)
		return false;
	planted->also = key.objectid;
	planted->bytenr = next;
	key.offset = next + tree->sector_bytes - key.objectid;
	leaf_key_set(change(planted), planted->site.slot, &key);
	return true;
}

static bool insert_extent(struct planted *planted, const struct format_key *key, uint64_t refs,
			  uint64_t flags)
{
	uint8_t item[sizeof(struct btrfs_extent_item) + 9] = { 0 };
	uint32_t bytes = ITEM_BYTES;

	leaf_put64(item, refs);
	leaf_put64(item + offsetof(struct btrfs_extent_item, generation), 1);
	leaf_put64(item + offsetof(struct btrfs_extent_item, flags), flags);
	if (refs) {
		item[ITEM_BYTES] = BTRFS_TREE_BLOCK_REF_KEY;
		leaf_put64(item + ITEM_BYTES + 1, BTRFS_FS_TREE_OBJECTID);
		bytes += 9;
	}
	planted->bytenr = key->objectid;
	return plant_key_fits(planted->tree, planted->site.leaf, key) &&
	       leaf_insert(change(planted), planted->tree->node_bytes, key, item, bytes);
}

/* A data extent with `argument` references, one sector long, inside this one. */
static bool make_overlap_inside(struct planted *planted)
{
	struct extent_tree *tree = planted->tree;
	struct format_key inside = { .type = BTRFS_EXTENT_ITEM_KEY, .offset = tree->sector_bytes };
	struct format_key key;

	if (!item_of(planted, &key) || bytes_of(planted, &key) < 2 * tree->sector_bytes)
		return false;
	inside.objectid = key.objectid + tree->sector_bytes;
	return insert_extent(planted, &inside, planted->plant->argument, BTRFS_EXTENT_FLAG_DATA);
}

/* The extent once more, by an item of the other type. */
static bool make_overlap_twice(struct planted *planted)
{
	struct extent_tree *tree = planted->tree;
	struct format_key key;
	struct format_key twice;
	bool data;

	if (!item_of(planted, &key))
		return false;
	data = key.type == BTRFS_METADATA_ITEM_KEY;
	twice = (struct format_key){
		.objectid = key.objectid,
		.type = data ? BTRFS_EXTENT_ITEM_KEY : BTRFS_METADATA_ITEM_KEY,
		.offset = data ? tree->node_bytes : 0,
	};
	/* Flags of the other one may say how references below are kept. */
	planted->anywhere = true;
	return insert_extent(planted, &twice, 1,
			     data ? BTRFS_EXTENT_FLAG_DATA : BTRFS_EXTENT_FLAG_TREE_BLOCK);
}

/* An extent with `argument` references where nothing is. */
static bool make_extent_added(struct planted *planted)
{
	struct extent_tree *tree = planted->tree;
	struct format_key added = { .type = BTRFS_EXTENT_ITEM_KEY, .offset = tree->sector_bytes };
	struct format_key key;

	if (!item_of(planted, &key))
		return false;
	added.objectid = key.objectid + bytes_of(planted, &key);
	if (extent_tree_next(tree, &planted->site) < added.objectid + added.offset)
		return false;
	return insert_extent(planted, &added, planted->plant->argument, BTRFS_EXTENT_FLAG_DATA);
}

/* `argument`: its keyed references on the same leaf go too. */
static bool make_item_removed(struct planted *planted)
{
	uint32_t node_bytes = planted->tree->node_bytes;
	uint32_t slot = planted->site.slot;
	struct format_key key;
	uint8_t *data = item_of(planted, &key);
	uint8_t *leaf;

	if (!data || !plant_may_move(planted))
		return false;
	/* Without the item nobody knows that the block's references are full. */
	planted->anywhere = format_le64(data + offsetof(struct btrfs_extent_item, flags)) &
			    BTRFS_BLOCK_FLAG_FULL_BACKREF;
	leaf = change(planted);
	leaf_remove(leaf, node_bytes, slot);
	/* Ends: an item goes each time. */
	while (planted->plant->argument && slot < node_count(leaf)) {
		struct format_key next = node_key(leaf, slot);

		if (next.objectid != key.objectid || next.type >= BTRFS_BLOCK_GROUP_ITEM_KEY)
			break;
		leaf_remove(leaf, node_bytes, slot);
	}
	return node_count(leaf) > 0;
}

/* `argument` is the new level; for blocks that have it already another one. */
static bool make_level(struct planted *planted)
{
	uint64_t level = planted->plant->argument;
	struct format_key key;
	uint8_t *data = item_of(planted, &key);

	if (!data || plant_is_data(data))
		return false;
	if (key.type == BTRFS_EXTENT_ITEM_KEY) {
		uint8_t *place = data + ITEM_BYTES + offsetof(struct btrfs_tree_block_info, level);

		change(planted);
		*place = (uint8_t)(*place == level ? level + 1 : level);
		return true;
	}
	if (!plant_may_move(planted))
		return false;
	key.offset = key.offset == level ? level + 1 : level;
	leaf_key_set(change(planted), planted->site.slot, &key);
	return true;
}

/* The bits of `argument` turn over. */
static bool make_flags(struct planted *planted)
{
	uint64_t bits = planted->plant->argument;
	struct format_key key;
	uint8_t *data = item_of(planted, &key);

	if (!data || (key.type == BTRFS_EXTENT_ITEM_KEY && !plant_is_data(data)))
		return false;
	data += offsetof(struct btrfs_extent_item, flags);
	change(planted);
	leaf_put64(data, format_le64(data) ^ bits);
	return true;
}

/* References below a node that is marked otherwise are of another sort. */
static bool make_full_backref(struct planted *planted)
{
	struct format_key key = extent_tree_key(planted->tree, &planted->site);

	if (key.type != BTRFS_METADATA_ITEM_KEY || !key.offset || key.offset >= FORMAT_LEVELS)
		return false;
	planted->anywhere = true;
	return make_flags(planted);
}

/* The item is cut to `argument` bytes. */
static bool make_item_cut(struct planted *planted)
{
	struct format_key key;
	uint8_t *data = item_of(planted, &key);
	uint32_t bytes = (uint32_t)planted->plant->argument;

	if (!data || node_item_bytes(planted->tree->leaves[planted->site.leaf].block,
				     planted->site.slot) <= bytes)
		return false;
	planted->anywhere = format_le64(data + offsetof(struct btrfs_extent_item, flags)) &
			    BTRFS_BLOCK_FLAG_FULL_BACKREF;
	return leaf_replace(change(planted), planted->tree->node_bytes, planted->site.slot, NULL,
			    bytes);
}

#define MISSING BACKREF_PLANT_KIND(BACKREF_MISSING)
#define EXTRA BACKREF_PLANT_KIND(BACKREF_EXTRA)
#define COUNT BACKREF_PLANT_KIND(BACKREF_COUNT)
#define LENGTH BACKREF_PLANT_KIND(BACKREF_LENGTH)
#define OVERLAP BACKREF_PLANT_KIND(BACKREF_OVERLAP)
#define OWNER BACKREF_PLANT_KIND(BACKREF_OWNER)
#define TREE_OR_DATA (BTRFS_EXTENT_FLAG_DATA | BTRFS_EXTENT_FLAG_TREE_BLOCK)

const struct backref_plant backref_item_plants[] = {
	{ "refs raised", COUNT, make_refs, 1 },
	{ "refs lowered", COUNT, make_refs, -UINT64_C(1) },
	{ "refs made 0", COUNT, make_refs, 0 },
	{ "refs raised by 2^40", COUNT, make_refs, UINT64_C(1) << 40 },
	{ "length raised", LENGTH, make_length, 1 },
	{ "length lowered", LENGTH, make_length, -UINT64_C(1) },
	{ "length no multiple of a sector", LENGTH, make_odd_length, 0 },
	{ "overlap: lengthened over the next", OVERLAP, make_overlap_longer, 0 },
	{ "overlap: extent inside", OVERLAP, make_overlap_inside, 1 },
	{ "overlap: extent inside, 0 refs", OVERLAP, make_overlap_inside, 0 },
	{ "overlap: extent twice", OVERLAP, make_overlap_twice, 0 },
	{ "extent added", EXTRA, make_extent_added, 1 },
	{ "extent added, 0 refs", EXTRA | COUNT, make_extent_added, 0 },
	{ "item missing", MISSING, make_item_removed, 0 },
	{ "item and keyed missing", MISSING, make_item_removed, 1 },
	{ "item cut to 10 bytes", LENGTH, make_item_cut, 10 },
	{ "item cut into a reference", COUNT | LENGTH, make_item_cut, ITEM_BYTES + 4 },
	{ "level made 1", OWNER, make_level, 1 },
	{ "level made 6", OWNER, make_level, 6 },
	{ "level made 200", OWNER, make_level, 200 },
	{ "flags: data for tree block", OWNER | LENGTH | MISSING, make_flags, TREE_OR_DATA },
	{ "flags: both or none", OWNER, make_flags, BTRFS_EXTENT_FLAG_TREE_BLOCK },
	{ "flags: full references below", OWNER, make_full_backref, BTRFS_BLOCK_FLAG_FULL_BACKREF },
	{ 0 },
};
