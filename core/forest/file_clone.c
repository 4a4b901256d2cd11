/* SPDX-License-Identifier: MIT */
/*
 * Sharing extents between files: clone, and dedupe, which is the same where all contents are
 * zeros.
 */
#include <errno.h>
#include <sys/stat.h>

#include "core/base/plant.h"
#include "core/forest/file_impl.h"
#include "core/forest/trans.h"

#define CLONE_BATCH 32U

struct clone {
	struct file file; /* the target */
	const struct rs_file_range *source;
	const struct rs_file_range *target;
	uint64_t length;
	uint64_t source_size;
	bool dedupe;
	bool source_moved; /* only by a plant: its lock is not held any more */
};

/* Several roots are locked by ascending address. */
static void roots_lock(struct rs_subvol *a, struct rs_subvol *b)
{
	if (a == b) {
		lock_acquire(&a->lock);
		return;
	}
	lock_acquire((uintptr_t)&a->lock < (uintptr_t)&b->lock ? &a->lock : &b->lock);
	lock_acquire_next((uintptr_t)&a->lock < (uintptr_t)&b->lock ? &b->lock : &a->lock);
}

static void clone_unlock(const struct clone *clone)
{
	lock_release(&clone->target->subvol->lock);
	if (clone->source->subvol != clone->target->subvol && !clone->source_moved)
		lock_release(&clone->source->subvol->lock);
}

static bool ranges_overlap(const struct clone *clone)
{
	const struct rs_file_range *a = clone->source;
	const struct rs_file_range *b = clone->target;

	return a->subvol == b->subvol && a->inode == b->inode &&
	       a->offset < b->offset + clone->length && b->offset < a->offset + clone->length;
}

/*
 * A range may end in the block that a file ends in. The end of a file that ends inside a block
 * goes to the end of another file only, or what is behind it there would be lost.
 */
static int sizes_check(const struct clone *clone)
{
	uint64_t source_end = clone->source->offset + clone->length;
	uint64_t target_end = clone->target->offset + clone->length;

	if (source_end > file_round_up(clone->source_size))
		return -EINVAL;
	if (clone->dedupe && target_end > file_round_up(clone->file.inode.size))
		return -EINVAL;
	if (source_end > clone->source_size && target_end < clone->file.inode.size)
		return -EINVAL;
	return 0;
}

static int clone_open(struct clone *clone, struct rs_writer *writer)
{
	struct inode source;
	int ret = file_check(clone->source->subvol, false);

	if (!ret)
		ret = inode_read(clone->source->subvol, clone->source->inode, &source);
	if (!ret && !S_ISREG(source.mode))
		ret = S_ISDIR(source.mode) ? -EISDIR : -EINVAL;
	if (!ret)
		ret = file_open(&clone->file, writer, clone->target->subvol, clone->target->inode);
	if (ret)
		return ret;
	clone->source_size = source.size;
	return sizes_check(clone);
}

/* The target goes at least to where the source's `end` is put. */
static void target_grow(struct clone *clone, uint64_t end)
{
	if (end > clone->source_size)
		end = clone->source_size;
	file_grow(&clone->file, end - clone->source->offset + clone->target->offset);
}

/*
 * One item of the source, at its place in the target. Inline data get an extent of their own,
 * which `spare` is.
 */
static int clone_item(struct clone *clone, const struct file_extent *item, uint64_t *spare)
{
	struct file_extent extent = *item;
	enum rs_ref_kind kind = RS_REF_ADD;
	int ret;

	extent.offset = item->offset - clone->source->offset + clone->target->offset;
	if (item->type == BTRFS_FILE_EXTENT_INLINE) {
		extent = (struct file_extent){
			.offset = extent.offset,
			.length = item->length,
			.bytenr = *spare,
			.bytes = item->length,
			.ram_bytes = item->length,
			.generation = clone->file.writer->generation,
			.type = BTRFS_FILE_EXTENT_REG,
		};
		kind = RS_REF_ALLOCATE;
	} else if (!item->bytenr) {
		return 0;
	}
	ret = file_insert(&clone->file, kind, &extent);
	if (ret)
		return ret;
	if (kind == RS_REF_ALLOCATE)
		*spare = 0;
	target_grow(clone, file_extent_end(item));
	return 0;
}

/* What the source has in `*at` to `end`, or the first of it; `*at` moves to how far that was. */
static int clone_batch(struct clone *clone, uint64_t *at, uint64_t end)
{
	const uint64_t from = *at;
	struct space_window *window = &clone->file.writer->windows[SPACE_DATA];
	struct file_extent items[CLONE_BATCH];
	uint64_t spare = 0;
	uint64_t got = 0;
	size_t count = file_extents_read(clone->source->subvol, clone->source->inode, from, end,
					 items, CLONE_BATCH, at);
	uint64_t shift = clone->target->offset - clone->source->offset;
	size_t item;
	int ret = 0;

	if (plant_armed("file.source-moved") && !clone->source_moved &&
	    clone->source->subvol != clone->target->subvol) {
		clone->source_moved = true;
		lock_release(&clone->source->subvol->lock);
	}
	window_pass("file.source-read");
	/* It is the first of its file. */
	if (count && items[0].type == BTRFS_FILE_EXTENT_INLINE)
		ret = space_take(window, items[0].length, items[0].length, &spare, &got);
	if (!ret)
		ret = file_replace_begin(&clone->file);
	if (!ret)
		ret = file_drop(&clone->file, from + shift, *at + shift);
	for (item = 0; !ret && item < count; item++) {
		file_extent_cut(&items[item], from, *at);
		ret = clone_item(clone, &items[item], &spare);
		if (ret)
			file_replace_failed(&clone->file, ret);
	}
	if (spare)
		space_give_back(window, spare, got);
	return ret;
}

static int clone_locked(struct clone *clone)
{
	uint64_t at = clone->source->offset;
	uint64_t end = at + clone->length;
	int ret = 0;

	clone->source->subvol->clones++;
	if (clone->target->subvol != clone->source->subvol)
		clone->target->subvol->clones++;
	while (!ret && at < end) {
		ret = clone_batch(clone, &at, end);
		if (!ret)
			target_grow(clone, at);
	}
	return ret;
}

static int clone_run(struct clone *clone, struct rs_writer *writer)
{
	struct rs_subvol *from = clone->source->subvol;
	struct rs_subvol *to = clone->target->subvol;
	int ret = file_range_check(clone->source->offset, clone->length);

	if (!ret)
		ret = file_range_check(clone->target->offset, clone->length);
	if (ret || !clone->length)
		return ret;
	if (from->forest != to->forest || ranges_overlap(clone))
		return -EINVAL;
	ret = trans_join(writer, BTREE_BLOCKS);
	if (ret)
		return ret;
	roots_lock(from, to);
	ret = clone_open(clone, writer);
	if (!ret)
		ret = file_close(&clone->file, clone_locked(clone));
	clone_unlock(clone);
	trans_end(writer);
	return ret;
}

int rs_file_clone(struct rs_writer *writer, const struct rs_file_range *source, uint64_t length,
		  const struct rs_file_range *target)
{
	struct clone clone = { .source = source, .target = target, .length = length };

	return clone_run(&clone, writer);
}

int rs_file_dedupe(struct rs_writer *writer, const struct rs_file_range *source, uint64_t length,
		   const struct rs_file_range *target)
{
	struct clone clone = {
		.source = source,
		.target = target,
		.length = length,
		.dedupe = true,
	};

	return clone_run(&clone, writer);
}
