/* SPDX-License-Identifier: MIT */
/*
 * Random operations on files against a model that knows blocks only: each is a hole or a block
 * of an extent. The model has no items, and none of the code's ways to cut and join them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "tests/support/file_case.h"
#include "tests/support/threads.h"

#define BLOCK UINT64_C(4096)
#define BLOCKS 96U
#define FILES 3U /* two in the first subvolume, one in the second */
#define EXTENTS 4096U
#define STEPS 3000U
#define DEFRAG_BLOCKS 64U

struct model_block {
	unsigned extent; /* 0: a hole */
	unsigned inside;
	bool prealloc;
	uint64_t generation; /* at which its item was made, as far as snapshots ask */
};

struct model_file {
	struct model_block blocks[BLOCKS];
	unsigned size;
};

/* What the model does not know before it sees it: where an extent is. */
static struct {
	uint64_t bytenr;
	unsigned blocks;
} extents[EXTENTS];
static unsigned extent_count;

static struct model_file files[FILES];
static struct model_file committed[FILES];
static uint64_t last_snapshot;
static uint64_t generation;

static struct file_case test;
static uint64_t inodes[FILES];
static char said[160];

static struct rs_subvol *root_of(unsigned file)
{
	return test.roots[file == 2];
}

static bool used_by_others(const struct model_file *state, unsigned file, unsigned at)
{
	const struct model_block *block = &files[file].blocks[at];
	unsigned other;
	unsigned here;

	for (other = 0; other < FILES; other++)
		for (here = 0; here < BLOCKS; here++) {
			const struct model_block *seen = &state[other].blocks[here];

			if (seen->extent != block->extent)
				continue;
			if (other != file || here - seen->inside != at - block->inside)
				return true;
		}
	return false;
}

static bool in_place(unsigned file, unsigned at)
{
	const struct model_block *block = &files[file].blocks[at];

	if (!block->extent || !block->prealloc)
		return false;
	if (file != 2 && block->generation <= last_snapshot)
		return false;
	return !used_by_others(files, file, at) && !used_by_others(committed, file, at);
}

static unsigned extent_new(unsigned blocks)
{
	assert_true(extent_count + 1 < EXTENTS);
	extents[++extent_count].blocks = blocks;
	extents[extent_count].bytenr = 0;
	return extent_count;
}

static void put_new(unsigned file, unsigned at, unsigned end, bool prealloc)
{
	unsigned extent = extent_new(end - at);
	unsigned inside;

	for (inside = 0; at < end; at++, inside++)
		files[file].blocks[at] =
			(struct model_block){ extent, inside, prealloc, generation };
}

static void grow(unsigned file, unsigned size)
{
	if (size > files[file].size)
		files[file].size = size;
}

static void model_write(unsigned file, unsigned at, unsigned end)
{
	bool place[BLOCKS];
	unsigned here;

	grow(file, end);
	for (here = at; here < end; here++)
		place[here] = in_place(file, here);
	while (at < end) {
		for (here = at; here < end && place[here] == place[at]; here++)
			;
		if (!place[at])
			put_new(file, at, here, false);
		for (; at < here; at++)
			files[file].blocks[at].prealloc = false;
	}
}

static void model_clear(unsigned file, unsigned at, unsigned end)
{
	for (; at < end; at++)
		files[file].blocks[at] = (struct model_block){ 0 };
}

static void model_fallocate(unsigned file, unsigned at, unsigned end)
{
	unsigned here;

	grow(file, end);
	while (at < end) {
		for (here = at; here < end && !files[file].blocks[here].extent; here++)
			;
		if (here > at)
			put_new(file, at, here, true);
		at = here + (here == at);
	}
}

static void model_clone(unsigned from, unsigned at, unsigned count, unsigned to, unsigned target)
{
	struct model_block moved[BLOCKS];

	memcpy(moved, &files[from].blocks[at], count * sizeof(moved[0]));
	memcpy(&files[to].blocks[target], moved, count * sizeof(moved[0]));
	grow(to, target + count);
}

/* Which blocks go together follows from the items, which the model does not have: they are read. */
static void model_defrag(unsigned file)
{
	struct file_extent items[BLOCKS];
	size_t count = file_case_items(root_of(file), inodes[file], items, BLOCKS);
	size_t first = 0;

	while (first < count) {
		size_t last = first;
		uint64_t blocks = 0;

		while (last < count && items[last].type == BTRFS_FILE_EXTENT_REG &&
		       items[last].length < DEFRAG_BLOCKS * BLOCK &&
		       (last == first ||
			items[last].offset == items[last - 1].offset + items[last - 1].length) &&
		       blocks + items[last].length / BLOCK <= DEFRAG_BLOCKS)
			blocks += items[last++].length / BLOCK;
		if (last - first > 1)
			put_new(file, (unsigned)(items[first].offset / BLOCK),
				(unsigned)(items[first].offset / BLOCK + blocks), false);
		first = last > first ? last : first + 1;
	}
}

/* A place that the model sees for the first time is nobody else's, then and at the last commit. */
static bool extent_bind(unsigned extent, uint64_t bytenr)
{
	unsigned file;
	unsigned at;

	if (extents[extent].bytenr)
		return extents[extent].bytenr == bytenr;
	for (file = 0; file < 2 * FILES; file++)
		for (at = 0; at < BLOCKS; at++) {
			const struct model_file *state = file < FILES ? &files[file] :
									&committed[file - FILES];
			unsigned other = state->blocks[at].extent;
			uint64_t begin = extents[other].bytenr;

			if (other && begin && begin < bytenr + extents[extent].blocks * BLOCK &&
			    bytenr < begin + extents[other].blocks * BLOCK)
				return false;
		}
	extents[extent].bytenr = bytenr;
	return true;
}

static void block_check(unsigned file, unsigned at, const struct file_extent *item)
{
	const struct model_block *block = &files[file].blocks[at];
	unsigned inside = (unsigned)((item->inside + at * BLOCK - item->offset) / BLOCK);

	if (!block->extent || block->inside != inside ||
	    block->prealloc != (item->type == BTRFS_FILE_EXTENT_PREALLOC) ||
	    item->bytes != extents[block->extent].blocks * BLOCK ||
	    !extent_bind(block->extent, item->bytenr))
		fail_msg("%s: file %u block %u: %s of extent %u, expected %u of %u (%u)", said,
			 file, at, item->type == BTRFS_FILE_EXTENT_REG ? "written" : "prealloc",
			 (unsigned)(item->bytes / BLOCK), block->inside, block->extent,
			 extents[block->extent].blocks);
}

static void file_check_all(unsigned file)
{
	struct file_extent items[BLOCKS];
	struct inode sizes;
	size_t count = file_case_items(root_of(file), inodes[file], items, BLOCKS);
	unsigned at = 0;
	size_t item;

	for (item = 0; item < count; item++) {
		unsigned begin = (unsigned)(items[item].offset / BLOCK);
		unsigned end = begin + (unsigned)(items[item].length / BLOCK);

		for (; at < begin; at++)
			if (files[file].blocks[at].extent)
				fail_msg("%s: file %u block %u is a hole", said, file, at);
		for (; at < end; at++)
			block_check(file, at, &items[item]);
	}
	for (; at < BLOCKS; at++)
		if (files[file].blocks[at].extent)
			fail_msg("%s: file %u block %u is a hole", said, file, at);
	assert_int_equal(inode_read(root_of(file), inodes[file], &sizes), 0);
	if (sizes.size != files[file].size * BLOCK)
		fail_msg("%s: file %u is of %u blocks", said, file, (unsigned)(sizes.size / BLOCK));
}

static void commit_note(void)
{
	struct rs_forest_statistics statistics;

	memcpy(committed, files, sizeof(committed));
	rs_forest_statistics_read(test.forest, &statistics);
	generation = statistics.generation;
}

struct draw {
	unsigned file;
	unsigned at;
	unsigned count;
	unsigned to;
	unsigned target;
};

static int step_clone(const struct draw *draw, bool dedupe)
{
	const struct rs_file_range source = { root_of(draw->file), inodes[draw->file],
					      draw->at * BLOCK };
	const struct rs_file_range target = { root_of(draw->to), inodes[draw->to],
					      draw->target * BLOCK };
	bool refused = draw->at + draw->count > files[draw->file].size;
	int ret;

	if (dedupe)
		refused |= draw->target + draw->count > files[draw->to].size;
	if (draw->file == draw->to)
		refused |= draw->at < draw->target + draw->count &&
			   draw->target < draw->at + draw->count;
	ret = dedupe ? rs_file_dedupe(test.writer, &source, draw->count * BLOCK, &target) :
		       rs_file_clone(test.writer, &source, draw->count * BLOCK, &target);
	if (refused)
		return ret == -EINVAL ? 0 : 1;
	model_clone(draw->file, draw->at, draw->count, draw->to, draw->target);
	return ret;
}

static int step_truncate(const struct draw *draw)
{
	struct model_file *file = &files[draw->file];

	if (draw->at < file->size)
		model_clear(draw->file, draw->at, BLOCKS);
	file->size = draw->at;
	return rs_file_truncate(test.writer, root_of(draw->file), inodes[draw->file],
				draw->at * BLOCK);
}

static int step_unlink(const struct draw *draw)
{
	char name[8];
	int ret;

	snprintf(name, sizeof(name), "f%u", draw->file);
	memset(&files[draw->file], 0, sizeof(files[draw->file]));
	ret = rs_file_unlink(test.writer, root_of(draw->file), name);
	return ret ? ret :
		     rs_file_find(test.writer, root_of(draw->file), name, true,
				  &inodes[draw->file]);
}

static int step_snapshot(bool snapshots, unsigned step)
{
	struct rs_subvol *snapshot;
	char name[16];
	int ret;

	if (snapshots) {
		snprintf(name, sizeof(name), "s%u", step);
		last_snapshot = generation;
		ret = rs_subvol_snapshot(test.writer, test.roots[0], name, false, &snapshot);
	} else {
		ret = rs_forest_commit(test.writer);
	}
	commit_note();
	return ret;
}

static int step_one(const struct draw *draw, unsigned op, bool snapshots, unsigned step)
{
	struct rs_subvol *root = root_of(draw->file);
	uint64_t inode = inodes[draw->file];
	unsigned end = draw->at + draw->count;
	uint64_t at = draw->at * BLOCK;
	uint64_t length = draw->count * BLOCK;

	snprintf(said, sizeof(said), "step %u: op %u file %u at %u count %u to %u/%u", step, op,
		 draw->file, draw->at, draw->count, draw->to, draw->target);
	switch (op) {
	case 0:
	case 1:
		return step_clone(draw, op);
	case 2:
		return step_truncate(draw);
	case 3:
		model_clear(draw->file, draw->at, end);
		return rs_file_punch(test.writer, root, inode, at, length);
	case 4:
	case 5:
	case 6:
		model_fallocate(draw->file, draw->at, end);
		return rs_file_fallocate(test.writer, root, inode, at, length);
	case 7:
		return step_snapshot(snapshots && draw->at % 4 == 0, step);
	case 8:
		return draw->at % 4 ? 0 : step_unlink(draw);
	case 9:
		if (draw->at % 4)
			return 0;
		model_defrag(draw->file);
		return rs_file_defrag(test.writer, root, inode);
	default:
		model_write(draw->file, draw->at, end);
		return rs_file_write(test.writer, root, inode, at, length);
	}
}

static struct draw draw_next(struct random_state *random, bool snapshots)
{
	struct draw draw;
	/* What another subvolume would make of a snapshot's generations depends on items. */
	unsigned among = snapshots ? 2 : FILES;

	draw.file = (unsigned)random_state_below(random, among);
	draw.to = (unsigned)random_state_below(random, among);
	draw.count =
		1 + (unsigned)random_state_below(random, random_state_below(random, 4) ? 6 : 24);
	draw.at = (unsigned)random_state_below(random, BLOCKS - draw.count);
	draw.target = (unsigned)random_state_below(random, BLOCKS - draw.count);
	return draw;
}

static void model_run(bool snapshots, uint64_t seed)
{
	struct random_state random;
	char name[8];
	unsigned file;
	unsigned step;

	random_state_seed(&random, seed, snapshots);
	memset(files, 0, sizeof(files));
	memset(extents, 0, sizeof(extents));
	extent_count = 0;
	last_snapshot = 0;
	file_case_begin(&test, 2, 0);
	if (snapshots)
		test.observer.ref = NULL;
	commit_note();
	for (file = 0; file < FILES; file++) {
		snprintf(name, sizeof(name), "f%u", file);
		inodes[file] = file_case_file(&test, root_of(file), name);
	}
	for (step = 0; step < STEPS; step++) {
		const struct draw draw = draw_next(&random, snapshots);
		unsigned op = (unsigned)random_state_below(&random, 16);
		int ret = step_one(&draw, op, snapshots, step);

		if (ret)
			fail_msg("%s: %d", said, ret);
		for (file = 0; file < FILES; file++)
			file_check_all(file);
		if (!snapshots && step % 64 == 0)
			assert_int_equal(file_case_wrong(&test), 0);
	}
	assert_int_equal(rs_forest_commit(test.writer), 0);
	if (!snapshots)
		assert_int_equal(file_case_index_wrong(&test), 0);
	file_case_end(&test);
}

static void files_are_as_the_model_says(void **state)
{
	(void)state;
	model_run(false, threads_data_seed("file_model_test"));
}

static void files_with_snapshots_too(void **state)
{
	(void)state;
	model_run(true, threads_data_seed("file_model_test"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_as_the_model_says),
		cmocka_unit_test(files_with_snapshots_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
