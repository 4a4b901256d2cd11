/* SPDX-License-Identifier: MIT */
/*
 * Small neighbours get one new extent together.
 *
 * The rule: written, plain items below 256 KiB that touch make a run, from the first on and as
 * long as the run is not over 256 KiB; a run of two or more is replaced by one extent. Items
 * that are preallocated, compressed or inline, and holes, end a run. Where two runs touch,
 * they are over 256 KiB together, so that a second defrag changes nothing.
 */
#include <errno.h>

#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

#define DEFRAG_BYTES_MAX (UINT64_C(256) << 10)
/* As many blocks as a run has at most, so that one reading has a run whole. */
#define DEFRAG_BATCH ((size_t)(DEFRAG_BYTES_MAX / FILE_BLOCK))

static bool is_small(const struct file_extent *extent)
{
	return extent->type == BTRFS_FILE_EXTENT_REG && extent->bytenr &&
	       file_extent_is_plain(extent) && extent->length < DEFRAG_BYTES_MAX;
}

/* How many items, from the first on, the run has that the first begins; 1 if it begins none. */
static size_t run_length(const struct file_extent *extents, size_t count)
{
	size_t run = 1;

	if (!is_small(&extents[0]))
		return 1;
	while (run < count && is_small(&extents[run]) &&
	       extents[run].offset == file_extent_end(&extents[run - 1]) &&
	       file_extent_end(&extents[run]) - extents[0].offset <= DEFRAG_BYTES_MAX)
		run++;
	return run;
}

static int run_replace(struct file *file, uint64_t start, uint64_t end)
{
	struct space_window *window = &file->writer->windows[SPACE_DATA];
	struct file_extent extent = {
		.offset = start,
		.length = end - start,
		.bytes = end - start,
		.ram_bytes = end - start,
		.generation = file->writer->generation,
		.type = BTRFS_FILE_EXTENT_REG,
	};
	uint64_t got;
	int ret = space_take(window, extent.bytes, extent.bytes, &extent.bytenr, &got);

	if (ret)
		return ret;
	ret = file_replace_begin(file);
	if (!ret)
		ret = file_drop(file, start, end);
	if (ret) {
		space_give_back(window, extent.bytenr, got);
		return ret;
	}
	ret = file_insert(file, RS_REF_ALLOCATE, &extent);
	return ret ? file_replace_failed(file, ret) : 0;
}

/* The loop ends: each turn goes on behind an item of the file. */
static int defrag_locked(struct file *file)
{
	struct file_extent extents[DEFRAG_BATCH];
	uint64_t at = 0;
	uint64_t next;

	for (;;) {
		size_t count = file_extents_read(file->root, file->number, at, FILE_END, extents,
						 DEFRAG_BATCH, &next);
		size_t item = 0;
		size_t run = 1;
		int ret;

		while (item < count && run == 1) {
			run = run_length(&extents[item], count - item);
			item += run;
		}
		if (!count)
			return 0;
		/* One that may go on behind this reading is read again as the first. */
		if (item == DEFRAG_BATCH && run < item) {
			at = extents[item - run].offset;
			continue;
		}
		at = file_extent_end(&extents[item - 1]);
		if (run == 1)
			continue;
		ret = run_replace(file, extents[item - run].offset, at);
		if (ret)
			return ret;
	}
}

int rs_file_defrag(struct rs_writer *writer, struct rs_subvol *subvol, uint64_t inode)
{
	bool tried = false;
	int ret;

	do {
		struct file file;

		ret = file_begin(&file, writer, subvol, inode);
		if (!ret)
			ret = file_end(&file, defrag_locked(&file));
	} while (trans_make_room(writer, ret, &tried));
	return ret;
}
