/* SPDX-License-Identifier: MIT */
/* Plants in references, inline and keyed: dropped, added, of another number or owner. */
#include "tests/support/backref_plant.h"
#include "tests/support/leaf_edit.h"

#define REFS_STAY 0
#define REFS_FOLLOW 1

/* Fields of a reference. */
enum field {
	FIELD_FROM, /* root or parent */
	FIELD_OBJECTID,
	FIELD_OFFSET,
};

static uint8_t *leaf_of(const struct planted *planted)
{
	return planted->tree->leaves[planted->site.leaf].block;
}

/* An inline reference of the item, other than an owner; the last one. Its place in the data. */
static bool find_inline(struct planted *planted, uint32_t *at)
{
	struct format_key key = extent_tree_key(planted->tree, &planted->site);
	const uint8_t *data = node_item_data(leaf_of(planted), planted->site.slot);
	struct inline_refs refs;

	if (!extent_key_is_item(&key))
		return false;
	planted->bytenr = key.objectid;
	inline_refs_read(&refs, &key, data, node_item_bytes(leaf_of(planted), planted->site.slot));
	/* Ends: one less each time. */
	while (refs.count--) {
		*at = refs.at[refs.count];
		if (data[*at] != FORMAT_EXTENT_OWNER_REF_KEY)
			return true;
	}
	return false;
}

/* The item that a keyed reference belongs to. */
static bool find_keyed(struct planted *planted, struct format_key *key, struct extent_site *item)
{
	*key = extent_tree_key(planted->tree, &planted->site);
	if (key->type != BTRFS_TREE_BLOCK_REF_KEY && key->type != BTRFS_SHARED_BLOCK_REF_KEY &&
	    key->type != BTRFS_EXTENT_DATA_REF_KEY && key->type != BTRFS_SHARED_DATA_REF_KEY)
		return false;
	planted->bytenr = key->objectid;
	if (!extent_tree_find(planted->tree, key->objectid, item))
		return false;
	planted->apart = item->leaf != planted->site.leaf;
	return true;
}

/* The count in the body of a reference (behind type or key); NULL if it is one by its sort. */
static uint8_t *count_in(uint8_t type, uint8_t *body, bool keyed)
{
	if (type == BTRFS_EXTENT_DATA_REF_KEY)
		return body + offsetof(struct btrfs_extent_data_ref, count);
	if (type == BTRFS_SHARED_DATA_REF_KEY)
		return keyed ? body : body + sizeof(__le64);
	return NULL;
}

static uint64_t count_of(uint8_t type, uint8_t *body, bool keyed)
{
	uint8_t *count = count_in(type, body, keyed);

	return count ? format_le32(count) : 1;
}

static void add_refs(struct planted *planted, const struct extent_site *item, uint64_t more)
{
	plant_refs_add(leaf_data(extent_tree_change(planted->tree, item->leaf), item->slot), more);
}

/* The data of the item without what stands at `at`, or with `bytes` more there. */
static bool splice(struct planted *planted, uint32_t at, uint32_t out, const uint8_t *in,
		   uint32_t bytes)
{
	uint8_t *leaf = extent_tree_change(planted->tree, planted->site.leaf);
	uint32_t slot = planted->site.slot;
	uint32_t old = node_item_bytes(leaf, slot);
	uint8_t data[FORMAT_NODE_BYTES_MAX];

	memcpy(data, node_item_data(leaf, slot), at);
	if (bytes)
		memcpy(data + at, in, bytes);
	memcpy(data + at + bytes, node_item_data(leaf, slot) + at + out, old - at - out);
	return leaf_replace(leaf, planted->tree->node_bytes, slot, data, old - out + bytes);
}

static bool make_inline_dropped(struct planted *planted)
{
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot);
	if (planted->plant->argument == REFS_FOLLOW)
		add_refs(planted, &planted->site, -count_of(data[at], data + at + 1, false));
	return splice(planted, at, inline_ref_bytes(data[at]), NULL, 0);
}

static bool make_inline_added(struct planted *planted)
{
	uint8_t reference[1 + sizeof(struct btrfs_extent_data_ref)] = { 0 };
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot);
	reference[0] = plant_is_data(data) ? BTRFS_EXTENT_DATA_REF_KEY : BTRFS_TREE_BLOCK_REF_KEY;
	leaf_put64(reference + 1, 77777);
	if (plant_is_data(data)) {
		leaf_put64(reference + 1 + offsetof(struct btrfs_extent_data_ref, objectid), 257);
		leaf_put32(count_in(reference[0], reference + 1, false), 1);
	}
	if (planted->plant->argument == REFS_FOLLOW)
		add_refs(planted, &planted->site, 1);
	return splice(planted, at, 0, reference, inline_ref_bytes(reference[0]));
}

/* The same reference a second time. */
static bool make_inline_doubled(struct planted *planted)
{
	uint8_t reference[1 + sizeof(struct btrfs_extent_data_ref)];
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot);
	memcpy(reference, data + at, inline_ref_bytes(data[at]));
	add_refs(planted, &planted->site, count_of(data[at], data + at + 1, false));
	return splice(planted, at, 0, reference, inline_ref_bytes(reference[0]));
}

/* `argument` is added to the number; 0: it becomes 0. The item's sum follows. */
static bool change_count(struct planted *planted, const struct extent_site *item, uint8_t *count)
{
	uint32_t more = (uint32_t)planted->plant->argument;
	uint32_t old = format_le32(count);

	extent_tree_change(planted->tree, planted->site.leaf);
	if (!more)
		more = -old;
	leaf_put32(count, old + more);
	add_refs(planted, item, (uint64_t)(old + more) - old);
	return true;
}

static bool make_inline_count(struct planted *planted)
{
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot) + at;
	if (!count_in(data[0], data + 1, false))
		return false;
	return change_count(planted, &planted->site, count_in(data[0], data + 1, false));
}

static bool make_inline_unknown(struct planted *planted)
{
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	extent_tree_change(planted->tree, planted->site.leaf);
	leaf_data(leaf_of(planted), planted->site.slot)[at] = (uint8_t)planted->plant->argument;
	return true;
}

static bool has_field(uint8_t type, uint64_t field)
{
	return type == BTRFS_EXTENT_DATA_REF_KEY || field == FIELD_FROM;
}

/* Changes a field of what stands behind the type, or in a keyed data reference. */
static void change_field(uint8_t *body, uint64_t field)
{
	if (field == FIELD_OBJECTID)
		body += offsetof(struct btrfs_extent_data_ref, objectid);
	else if (field == FIELD_OFFSET)
		body += offsetof(struct btrfs_extent_data_ref, offset);
	/* Far from all that other references of the extent may have. */
	leaf_put64(body, format_le64(body) + (UINT64_C(1) << 40));
}

static bool make_inline_owner(struct planted *planted)
{
	uint64_t field = planted->plant->argument;
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot) + at;
	if (!has_field(data[0], field))
		return false;
	extent_tree_change(planted->tree, planted->site.leaf);
	change_field(data + 1, field);
	return true;
}

/* By tree in place of by address, or the other way round. */
static bool make_inline_sort(struct planted *planted)
{
	uint8_t *data;
	uint32_t at;

	if (!find_inline(planted, &at))
		return false;
	data = leaf_data(leaf_of(planted), planted->site.slot) + at;
	if (data[0] != BTRFS_TREE_BLOCK_REF_KEY && data[0] != BTRFS_SHARED_BLOCK_REF_KEY)
		return false;
	extent_tree_change(planted->tree, planted->site.leaf);
	data[0] = data[0] == BTRFS_TREE_BLOCK_REF_KEY ? BTRFS_SHARED_BLOCK_REF_KEY :
							BTRFS_TREE_BLOCK_REF_KEY;
	return true;
}

/* The owner of simple quotas becomes the tree `argument`, which cannot be. */
static bool make_owner_ref(struct planted *planted)
{
	struct format_key key = extent_tree_key(planted->tree, &planted->site);
	uint8_t *data = leaf_data(leaf_of(planted), planted->site.slot);
	struct inline_refs refs;

	if (!extent_key_is_item(&key))
		return false;
	inline_refs_read(&refs, &key, data, node_item_bytes(leaf_of(planted), planted->site.slot));
	if (!refs.count || data[refs.at[0]] != FORMAT_EXTENT_OWNER_REF_KEY)
		return false;
	planted->bytenr = key.objectid;
	extent_tree_change(planted->tree, planted->site.leaf);
	leaf_put64(data + refs.at[0] + 1, planted->plant->argument);
	return true;
}

static bool make_keyed_dropped(struct planted *planted)
{
	struct extent_site item;
	struct format_key key;
	uint64_t count;

	if (!find_keyed(planted, &key, &item) || !plant_may_move(planted))
		return false;
	count = count_of(key.type, leaf_data(leaf_of(planted), planted->site.slot), true);
	if (planted->plant->argument == REFS_FOLLOW)
		add_refs(planted, &item, -count);
	leaf_remove(extent_tree_change(planted->tree, planted->site.leaf),
		    planted->tree->node_bytes, planted->site.slot);
	return true;
}

static bool insert_keyed(struct planted *planted, uint64_t bytenr, bool data)
{
	uint8_t body[sizeof(struct btrfs_extent_data_ref)] = { 0 };
	struct format_key key = {
		.objectid = bytenr,
		.type = data ? BTRFS_EXTENT_DATA_REF_KEY : BTRFS_TREE_BLOCK_REF_KEY,
		.offset = 77777,
	};

	planted->bytenr = bytenr;
	if (!plant_key_fits(planted->tree, planted->site.leaf, &key))
		return false;
	leaf_put64(body, 77777);
	leaf_put32(count_in(BTRFS_EXTENT_DATA_REF_KEY, body, true), 1);
	return leaf_insert(extent_tree_change(planted->tree, planted->site.leaf),
			   planted->tree->node_bytes, &key, body, data ? sizeof(body) : 0);
}

static bool make_keyed_added(struct planted *planted)
{
	struct format_key key = extent_tree_key(planted->tree, &planted->site);
	const uint8_t *data = node_item_data(leaf_of(planted), planted->site.slot);

	if (!extent_key_is_item(&key) || !insert_keyed(planted, key.objectid, plant_is_data(data)))
		return false;
	if (planted->plant->argument == REFS_FOLLOW)
		add_refs(planted, &planted->site, 1);
	return true;
}

/* To an extent that is not there. */
static bool make_keyed_orphan(struct planted *planted)
{
	struct format_key key = extent_tree_key(planted->tree, &planted->site);
	uint32_t sector_bytes = planted->tree->sector_bytes;

	if (!extent_key_is_item(&key) ||
	    extent_tree_next(planted->tree, &planted->site) <= key.objectid + sector_bytes)
		return false;
	return insert_keyed(planted, key.objectid + sector_bytes, planted->plant->argument);
}

static bool make_keyed_count(struct planted *planted)
{
	struct extent_site item;
	struct format_key key;
	uint8_t *count;

	if (!find_keyed(planted, &key, &item))
		return false;
	count = count_in(key.type, leaf_data(leaf_of(planted), planted->site.slot), true);
	return count && change_count(planted, &item, count);
}

/* What is in the key is changed there, as far as keys stay in order. */
static bool make_keyed_owner(struct planted *planted)
{
	uint64_t field = planted->plant->argument;
	uint8_t *leaf = leaf_of(planted);
	uint32_t slot = planted->site.slot;
	struct extent_site item;
	struct format_key key;
	struct format_key next;

	if (!find_keyed(planted, &key, &item) || !has_field(key.type, field))
		return false;
	if (key.type == BTRFS_EXTENT_DATA_REF_KEY) {
		extent_tree_change(planted->tree, planted->site.leaf);
		change_field(leaf_data(leaf, slot), field);
		return true;
	}
	key.offset += planted->tree->sector_bytes;
	if (!plant_may_move(planted) || !plant_key_fits(planted->tree, planted->site.leaf, &key))
		return false;
	if (slot + 1 < node_count(leaf)) {
		next = node_key(leaf, slot + 1);
		if (format_key_compare(&key, &next) >= 0)
			return false;
	}
	leaf_key_set(extent_tree_change(planted->tree, planted->site.leaf), slot, &key);
	return true;
}

static bool make_keyed_cut(struct planted *planted)
{
	struct extent_site item;
	struct format_key key;

	if (!find_keyed(planted, &key, &item) ||
	    !node_item_bytes(leaf_of(planted), planted->site.slot))
		return false;
	return leaf_replace(extent_tree_change(planted->tree, planted->site.leaf),
			    planted->tree->node_bytes, planted->site.slot, NULL, 3);
}

#define MISSING BACKREF_PLANT_KIND(BACKREF_MISSING)
#define EXTRA BACKREF_PLANT_KIND(BACKREF_EXTRA)
#define COUNT BACKREF_PLANT_KIND(BACKREF_COUNT)
#define OWNER BACKREF_PLANT_KIND(BACKREF_OWNER)

const struct backref_plant backref_reference_plants[] = {
	{ "inline dropped", MISSING, make_inline_dropped, REFS_STAY },
	{ "inline dropped, refs follow", MISSING, make_inline_dropped, REFS_FOLLOW },
	{ "inline added", EXTRA, make_inline_added, REFS_STAY },
	{ "inline added, refs follow", EXTRA, make_inline_added, REFS_FOLLOW },
	{ "inline doubled, refs follow", COUNT, make_inline_doubled, 0 },
	{ "inline count raised", COUNT, make_inline_count, 1 },
	{ "inline count lowered", COUNT | MISSING, make_inline_count, UINT32_MAX },
	{ "inline count made 0", COUNT | MISSING, make_inline_count, 0 },
	{ "inline of unknown type", COUNT, make_inline_unknown, 99 },
	{ "inline owner: root or parent", OWNER, make_inline_owner, FIELD_FROM },
	{ "inline owner: inode", OWNER, make_inline_owner, FIELD_OBJECTID },
	{ "inline owner: offset", OWNER, make_inline_owner, FIELD_OFFSET },
	{ "inline owner: by tree or address", OWNER, make_inline_sort, 0 },
	{ "owner reference: tree 0", OWNER, make_owner_ref, 0 },
	{ "owner reference: tree 2^48", OWNER, make_owner_ref, UINT64_C(1) << 48 },
	{ "keyed dropped", MISSING, make_keyed_dropped, REFS_STAY },
	{ "keyed dropped, refs follow", MISSING, make_keyed_dropped, REFS_FOLLOW },
	{ "keyed added", EXTRA, make_keyed_added, REFS_STAY },
	{ "keyed added, refs follow", EXTRA, make_keyed_added, REFS_FOLLOW },
	{ "keyed without an extent, block", MISSING, make_keyed_orphan, false },
	{ "keyed without an extent, data", MISSING, make_keyed_orphan, true },
	{ "keyed count raised", COUNT, make_keyed_count, 1 },
	{ "keyed count lowered", COUNT | MISSING, make_keyed_count, UINT32_MAX },
	{ "keyed count made 0", COUNT | MISSING, make_keyed_count, 0 },
	{ "keyed owner: root or parent", OWNER, make_keyed_owner, FIELD_FROM },
	{ "keyed owner: inode", OWNER, make_keyed_owner, FIELD_OBJECTID },
	{ "keyed owner: offset", OWNER, make_keyed_owner, FIELD_OFFSET },
	{ "keyed cut", MISSING | COUNT, make_keyed_cut, 0 },
	{ 0 },
};
