/* SPDX-License-Identifier: MIT */
/* Writing: new extents in place of old ones, but for preallocation that nobody shares. */
#include <errno.h>

#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

/* Of one write, as of one delalloc range of btrfs. */
#define WRITE_BYTES_MAX (UINT64_C(128) << 20)

#define WRITE_BATCH 32U

/* How often a write asks who shares its extents; clones may make it ask again. */
#define WRITE_ASKS 4U

/* Answers of write_once besides 0 and errors. */
#define WRITE_ASK 1

/* ---- The usual case: one whole item is replaced by another of the same size. ---- */

/*
 * Whether the item is one, whose replacing changes neither size nor bytes of the inode. Behind
 * it is another written one, so that the file is longer; or else the inode says so.
 */
static bool over_fits(struct rs_subvol *root, uint64_t inode, const struct btree_path *path,
		      uint64_t length)
{
	uint32_t slot = path->slots[0];
	struct file_extent old;
	struct inode now;

	if (!file_extent_read(btree_leaf(path), slot, inode, &old) ||
	    old.type != BTRFS_FILE_EXTENT_REG || !old.bytenr || old.length != length)
		return false;
	if (slot + 1 < node_count(btree_leaf(path)) &&
	    file_extent_read(btree_leaf(path), slot + 1, inode, &old) &&
	    old.type == BTRFS_FILE_EXTENT_REG)
		return true;
	return !inode_read(root, inode, &now) &&
	       now.size >= node_key(btree_leaf(path), slot).offset + length;
}

static int over_replace(struct file *file, struct btree_path *path, uint64_t bytenr,
			uint64_t length)
{
	struct file_extent extent = {
		.length = length,
		.bytenr = bytenr,
		.bytes = length,
		.ram_bytes = length,
		.generation = file->writer->generation,
		.type = BTRFS_FILE_EXTENT_REG,
	};
	struct file_extent old;
	int ret;

	file_extent_read(btree_leaf(path), path->slots[0], file->number, &old);
	extent.offset = old.offset;
	file_extent_write(btree_item(path), &extent);
	ret = file_reference(file, RS_REF_ALLOCATE, &extent);
	return ret ? ret : file_reference(file, RS_REF_DROP, &old);
}

/* `*done` says whether it was that case. */
static int write_over(struct rs_writer *writer, struct rs_subvol *root, uint64_t inode,
		      uint64_t offset, uint64_t length, bool *done)
{
	const struct format_key key = {
		.objectid = inode,
		.type = BTRFS_EXTENT_DATA_KEY,
		.offset = offset,
	};
	struct space_window *window = &writer->windows[SPACE_DATA];
	struct file file = { .writer = writer, .root = root, .number = inode };
	struct btree_path path;
	uint64_t bytenr;
	uint64_t got;
	int ret = file_check(root, true);

	/* No room in one place: several extents may do. */
	if (ret || space_take(window, length, length, &bytenr, &got))
		return ret;
	trans_dirty(root);
	ret = btree_change(writer, root, &key, &path);
	if (ret > 0 && over_fits(root, inode, &path, length)) {
		*done = true;
		return over_replace(&file, &path, bytenr, length);
	}
	space_give_back(window, bytenr, got);
	return ret < 0 ? ret : 0;
}

/* ---- All else. ---- */

/*
 * What lies on one item: the part in the range is in place if it may be. 0, WRITE_ASK or -ENOMEM.
 */
static int plan_item(struct file *file, struct file_plan *plan, struct file_shares *shares,
		     const struct file_extent *extent, bool last)
{
	enum file_sharing sharing;

	if (extent->type != BTRFS_FILE_EXTENT_PREALLOC || !extent->bytenr ||
	    !file_extent_is_plain(extent))
		return 0;
	sharing = file_shares_of(file->root, shares, extent);
	if (sharing == FILE_NO_MEMORY)
		return -ENOMEM;
	if (sharing == FILE_UNKNOWN && !last)
		return WRITE_ASK;
	if (sharing != FILE_ALONE)
		return 0;
	return file_plan_add(plan, extent->offset, file_extent_end(extent), true);
}

/* The pieces that `extents` make of the range from `*at` on, which goes to `end`. */
static int plan_items(struct file *file, struct file_plan *plan, struct file_shares *shares,
		      struct file_extent *extents, size_t count, uint64_t *at, uint64_t end,
		      bool last)
{
	bool ask = false;
	size_t item;

	for (item = 0; item < count; item++) {
		size_t before = plan->count;
		struct file_extent extent = extents[item];
		int ret;

		file_extent_cut(&extent, *at, end);
		if (extent.offset > *at && file_plan_add(plan, *at, extent.offset, false))
			return -ENOMEM;
		before = plan->count;
		ret = plan_item(file, plan, shares, &extent, last);
		if (ret < 0)
			return ret;
		ask |= ret == WRITE_ASK;
		if (plan->count == before &&
		    file_plan_add(plan, extent.offset, file_extent_end(&extent), false))
			return -ENOMEM;
		*at = file_extent_end(&extent);
	}
	if (*at < end && file_plan_add(plan, *at, end, false))
		return -ENOMEM;
	*at = end;
	return ask ? WRITE_ASK : 0;
}

static int plan_write(struct file *file, struct file_plan *plan, struct file_shares *shares,
		      uint64_t offset, uint64_t end, bool last)
{
	struct file_extent extents[WRITE_BATCH];
	uint64_t next;
	bool ask = false;

	while (offset < end) {
		size_t count = file_extents_read(file->root, file->number, offset, end, extents,
						 WRITE_BATCH, &next);
		int ret = plan_items(file, plan, shares, extents, count, &offset, next, last);

		if (ret < 0)
			return ret;
		ask |= ret == WRITE_ASK;
	}
	return ask ? WRITE_ASK : 0;
}

static int write_pieces(struct rs_writer *writer, struct rs_subvol *root, uint64_t inode,
			uint64_t offset, uint64_t length, struct file_shares *shares, bool last)
{
	struct file_plan plan = { 0 };
	struct file file;
	int ret = file_open(&file, writer, root, inode);

	if (ret)
		return ret;
	ret = plan_write(&file, &plan, shares, offset, offset + length, last);
	if (!ret)
		ret = file_plan_take(writer, &plan);
	if (!ret)
		ret = file_close(&file, file_plan_apply(&file, &plan, BTRFS_FILE_EXTENT_REG));
	file_plan_destroy(&plan);
	return ret;
}

/* 0, WRITE_ASK with nothing changed: `shares` has questions; or an errno. */
static int write_once(struct rs_writer *writer, struct rs_subvol *root, uint64_t inode,
		      uint64_t offset, uint64_t length, struct file_shares *shares, bool last)
{
	bool done = false;
	int ret = trans_join(writer, BTREE_BLOCKS);

	if (ret)
		return ret;
	lock_acquire(&root->lock);
	ret = write_over(writer, root, inode, offset, length, &done);
	if (!ret && !done)
		ret = write_pieces(writer, root, inode, offset, length, shares, last);
	lock_release(&root->lock);
	trans_end(writer);
	return ret;
}

int rs_file_write(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
		  uint64_t offset, uint64_t length)
{
	struct file_shares shares = { 0 };
	bool tried = false;
	unsigned asked;
	int ret = file_range_check(offset, length);

	if (ret || !length)
		return ret;
	if (length > WRITE_BYTES_MAX)
		return -EFBIG;
	for (asked = 0;; asked++) {
		ret = write_once(writer, subvol, inode, offset, length, &shares,
				 asked == WRITE_ASKS);
		if (trans_make_room(writer, ret, &tried))
			continue;
		if (ret != WRITE_ASK)
			break;
		ret = file_shares_answer(writer->forest, subvol->id, inode, &shares);
		if (ret)
			break;
	}
	file_shares_destroy(&shares);
	return ret;
}
