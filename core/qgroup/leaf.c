// SPDX-License-Identifier: MIT
/* Leaves of subvolume trees: the data extents that their file extents point to. */
#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/account_impl.h"

#define INLINE_BYTES offsetof(struct btrfs_file_extent_item, disk_bytenr)

struct file_extent {
	uint64_t bytenr;
	uint64_t bytes;
};

/* False if the item holds its data itself, or is a hole. `item` is large enough for its type. */
static bool file_extent_read(const uint8_t *data, struct file_extent *extent)
{
	const struct btrfs_file_extent_item *item = (const struct btrfs_file_extent_item *)data;

	if (item->type == BTRFS_FILE_EXTENT_INLINE)
		return false;
	extent->bytenr = format_le64(&item->disk_bytenr);
	extent->bytes = format_le64(&item->disk_num_bytes);
	return extent->bytenr != 0;
}

static int file_extent_check(const uint8_t *leaf, uint32_t slot, struct rs_error *error)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);
	uint64_t leaf_at = format_le64(&node_header(leaf)->bytenr);

	if (bytes < INLINE_BYTES ||
	    (item->type != BTRFS_FILE_EXTENT_INLINE && bytes != sizeof(*item)))
		return error_set_at(error, -EUCLEAN, leaf_at,
				    "file extent of item %u has %u bytes, which is not what its "
				    "type needs",
				    slot, bytes);
	if (item->type > BTRFS_FILE_EXTENT_PREALLOC)
		return error_set_at(error, -EUCLEAN, leaf_at,
				    "file extent of item %u is of unknown type %u", slot,
				    item->type);
	return 0;
}

/* Of an extent that is met for the first time. */
static int extent_check(const struct rs_image *image, const struct file_extent *extent,
			struct rs_error *error)
{
	uint32_t sector = image->rules.sector_bytes;
	uint64_t last = extent->bytenr + extent->bytes - 1;

	if (!extent->bytes || extent->bytes > FORMAT_EXTENT_BYTES_MAX || extent->bytenr % sector ||
	    extent->bytes % sector || last < extent->bytenr)
		return error_set_at(error, -EUCLEAN, extent->bytenr,
				    "data extent of %" PRIu64 " bytes makes no sense",
				    extent->bytes);
	if (!(chunk_map_flags(image->chunks, extent->bytenr) & BTRFS_BLOCK_GROUP_DATA) ||
	    !(chunk_map_flags(image->chunks, last) & BTRFS_BLOCK_GROUP_DATA))
		return error_set_at(error, -EUCLEAN, extent->bytenr,
				    "data extent of %" PRIu64 " bytes lies in no data chunk",
				    extent->bytes);
	return 0;
}

/* An item that the version before did not have. */
static int reach_extent(struct account *account, struct chain *chain, const struct chain_item *item,
			struct rs_error *error)
{
	struct file_extent file_extent = { item->bytenr, item->check };
	struct extent *extent;
	bool fresh;
	int ret;

	ret = extent_table_get(&account->extents, file_extent.bytenr, file_extent.bytes, &extent,
			       &fresh, error);
	if (!ret && fresh)
		ret = extent_check(account->image, &file_extent, error);
	if (!ret && chain_add(chain, item, &extent->runs))
		ret = error_no_memory(error, "the root sets");
	return ret;
}

int account_reach_extents(struct account *account, struct chain *chain, const uint8_t *leaf,
			  struct rs_error *error)
{
	uint32_t items = node_count(leaf);
	uint32_t slot;
	int ret = 0;

	for (slot = 0; slot < items; slot++) {
		const struct format_item *header = node_item(leaf, slot);
		struct file_extent file_extent;
		struct chain_item item;

		if (header->key.type != BTRFS_EXTENT_DATA_KEY)
			continue;
		ret = file_extent_check(leaf, slot, error);
		if (ret)
			return ret;
		if (!file_extent_read(node_item_data(leaf, slot), &file_extent))
			continue;
		item.key = format_key_read(&header->key);
		item.bytenr = file_extent.bytenr;
		item.check = file_extent.bytes;
		if (!chain_take(chain, &item, &ret) && !ret)
			ret = reach_extent(account, chain, &item, error);
		else if (ret)
			ret = error_no_memory(error, "the root sets");
		if (ret)
			return ret;
	}
	return 0;
}
