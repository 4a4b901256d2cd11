/* SPDX-License-Identifier: MIT */
#include "stress/oracle/extent_items.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/disk/node.h"

#define OWNER_REF_BYTES (1 + sizeof(__le64))

static int say(const struct extent_items_sink *sink, enum backref_kind kind, uint64_t bytenr,
	       const char *detail)
{
	return sink->wrong ? sink->wrong(sink->argument, sink->worker, kind, bytenr, detail) : 0;
}

static int give(const struct extent_items_sink *sink, const struct reference *reference,
		uint64_t count)
{
	if (!sink->reference)
		return 0;
	return sink->reference(sink->argument, sink->worker, reference, count);
}

static void read_data_ref(const struct btrfs_extent_data_ref *disk, struct reference *reference,
			  uint64_t *count)
{
	reference->from = format_le64(&disk->root);
	reference->objectid = format_le64(&disk->objectid);
	reference->offset = format_le64(&disk->offset);
	*count = format_le32(&disk->count);
}

/* Bytes of the inline reference at `at`; 0 if it is of an unknown type or cut off. */
static uint32_t inline_ref_read(const uint8_t *at, uint32_t left, struct reference *reference,
				uint64_t *count)
{
	uint32_t bytes;

	*reference = (struct reference){ .bytenr = reference->bytenr, .type = at[0] };
	*count = 1;
	switch (at[0]) {
	case BTRFS_TREE_BLOCK_REF_KEY:
	case BTRFS_SHARED_BLOCK_REF_KEY:
		bytes = 1 + sizeof(__le64);
		break;
	case BTRFS_SHARED_DATA_REF_KEY:
		bytes = 1 + sizeof(__le64) + sizeof(__le32);
		break;
	case BTRFS_EXTENT_DATA_REF_KEY:
		bytes = 1 + sizeof(struct btrfs_extent_data_ref);
		break;
	case FORMAT_EXTENT_OWNER_REF_KEY:
		bytes = OWNER_REF_BYTES;
		break;
	default:
		return 0;
	}
	if (bytes > left)
		return 0;
	if (at[0] == BTRFS_EXTENT_DATA_REF_KEY)
		read_data_ref((const struct btrfs_extent_data_ref *)(at + 1), reference, count);
	else
		reference->from = format_le64(at + 1);
	if (at[0] == BTRFS_SHARED_DATA_REF_KEY)
		*count = format_le32(at + 1 + sizeof(__le64));
	return bytes;
}

/* The owner of simple quotas is no reference; but it must be one that can be. */
static int check_owner_ref(const struct extent_items_sink *sink, const struct reference *reference)
{
	char text[BACKREF_DETAIL_BYTES];

	if (reference->from && reference->from >> 48 == 0)
		return 0;
	snprintf(text, sizeof(text), "owner of simple quotas is tree %" PRId64 ", which cannot be",
		 (int64_t)reference->from);
	return say(sink, BACKREF_OWNER, reference->bytenr, text);
}

static int read_inline_refs(const struct extent_items_sink *sink, uint64_t bytenr,
			    const uint8_t *at, uint32_t left)
{
	struct reference reference = { .bytenr = bytenr };
	uint64_t count;
	int ret = 0;

	while (!ret && left) {
		uint32_t bytes = inline_ref_read(at, left, &reference, &count);

		if (!bytes)
			return say(sink, BACKREF_COUNT, bytenr,
				   "inline references are cut off, or of an unknown type");
		if (reference.type == FORMAT_EXTENT_OWNER_REF_KEY)
			ret = check_owner_ref(sink, &reference);
		else
			ret = give(sink, &reference, count);
		at += bytes;
		left -= bytes;
	}
	return ret;
}

static int check_extent(const struct extent_items_sink *sink, const struct mapped_extent *extent,
			uint32_t node_bytes, uint32_t sector_bytes, bool is_data)
{
	char text[BACKREF_DETAIL_BYTES];

	if (extent->bytes && extent->bytes % sector_bytes == 0 &&
	    extent->bytenr % sector_bytes == 0 && (is_data || extent->bytes == node_bytes) &&
	    extent->bytenr + extent->bytes > extent->bytenr)
		return 0;
	snprintf(text, sizeof(text), "extent item gives %" PRIu64 " bytes, which cannot be",
		 extent->bytes);
	return say(sink, BACKREF_LENGTH, extent->bytenr, text);
}

/* An extent is either data or a tree block, and a tree block has a level that can be. */
static int check_sort(const struct extent_items_sink *sink, const struct format_key *key,
		      uint64_t flags)
{
	bool is_data = flags & BTRFS_EXTENT_FLAG_DATA;
	bool is_block = flags & BTRFS_EXTENT_FLAG_TREE_BLOCK;
	char text[BACKREF_DETAIL_BYTES];

	if (is_data == is_block)
		return say(sink, BACKREF_OWNER, key->objectid,
			   is_data ? "extent item is marked as data and as a tree block" :
				     "extent item is marked neither as data nor as a tree block");
	if (key->type != BTRFS_METADATA_ITEM_KEY)
		return 0;
	if (is_data)
		return say(sink, BACKREF_OWNER, key->objectid,
			   "item of a tree block is marked as data");
	if (key->offset < FORMAT_LEVELS)
		return 0;
	snprintf(text, sizeof(text), "extent item gives level %" PRIu64 ", which cannot be",
		 key->offset);
	return say(sink, BACKREF_OWNER, key->objectid, text);
}

/* EXTENT_ITEM and METADATA_ITEM, with what follows them. */
static int read_extent(const struct extent_items_sink *sink, const uint8_t *leaf, uint32_t slot,
		       uint32_t node_bytes, uint32_t sector_bytes)
{
	const struct btrfs_extent_item *item =
		(const struct btrfs_extent_item *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);
	uint32_t left = node_item_bytes(leaf, slot);
	struct mapped_extent extent = { .bytenr = key.objectid, .level = EXTENT_MAP_NO_LEVEL };
	const uint8_t *at = (const uint8_t *)(item + 1);
	uint64_t flags;
	bool is_data;
	int ret;

	if (left < sizeof(*item))
		return say(sink, BACKREF_LENGTH, key.objectid, "extent item is cut off");
	left -= (uint32_t)sizeof(*item);
	flags = format_le64(&item->flags);
	is_data = flags & BTRFS_EXTENT_FLAG_DATA;
	extent.refs = format_le64(&item->refs);
	extent.bytes = key.type == BTRFS_METADATA_ITEM_KEY ? node_bytes : key.offset;
	if (key.type == BTRFS_METADATA_ITEM_KEY && key.offset < FORMAT_LEVELS)
		extent.level = (uint8_t)key.offset;
	if (key.type == BTRFS_EXTENT_ITEM_KEY && !is_data) {
		const struct btrfs_tree_block_info *info = (const struct btrfs_tree_block_info *)at;

		if (left < sizeof(*info))
			return say(sink, BACKREF_LENGTH, key.objectid, "extent item is cut off");
		extent.level = info->level;
		at += sizeof(*info);
		left -= (uint32_t)sizeof(*info);
	}
	/* Relaxed: nobody else knows the extent yet. */
	order_store_relaxed(&extent.flags, (is_data ? EXTENT_MAP_DATA : 0) |
						   (flags & BTRFS_BLOCK_FLAG_FULL_BACKREF ?
							    EXTENT_MAP_FULL_BACKREF :
							    0));
	ret = check_sort(sink, &key, flags);
	if (!ret)
		ret = check_extent(sink, &extent, node_bytes, sector_bytes, is_data);
	if (!ret && sink->extent)
		ret = sink->extent(sink->argument, sink->worker, &extent);
	return ret ? ret : read_inline_refs(sink, key.objectid, at, left);
}

/* A reference with an item of its own. */
static int read_keyed(const struct extent_items_sink *sink, const uint8_t *leaf, uint32_t slot)
{
	struct format_key key = node_key(leaf, slot);
	const uint8_t *data = node_item_data(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);
	struct reference reference = {
		.bytenr = key.objectid,
		.from = key.offset,
		.type = key.type,
	};
	uint64_t count = 1;

	if (key.type == BTRFS_EXTENT_DATA_REF_KEY) {
		if (bytes < sizeof(struct btrfs_extent_data_ref))
			return say(sink, BACKREF_COUNT, key.objectid, "keyed reference is cut off");
		read_data_ref((const struct btrfs_extent_data_ref *)data, &reference, &count);
	} else if (key.type == BTRFS_SHARED_DATA_REF_KEY) {
		if (bytes < sizeof(__le32))
			return say(sink, BACKREF_COUNT, key.objectid, "keyed reference is cut off");
		count = format_le32(data);
	}
	return give(sink, &reference, count);
}

int extent_items_read(const uint8_t *leaf, uint32_t node_bytes, uint32_t sector_bytes,
		      const struct extent_items_sink *sink)
{
	uint32_t slot;
	int ret = 0;

	for (slot = 0; !ret && slot < node_count(leaf); slot++) {
		switch (node_item(leaf, slot)->key.type) {
		case BTRFS_EXTENT_ITEM_KEY:
		case BTRFS_METADATA_ITEM_KEY:
			ret = read_extent(sink, leaf, slot, node_bytes, sector_bytes);
			break;
		case BTRFS_TREE_BLOCK_REF_KEY:
		case BTRFS_SHARED_BLOCK_REF_KEY:
		case BTRFS_EXTENT_DATA_REF_KEY:
		case BTRFS_SHARED_DATA_REF_KEY:
			ret = read_keyed(sink, leaf, slot);
			break;
		default:
			break;
		}
	}
	return ret;
}
