// SPDX-License-Identifier: MIT
/* The items of a subvolume's leaf: that they are as long as their type asks, and what file extents say. */
#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/forest/open.h"
#include "core/forest/space.h"

#define INLINE_BYTES offsetof(struct btrfs_file_extent_item, disk_bytenr)

static int refuse(const uint8_t *leaf, uint32_t slot, const char *what, struct rs_error *error)
{
	return error_set_at(error, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
			    "%s of item %u has %u bytes, which is not what it needs", what, slot,
			    node_item_bytes(leaf, slot));
}

/* Names one behind the other, each behind its header, and nothing else. */
static bool names_valid(const uint8_t *at, uint32_t left, bool directory)
{
	uint32_t header = directory ? sizeof(struct btrfs_dir_item) :
				      sizeof(struct btrfs_inode_ref);

	/* Ends: each round takes a header off. */
	while (left) {
		uint32_t bytes;

		if (left < header)
			return false;
		if (directory)
			bytes = format_le16(&((const struct btrfs_dir_item *)at)->name_len) +
				(uint32_t)format_le16(
					&((const struct btrfs_dir_item *)at)->data_len);
		else
			bytes = format_le16(&((const struct btrfs_inode_ref *)at)->name_len);
		if (bytes > left - header)
			return false;
		at += header + bytes;
		left -= header + bytes;
	}
	return true;
}

/* Where the range of the file ends that the item is about. 0: it makes no sense. */
static uint64_t extent_end(const struct btrfs_file_extent_item *item, const struct format_key *key)
{
	uint64_t bytes = format_le64(&item->ram_bytes);
	uint64_t end;

	if (item->type == BTRFS_FILE_EXTENT_INLINE) {
		if (bytes > FORMAT_EXTENT_BYTES_MAX)
			return 0;
		bytes = (bytes + SPACE_UNIT - 1) / SPACE_UNIT * SPACE_UNIT;
	} else {
		bytes = format_le64(&item->num_bytes);
		if (!bytes || bytes % SPACE_UNIT || format_le64(&item->disk_bytenr) % SPACE_UNIT ||
		    format_le64(&item->disk_num_bytes) % SPACE_UNIT ||
		    format_le64(&item->offset) % SPACE_UNIT ||
		    format_le64(&item->offset) > UINT64_MAX - bytes)
			return 0;
	}
	if (key->offset % SPACE_UNIT || __builtin_add_overflow(key->offset, bytes, &end))
		return 0;
	return end ? end : SPACE_UNIT;
}

/* `*end` is where the item before ends, if that is a file extent of the same inode. */
static int check_extent(const uint8_t *leaf, uint32_t slot, uint64_t *end, struct rs_error *error)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);
	struct format_key key = node_key(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);
	uint64_t last = *end;

	if (bytes < INLINE_BYTES ||
	    (item->type != BTRFS_FILE_EXTENT_INLINE && bytes != sizeof(*item)))
		return refuse(leaf, slot, "file extent", error);
	if (item->type > BTRFS_FILE_EXTENT_PREALLOC)
		return error_set_at(error, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
				    "file extent of item %u is of unknown type %u", slot,
				    item->type);
	*end = extent_end(item, &key);
	if (!*end || key.offset < last)
		return error_set_at(error, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
				    "file extent of item %u %s", slot,
				    *end ? "overlaps the one before it" : "makes no sense");
	return 0;
}

static int check_item(const uint8_t *leaf, uint32_t slot, struct rs_error *error)
{
	const uint8_t *data = node_item_data(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);

	switch (node_item(leaf, slot)->key.type) {
	case BTRFS_INODE_ITEM_KEY:
		return bytes == sizeof(struct btrfs_inode_item) ?
			       0 :
			       refuse(leaf, slot, "inode", error);
	case BTRFS_INODE_REF_KEY:
		return bytes && names_valid(data, bytes, false) ?
			       0 :
			       refuse(leaf, slot, "inode reference", error);
	case BTRFS_DIR_ITEM_KEY:
	case BTRFS_DIR_INDEX_KEY:
	case BTRFS_XATTR_ITEM_KEY:
		return bytes && names_valid(data, bytes, true) ?
			       0 :
			       refuse(leaf, slot, "directory entry", error);
	default:
		return 0;
	}
}

int open_items_check(const uint8_t *leaf, struct rs_error *error)
{
	uint64_t inode = 0;
	uint64_t end = 0;
	uint32_t slot;
	int ret = 0;

	for (slot = 0; !ret && slot < node_count(leaf); slot++) {
		const struct btrfs_disk_key *key = &node_item(leaf, slot)->key;

		if (key->type != BTRFS_EXTENT_DATA_KEY) {
			ret = check_item(leaf, slot, error);
			continue;
		}
		if (format_le64(&key->objectid) != inode)
			end = 0;
		inode = format_le64(&key->objectid);
		ret = check_extent(leaf, slot, &end, error);
	}
	return ret;
}
