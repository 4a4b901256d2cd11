/* SPDX-License-Identifier: MIT */
/* Dropping a range of a file's extents. */
#include <errno.h>

#include "core/base/plant.h"
#include "core/forest/file.h"
#include "core/forest/trans.h"

/* Items that go in one step: they are kept here until the tree has let go of them. */
#define DROP_BATCH 32U

/* The inode's bytes, less those of an item or a part of one. Images may have counted fewer. */
static void bytes_lose(struct file *file, const struct file_extent *extent, uint64_t length)
{
	if (extent->type == BTRFS_FILE_EXTENT_INLINE)
		length = extent->ram_bytes;
	else if (!extent->bytenr)
		length = 0;
	file->inode.nbytes -= length < file->inode.nbytes ? length : file->inode.nbytes;
}

/* The end goes. */
static int cut_end(struct file *file, const struct file_extent *extent, uint64_t start)
{
	struct file_extent kept = *extent;
	struct btree_path path;
	int ret = file_extent_change(file, extent->offset, &path);

	if (ret)
		return ret;
	file_extent_cut(&kept, extent->offset, start);
	file_extent_write(btree_item(&path), &kept);
	bytes_lose(file, extent, extent->length - kept.length);
	return plant_armed("file.bookend-freed") ? file_reference(file, RS_REF_DROP, extent) : 0;
}

/* The beginning goes: the item moves up in the file, and keeps its place among the others. */
static int cut_begin(struct file *file, const struct file_extent *extent, uint64_t end)
{
	struct file_extent kept = *extent;
	struct format_key key = { .objectid = file->number, .type = BTRFS_EXTENT_DATA_KEY };
	struct btree_path path;
	int ret = file_extent_change(file, extent->offset, &path);

	if (ret)
		return ret;
	file_extent_cut(&kept, end, UINT64_MAX);
	key.offset = kept.offset;
	btree_rekey(&path, &key);
	file_extent_write(btree_item(&path), &kept);
	bytes_lose(file, extent, extent->length - kept.length);
	return 0;
}

/* The middle goes: the end becomes an item of its own, with one more reference of the same key. */
static int cut_middle(struct file *file, const struct file_extent *extent, uint64_t start,
		      uint64_t end)
{
	struct file_extent tail = *extent;
	int ret;

	file_extent_cut(&tail, end, UINT64_MAX);
	ret = file_insert(file, RS_REF_ADD, &tail);
	if (ret)
		return ret;
	ret = cut_end(file, extent, start);
	if (ret)
		return trans_abort(file->writer->forest, ret, "a file extent item is half split");
	/* The tail was counted as new, and lost with the rest of the old item. */
	return 0;
}

/* Whole items from `first` on, as far as one leaf and one batch go. */
static int drop_whole(struct file *file, const struct file_extent *first, uint64_t end)
{
	struct file_extent gone[DROP_BATCH];
	struct btree_path path;
	uint32_t count = 0;
	uint32_t at;
	int ret = file_extent_change(file, first->offset, &path);

	if (ret)
		return ret;
	while (count < DROP_BATCH && path.slots[0] + count < node_count(btree_leaf(&path)) &&
	       file_extent_read(btree_leaf(&path), path.slots[0] + count, file->number,
				&gone[count]) &&
	       file_extent_end(&gone[count]) <= end)
		count++;
	if (!count)
		return -EUCLEAN;
	ret = btree_delete(file->writer, file->root, &path, count);
	for (at = 0; !ret && at < count; at++) {
		bytes_lose(file, &gone[at], gone[at].length);
		ret = file_reference(file, RS_REF_DROP, &gone[at]);
	}
	return ret;
}

static int drop_step(struct file *file, const struct file_extent *extent, uint64_t start,
		     uint64_t end)
{
	bool begins_before = extent->offset < start;
	bool ends_behind = file_extent_end(extent) > end;

	if (extent->type == BTRFS_FILE_EXTENT_INLINE)
		return drop_whole(file, extent, file_extent_end(extent));
	if (begins_before && ends_behind)
		return cut_middle(file, extent, start, end);
	if (begins_before)
		return cut_end(file, extent, start);
	if (ends_behind)
		return cut_begin(file, extent, end);
	return drop_whole(file, extent, end);
}

/* The loop ends: each step leaves fewer items with something in the range. */
int file_drop(struct file *file, uint64_t start, uint64_t end)
{
	struct file_extent extent;
	struct btree_path path;

	while (file_extent_find(file->root, file->number, start, &path, &extent) &&
	       extent.offset < end) {
		int ret = file_reserve(file);

		if (!ret)
			ret = drop_step(file, &extent, start, end);
		if (ret)
			return ret;
	}
	return 0;
}
