/* SPDX-License-Identifier: MIT */
/* Preallocation that becomes written: the rules of btrfs_mark_extent_written. */
#include <errno.h>

#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

/* A preallocated item, and what is beside it in its leaf. */
struct mark {
	struct file *file;
	struct file_extent item;
	struct file_extent
		left; /* if has_left: written, of the same extent, and ends where the range begins */
	struct file_extent right;
	struct btree_path path; /* of the item */
	bool has_left;
	bool has_right;
};

static bool neighbour_read(const struct mark *mark, int step, struct file_extent *out)
{
	const uint8_t *leaf = btree_leaf(&mark->path);
	uint32_t slot = mark->path.slots[0] + (uint32_t)step;

	if (slot >= node_count(leaf) || !file_extent_read(leaf, slot, mark->file->number, out))
		return false;
	return out->type == BTRFS_FILE_EXTENT_REG && out->bytenr == mark->item.bytenr &&
	       file_extent_key_offset(out) == file_extent_key_offset(&mark->item) &&
	       file_extent_is_plain(out);
}

/* Neighbours are looked for in the same leaf only, as in btrfs. */
static void neighbours_find(struct mark *mark, uint64_t start, uint64_t end)
{
	mark->has_left = mark->path.slots[0] && neighbour_read(mark, -1, &mark->left) &&
			 file_extent_end(&mark->left) == start;
	mark->has_right = neighbour_read(mark, 1, &mark->right) && mark->right.offset == end;
}

/*
 * Writes the item `step` slots from that of the path, whose key may have moved between its
 * neighbours.
 */
static void item_store(struct mark *mark, int step, struct file_extent *extent)
{
	const struct format_key key = {
		.objectid = mark->file->number,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = extent->offset,
	};
	struct btree_path path = mark->path;
	struct format_key old;

	path.slots[0] += (uint32_t)step;
	old = node_key(btree_leaf(&path), path.slots[0]);
	if (old.offset != key.offset)
		btree_rekey(&path, &key);
	extent->generation = mark->file->writer->generation;
	file_extent_write(btree_item(&path), extent);
}

/* The range is the beginning of the item: the one on its left grows. */
static void mark_to_left(struct mark *mark, uint64_t end)
{
	mark->left.length = end - mark->left.offset;
	file_extent_cut(&mark->item, end, UINT64_MAX);
	item_store(mark, 0, &mark->item);
	item_store(mark, -1, &mark->left);
}

static void right_grow(struct mark *mark, uint64_t start)
{
	mark->right.length += mark->right.offset - start;
	mark->right.inside -= mark->right.offset - start;
	mark->right.offset = start;
}

static void mark_to_right(struct mark *mark, uint64_t start)
{
	right_grow(mark, start);
	file_extent_cut(&mark->item, mark->item.offset, start);
	item_store(mark, 0, &mark->item);
	item_store(mark, 1, &mark->right);
}

/*
 * All of the item: it and those beside it become one, which loses a reference for each that goes.
 */
static int mark_whole(struct mark *mark)
{
	struct file *file = mark->file;
	struct file_extent whole = mark->has_left ? mark->left : mark->item;
	uint32_t gone = (uint32_t)mark->has_left + mark->has_right;
	int ret = 0;

	whole.type = BTRFS_FILE_EXTENT_REG;
	whole.length = file_extent_end(mark->has_right ? &mark->right : &mark->item) - whole.offset;
	item_store(mark, mark->has_left ? -1 : 0, &whole);
	if (!gone)
		return 0;
	mark->path.slots[0] += !mark->has_left;
	ret = btree_delete(file->writer, file->root, &mark->path, gone);
	if (ret)
		return trans_abort(file->writer->forest, ret, "file extent items are half joined");
	while (gone-- && !ret)
		ret = file_reference(file, RS_REF_DROP, &whole);
	return ret;
}

/* One more item of the extent; its bytes are in the file already. */
static int part_insert(struct mark *mark, uint64_t start, uint64_t end, uint8_t type)
{
	struct file_extent part = mark->item;
	int ret;

	file_extent_cut(&part, start, end);
	part.type = type;
	part.generation = mark->file->writer->generation;
	ret = file_insert(mark->file, RS_REF_ADD, &part);
	if (!ret)
		mark->file->inode.nbytes -= part.length;
	return ret;
}

/* The parts behind the first are inserted, then the item is cut to the first. */
static int mark_split(struct mark *mark, uint64_t start, uint64_t end)
{
	struct file *file = mark->file;
	struct file_extent first = mark->item;
	bool tail = end < file_extent_end(&first);
	bool head = start > first.offset;
	int ret = 0;

	if (tail)
		ret = part_insert(mark, end, UINT64_MAX, BTRFS_FILE_EXTENT_PREALLOC);
	if (ret)
		return ret;
	if (head)
		ret = part_insert(mark, start, end, BTRFS_FILE_EXTENT_REG);
	else
		first.type = BTRFS_FILE_EXTENT_REG;
	if (ret && !tail)
		return ret;
	file_extent_cut(&first, first.offset, head ? start : end);
	if (!ret)
		ret = file_extent_change(file, first.offset, &mark->path);
	if (ret)
		return trans_abort(file->writer->forest, ret, "preallocation is half split");
	item_store(mark, 0, &first);
	return 0;
}

int file_mark_written(struct file *file, uint64_t start, uint64_t end)
{
	struct mark mark = { .file = file };
	int ret = trans_reserve(file->writer, 4 * BTREE_BLOCKS);

	if (ret)
		return ret;
	if (!file_extent_find(file->root, file->number, start, &mark.path, &mark.item) ||
	    mark.item.offset > start || file_extent_end(&mark.item) < end)
		return -EUCLEAN;
	ret = file_extent_change(file, mark.item.offset, &mark.path);
	if (ret)
		return ret;
	neighbours_find(&mark, start, end);
	if (start == mark.item.offset && end == file_extent_end(&mark.item))
		return mark_whole(&mark);
	if (mark.has_left && start == mark.item.offset)
		mark_to_left(&mark, end);
	else if (mark.has_right && end == file_extent_end(&mark.item))
		mark_to_right(&mark, start);
	else
		return mark_split(&mark, start, end);
	return 0;
}
