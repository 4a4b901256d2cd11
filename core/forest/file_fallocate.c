/* SPDX-License-Identifier: MIT */
/* Preallocating what is not there. */
#include <errno.h>

#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

#define FALLOCATE_BATCH 32U

/*
 * The holes of the range; those that are items too. Extents are as long as space_take gives,
 * SPACE_EXTENT_MAX at most.
 */
static int plan_holes(struct file *file, struct file_plan *plan, uint64_t at, uint64_t end)
{
	struct file_extent extents[FALLOCATE_BATCH];
	uint64_t next;

	while (at < end) {
		size_t count = file_extents_read(file->root, file->number, at, end, extents,
						 FALLOCATE_BATCH, &next);
		size_t item;

		for (item = 0; item < count; item++) {
			const struct file_extent *extent = &extents[item];

			if (extent->type != BTRFS_FILE_EXTENT_INLINE && !extent->bytenr)
				continue;
			if (extent->offset > at && file_plan_add(plan, at, extent->offset, false))
				return -ENOMEM;
			at = file_extent_end(extent);
		}
		if (at < next && file_plan_add(plan, at, next, false))
			return -ENOMEM;
		at = at > next ? at : next;
	}
	return 0;
}

static int fallocate_once(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
			  uint64_t offset, uint64_t length)
{
	struct file_plan plan = { 0 };
	struct file file;
	int ret = file_range_check(offset, length);

	if (ret || !length)
		return ret;
	ret = file_begin(&file, writer, subvol, inode);
	if (ret)
		return ret;
	ret = plan_holes(&file, &plan, offset, offset + length);
	if (!ret)
		ret = file_plan_take(writer, &plan);
	if (!ret)
		ret = file_plan_apply(&file, &plan, BTRFS_FILE_EXTENT_PREALLOC);
	if (!ret)
		file_grow(&file, offset + length);
	file_plan_destroy(&plan);
	return file_end(&file, ret);
}

int rs_file_fallocate(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode,
		      uint64_t offset, uint64_t length)
{
	bool tried = false;
	int ret;

	do
		ret = fallocate_once(writer, subvol, inode, offset, length);
	while (trans_make_room(writer, ret, &tried));
	return ret;
}
