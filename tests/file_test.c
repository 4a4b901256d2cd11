/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "tests/support/file_case.h"
#include "tests/support/threads.h"

#define BLOCK UINT64_C(4096)
#define ITEMS 8192U
#define TEXT 1024U

static struct file_case test;

/*
 * Scripts of a few operations on files a and b of one subvolume, in blocks:
 *   w F OFF LEN, p(unch), f(allocate), t(runcate) F SIZE, c(lone) F OFF LEN F2 OFF2, d(edupe),
 * u(nlink) F,
 *   g F (defrag), s (commit)
 */
static struct rs_subvol *file_root;

static int step_shared(char op, const char *text)
{
	struct rs_file_range from = { .subvol = file_root };
	struct rs_file_range to = { .subvol = file_root };
	unsigned long long numbers[3];
	char names[2][8];

	assert_int_equal(sscanf(text, "%7s %llu %llu %7s %llu", names[0], &numbers[0], &numbers[1],
				names[1], &numbers[2]),
			 5);
	from.inode = file_case_file(&test, file_root, names[0]);
	from.offset = numbers[0] * BLOCK;
	to.inode = file_case_file(&test, file_root, names[1]);
	to.offset = numbers[2] * BLOCK;
	if (op == 'c')
		return rs_file_clone(test.writer, &from, numbers[1] * BLOCK, &to);
	return rs_file_dedupe(test.writer, &from, numbers[1] * BLOCK, &to);
}

static int step_run(const char *step)
{
	unsigned long long at = 0;
	unsigned long long length = 0;
	uint64_t inode;
	char op = step[0];
	char name[8];

	if (op == 's')
		return rs_forest_commit(test.writer);
	if (op == 'c' || op == 'd')
		return step_shared(op, step + 1);
	assert_true(sscanf(step + 1, "%7s %llu %llu", name, &at, &length) >= 1);
	if (op == 'u')
		return rs_file_unlink(test.writer, file_root, name);
	inode = file_case_file(&test, file_root, name);
	at *= BLOCK;
	length *= BLOCK;
	switch (op) {
	case 'w':
		return rs_file_write(test.writer, file_root, inode, at, length);
	case 'p':
		return rs_file_punch(test.writer, file_root, inode, at, length);
	case 'f':
		return rs_file_fallocate(test.writer, file_root, inode, at, length);
	case 't':
		return rs_file_truncate(test.writer, file_root, inode, at);
	case 'g':
		return rs_file_defrag(test.writer, file_root, inode);
	default:
		return -ENOTSUP;
	}
}

static void script_run(const char *script)
{
	char copy[TEXT];
	char *step;
	char *rest = copy;

	snprintf(copy, sizeof(copy), "%s", script);
	while ((step = strsep(&rest, "|"))) {
		int ret = step_run(step);

		if (ret)
			fail_msg("%s: %s: %d", script, step, ret);
	}
}

/*
 * "R0+2A0/8": a written item (P: preallocated) of blocks 0 and 1, which is from block 0 on in
 * extent A, which has 8. Extents are A, B, ... as they come; '=' ends a file: its size.
 */
static void files_print(char *out)
{
	static struct file_extent items[ITEMS];
	uint64_t known[26];
	unsigned count = 0;
	static const char *const names[] = { "a", "b" };
	unsigned name;

	*out = 0;
	for (name = 0; name < 2; name++) {
		struct inode sizes;
		uint64_t inode;
		size_t item;
		size_t all;

		if (rs_file_find(test.writer, file_root, names[name], false, &inode))
			continue;
		assert_int_equal(inode_read(file_root, inode, &sizes), 0);
		all = file_case_items(file_root, inode, items, ITEMS);
		for (item = 0; item < all; item++) {
			const struct file_extent *at = &items[item];
			unsigned extent = 0;

			while (extent < count && known[extent] != at->bytenr)
				extent++;
			assert_true(extent < 26);
			if (extent == count)
				known[count++] = at->bytenr;
			assert_true(at->ram_bytes == at->bytes && file_extent_is_plain(at));
			out += sprintf(out, "%c%u+%u%c%u/%u ",
				       at->type == BTRFS_FILE_EXTENT_REG ? 'R' : 'P',
				       (unsigned)(at->offset / BLOCK),
				       (unsigned)(at->length / BLOCK), (int)('A' + extent),
				       (unsigned)(at->inside / BLOCK),
				       (unsigned)(at->bytes / BLOCK));
		}
		out += sprintf(out, "%s=%u ", names[name], (unsigned)(sizes.size / BLOCK));
	}
	out[-1] = 0;
}

struct truth {
	const char *script;
	const char *items;
};

static void truths_hold(const struct truth *truths, size_t count)
{
	static char found[ITEMS * 24];
	size_t at;

	file_case_begin(&test, 1, 0);
	file_root = test.roots[0];
	for (at = 0; at < count; at++) {
		script_run(truths[at].script);
		files_print(found);
		if (strcmp(found, truths[at].items) != 0)
			fail_msg("%s\n expected %s\n found    %s", truths[at].script,
				 truths[at].items, found);
		assert_int_equal(file_case_wrong(&test), 0);
		assert_int_equal(rs_forest_commit(test.writer), 0);
		assert_int_equal(file_case_index_wrong(&test), 0);
		step_run("u a");
		step_run("u b");
	}
	file_case_end(&test);
}

/* What Linux 6.18 makes of the same, read with dump-tree. */
static const struct truth kernel_truths[] = {
	{ "w a 0 1|w b 0 1|w a 1 1|s|w a 0 4", "R0+4A0/4 a=4 R0+1B0/1 b=1" },
	{ "w a 0 1|f a 4 4|s|w a 0 12", "R0+4A0/4 R4+4B0/4 R8+4C0/4 a=12" },
	{ "f a 0 8|c a 0 8 b 0|s|w a 2 2", "P0+2A0/8 R2+2B0/2 P4+4A4/8 a=8 P0+8A0/8 b=8" },
	{ "f a 0 8|s|w a 0 1|w a 1 1|w a 3 1|w a 2 1", "R0+4A0/8 P4+4A4/8 a=8" },
	{ "w a 0 4|w a 8 4|w b 0 12|s|d a 0 12 b 0",
	  "R0+4A0/4 R8+4B0/4 a=12 R0+4A0/4 R8+4B0/4 b=12" },
	{ "t a 8|w b 0 8|d a 0 8 b 0", "a=8 b=8" },
	{ "f a 0 8|w b 0 8|d a 0 8 b 0", "P0+8A0/8 a=8 P0+8A0/8 b=8" },
	{ "w a 0 8|p a 2 2|s|w a 0 8", "R0+8A0/8 a=8" },
	{ "f a 4 4|f a 0 16", "P0+4A0/4 P4+4B0/4 P8+8C0/8 a=16" },
	{ "w a 0 8|s|t a 3", "R0+3A0/8 a=3" },
	{ "f a 0 8|s|w a 2 2|s|w a 0 8", "R0+2A0/8 R2+2B0/2 R4+4A4/8 a=8" },
	/* A reference of others stays until a commit has run its end. */
	{ "f a 0 8|c a 0 8 b 0|s|u b|w a 0 2", "R0+2A0/2 P2+6B2/8 a=8" },
	{ "f a 0 8|c a 0 8 b 0|s|u b|s|w a 0 2", "R0+2A0/8 P2+6A2/8 a=8" },
	{ "f a 0 8|c a 0 8 b 0|u b|w a 0 2", "R0+2A0/8 P2+6A2/8 a=8" },
	{ "f a 0 8|c a 0 4 a 8|s|w a 0 2", "R0+2A0/2 P2+6B2/8 P8+4B0/8 a=12" },
	{ "f a 0 8|s|w a 0 2|w a 4 4|w a 2 2", "R0+8A0/8 a=8" },
	{ "w a 0 4|c a 2 2 b 6", "R0+4A0/4 a=4 R6+2A2/4 b=8" },
	{ "f a 0 8|s|w a 6 2|w a 4 2|w a 1 1", "P0+1A0/8 R1+1A1/8 P2+2A2/8 R4+4A4/8 a=8" },
};

static void files_are_as_the_kernels(void **state)
{
	(void)state;
	truths_hold(kernel_truths, sizeof(kernel_truths) / sizeof(kernel_truths[0]));
}

static const struct truth own_truths[] = {
	{ "w a 0 1", "R0+1A0/1 a=1" },
	{ "w a 3 2", "R3+2A0/2 a=5" },
	/* Whole items are replaced where they are. */
	{ "w a 0 1|w a 1 1|w a 2 1|w a 1 1", "R0+1A0/1 R1+1B0/1 R2+1C0/1 a=3" },
	{ "w a 0 4|w a 0 4", "R0+4A0/4 a=4" },
	/* All ways to cut. */
	{ "w a 0 8|p a 0 2", "R2+6A2/8 a=8" },
	{ "w a 0 8|p a 6 4", "R0+6A0/8 a=8" },
	{ "w a 0 8|p a 2 2", "R0+2A0/8 R4+4A4/8 a=8" },
	{ "w a 0 8|p a 0 8", "a=8" },
	{ "w a 0 8|p a 2 2|p a 0 8", "a=8" },
	{ "w a 2 2|w a 6 2|w a 10 2|p a 3 8", "R2+1A0/2 R11+1B1/2 a=12" },
	{ "w a 2 2|p a 0 2|p a 4 9", "R2+2A0/2 a=4" },
	{ "w a 0 8|w a 2 2", "R0+2A0/8 R2+2B0/2 R4+4A4/8 a=8" },
	{ "w a 0 8|w a 6 4", "R0+6A0/8 R6+4B0/4 a=10" },
	/* Truncate. */
	{ "w a 0 8|t a 12", "R0+8A0/8 a=12" },
	{ "w a 0 8|t a 12|t a 8|t a 8", "R0+8A0/8 a=8" },
	{ "w a 0 8|t a 0", "a=0" },
	{ "w a 0 2|w a 4 2|t a 3|t a 9", "R0+2A0/2 a=9" },
	{ "f a 0 8|t a 3", "P0+3A0/8 a=3" },
	/* Clone: holes punch, items are cut. */
	{ "w a 2 2|t a 6|w b 0 8|c a 0 6 b 1", "R2+2A0/2 a=6 R0+1B0/8 R3+2A0/2 R7+1B7/8 b=8" },
	{ "w a 0 8|c a 2 3 b 0", "R0+8A0/8 a=8 R0+3A2/8 b=3" },
	{ "w a 0 8|c a 2 3 b 4", "R0+8A0/8 a=8 R4+3A2/8 b=7" },
	{ "w a 0 8|c a 0 2 a 6", "R0+6A0/8 R6+2A0/8 a=8" },
	{ "w a 0 8|c a 0 4 a 4", "R0+4A0/8 R4+4A0/8 a=8" },
	{ "w a 0 2|w a 2 2|c a 1 2 b 0", "R0+2A0/2 R2+2B0/2 a=4 R0+1A1/2 R1+1B0/2 b=2" },
	{ "w a 0 4|c a 0 4 b 0|c a 0 4 b 0", "R0+4A0/4 a=4 R0+4A0/4 b=4" },
	/* Preallocation. */
	{ "f a 0 4|f a 0 4", "P0+4A0/4 a=4" },
	{ "f a 0 4|w a 0 4", "R0+4A0/4 a=4" },
	{ "f a 0 4|w a 1 1", "P0+1A0/4 R1+1A1/4 P2+2A2/4 a=4" },
	{ "f a 0 4|w a 2 4", "P0+2A0/4 R2+2A2/4 R4+2B0/2 a=6" },
	{ "f a 2 2|w a 0 3", "R0+2A0/2 R2+1B0/2 P3+1B1/2 a=4" },
	{ "w a 1 1|w a 4 1|f a 0 6", "P0+1A0/1 R1+1B0/1 P2+2C0/2 R4+1D0/1 P5+1E0/1 a=6" },
	{ "f a 0 8|p a 2 2|w a 0 8", "R0+2A0/8 R2+2B0/2 R4+4A4/8 a=8" },
	/* Defrag. */
	{ "w a 0 1|w a 1 1|w a 2 1|g a", "R0+3A0/3 a=3" },
	{ "w a 0 1|w a 2 1|g a", "R0+1A0/1 R2+1B0/1 a=3" },
	{ "w a 0 40|w a 40 40|w a 80 4|g a", "R0+40A0/40 R40+44B0/44 a=84" },
	{ "w a 0 63|w a 63 1|w a 64 64|w a 128 1|g a", "R0+64A0/64 R64+64B0/64 R128+1C0/1 a=129" },
	{ "w a 0 1|f a 1 1|w a 2 1|g a", "R0+1A0/1 P1+1B0/1 R2+1C0/1 a=3" },
	{ "w a 0 8|p a 2 1|w a 2 1|g a|g a", "R0+8A0/8 a=8" },
};

static void operations_do_what_they_say(void **state)
{
	(void)state;
	truths_hold(own_truths, sizeof(own_truths) / sizeof(own_truths[0]));
}

static void a_snapshot_shares_preallocation(void **state)
{
	struct rs_subvol *snapshot;
	struct rs_subvol *frozen;
	static char found[TEXT];
	uint64_t inode;

	(void)state;
	file_case_begin(&test, 1, 0);
	test.observer.ref = NULL;
	file_root = test.roots[0];
	script_run("f a 0 8");
	assert_int_equal(rs_subvol_snapshot(test.writer, file_root, "s", false, &snapshot), 0);
	assert_int_equal(rs_subvol_snapshot(test.writer, file_root, "r", true, &frozen), 0);
	script_run("w a 0 2|f a 8 4|w a 8 1");
	files_print(found);
	assert_string_equal(found, "R0+2A0/2 P2+6B2/8 R8+1C0/4 P9+3C1/4 a=12");
	inode = file_case_file(&test, snapshot, "a");
	file_root = frozen;
	assert_int_equal(rs_file_write(test.writer, frozen, inode, 0, BLOCK), -EROFS);
	assert_int_equal(rs_file_truncate(test.writer, frozen, inode, 0), -EROFS);
	assert_int_equal(rs_file_unlink(test.writer, frozen, "a"), -EROFS);
	assert_int_equal(rs_file_find(test.writer, frozen, "b", true, &inode), -EROFS);
	files_print(found);
	assert_string_equal(found, "P0+8A0/8 a=8");
	file_root = snapshot;
	script_run("w a 0 2|f b 0 1|w b 0 1");
	files_print(found);
	assert_string_equal(found, "R0+2A0/2 P2+6B2/8 a=8 R0+1C0/1 b=1");
	assert_int_equal(rs_forest_commit(test.writer), 0);
	file_case_end(&test);
}

static void what_cannot_be_is_refused(void **state)
{
	struct rs_file_range a = { 0 };
	struct rs_file_range b = { 0 };
	struct rs_writer *writer;
	uint64_t inode;

	(void)state;
	file_case_begin(&test, 2, 0);
	writer = test.writer;
	file_root = test.roots[0];
	script_run("w a 0 4|w b 0 4");
	a.subvol = b.subvol = file_root;
	inode = a.inode = file_case_file(&test, file_root, "a");
	b.inode = file_case_file(&test, file_root, "b");
	assert_int_equal(rs_file_write(writer, file_root, inode, 1, BLOCK), -EINVAL);
	assert_int_equal(rs_file_write(writer, file_root, inode, 0, 1), -EINVAL);
	assert_int_equal(rs_file_write(writer, file_root, inode, 0, 0), 0);
	assert_int_equal(rs_file_write(writer, file_root, inode, 0, (128 << 20) + BLOCK), -EFBIG);
	assert_int_equal(rs_file_write(writer, file_root, inode, FILE_END, BLOCK), -EFBIG);
	assert_int_equal(rs_file_write(writer, file_root, inode, FILE_END - BLOCK, BLOCK), -EFBIG);
	assert_int_equal(rs_file_write(writer, file_root, 999, 0, BLOCK), -ENOENT);
	assert_int_equal(rs_file_write(writer, file_root, INODE_ROOT, 0, BLOCK), -EISDIR);
	assert_int_equal(rs_file_truncate(writer, file_root, inode, 1), -EINVAL);
	assert_int_equal(rs_file_punch(writer, file_root, inode, 0, 1), -EINVAL);
	assert_int_equal(rs_file_fallocate(writer, file_root, inode, 4, BLOCK), -EINVAL);
	assert_int_equal(rs_file_defrag(writer, file_root, 999), -ENOENT);
	assert_int_equal(rs_file_clone(writer, &a, 5 * BLOCK, &b), -EINVAL);
	assert_int_equal(rs_file_clone(writer, &a, 4 * BLOCK, &b), 0);
	assert_int_equal(rs_file_clone(writer, &a, 1, &b), -EINVAL);
	b.offset = BLOCK;
	assert_int_equal(rs_file_dedupe(writer, &a, 4 * BLOCK, &b), -EINVAL);
	assert_int_equal(rs_file_dedupe(writer, &a, 3 * BLOCK, &b), 0);
	b.inode = a.inode;
	assert_int_equal(rs_file_clone(writer, &a, 2 * BLOCK, &b), -EINVAL);
	assert_int_equal(rs_file_clone(writer, &a, BLOCK, &b), 0);
	b.inode = 999;
	assert_int_equal(rs_file_clone(writer, &a, BLOCK, &b), -ENOENT);
	assert_int_equal(rs_file_clone(writer, &b, BLOCK, &a), -ENOENT);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(rs_subvol_delete(writer, test.roots[1]), 0);
	assert_int_equal(rs_file_find(writer, test.roots[1], "a", true, &inode), -ENOENT);
	b.subvol = test.roots[1];
	assert_int_equal(rs_file_clone(writer, &b, BLOCK, &a), -ENOENT);
	assert_int_equal(rs_file_clone(writer, &a, BLOCK, &b), -ENOENT);
	file_case_end(&test);
}

/* The usual write: in the item, two references, and the inode is left alone. */
static void an_overwrite_changes_one_item(void **state)
{
	struct format_key key = { .type = BTRFS_INODE_ITEM_KEY };
	const struct btrfs_inode_item *item;
	struct btree_path path;
	uint64_t transid;
	uint64_t calls;
	unsigned at;

	(void)state;
	file_case_begin(&test, 1, 0);
	file_root = test.roots[0];
	for (at = 0; at < 3; at++)
		script_run("w a 0 1|w a 1 1|w a 2 1");
	key.objectid = file_case_file(&test, file_root, "a");
	assert_true(btree_find(file_root, &key, &path));
	item = (const void *)node_item_data(btree_leaf(&path), path.slots[0]);
	transid = format_le64(&item->transid);
	script_run("s");
	calls = test.calls;
	script_run("w a 0 1|w a 2 1");
	assert_int_equal(test.calls - calls, 4);
	assert_true(btree_find(file_root, &key, &path));
	item = (const void *)node_item_data(btree_leaf(&path), path.slots[0]);
	assert_int_equal(format_le64(&item->transid), transid);
	assert_int_equal(file_case_wrong(&test), 0);
	file_case_end(&test);
}

/* Thousands of items, over many leaves. */
static void large_files_go_leaf_by_leaf(void **state)
{
	static struct file_extent items[ITEMS];
	struct rs_file_range a = { 0 };
	struct rs_file_range b = { 0 };
	unsigned at;

	(void)state;
	file_case_begin(&test, 2, 0);
	a.subvol = test.roots[0];
	b.subvol = test.roots[1];
	a.inode = file_case_file(&test, a.subvol, "a");
	b.inode = file_case_file(&test, b.subvol, "b");
	for (at = 0; at < 3000; at++)
		assert_int_equal(rs_file_write(test.writer, a.subvol, a.inode,
					       (at * 7 % 3000) * 2 * BLOCK, BLOCK),
				 0);
	assert_int_equal(file_case_items(a.subvol, a.inode, items, ITEMS), 3000);
	assert_int_equal(rs_file_clone(test.writer, &a, 5999 * BLOCK, &b), 0);
	assert_int_equal(file_case_items(b.subvol, b.inode, items, ITEMS), 3000);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(rs_file_punch(test.writer, a.subvol, a.inode, 100 * BLOCK, 3000 * BLOCK),
			 0);
	assert_int_equal(file_case_items(a.subvol, a.inode, items, ITEMS), 1500);
	assert_int_equal(rs_file_fallocate(test.writer, a.subvol, a.inode, 0, 6000 * BLOCK), 0);
	assert_int_equal(file_case_items(a.subvol, a.inode, items, ITEMS), 1500 + 49 + 1 + 1450);
	assert_int_equal(rs_file_write(test.writer, b.subvol, b.inode, BLOCK, 5000 * BLOCK), 0);
	assert_int_equal(file_case_items(b.subvol, b.inode, items, ITEMS), 1 + 1 + 499);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(rs_file_unlink(test.writer, b.subvol, "b"), 0);
	assert_int_equal(rs_file_truncate(test.writer, a.subvol, a.inode, 0), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(rs_forest_commit(test.writer), 0);
	assert_int_equal(file_case_index_wrong(&test), 0);
	file_case_end(&test);
}

static void without_room_nothing_changes(void **state)
{
	static char before[TEXT];
	static char after[TEXT];
	uint64_t inode;
	uint64_t at;
	int ret = 0;

	(void)state;
	file_case_begin(&test, 1, UINT64_C(512) << 20);
	file_root = test.roots[0];
	script_run("w a 0 4|f a 8 4");
	files_print(before);
	inode = file_case_file(&test, file_root, "c");
	for (at = 0; !ret && at < 16; at++)
		ret = rs_file_fallocate(test.writer, file_root, inode, at << 26, 1 << 26);
	assert_int_equal(ret, -ENOSPC);
	inode = file_case_file(&test, file_root, "a");
	assert_int_equal(rs_file_write(test.writer, file_root, inode, 0, 1 << 27), -ENOSPC);
	assert_int_equal(rs_file_fallocate(test.writer, file_root, inode, 0, 1 << 27), -ENOSPC);
	files_print(after);
	assert_string_equal(before, after);
	/* What was taken for them has been given back, and preallocation needs no room. */
	script_run("w a 8 4|u c|s");
	rcu_defer_barrier();
	assert_int_equal(rs_file_write(test.writer, file_root, inode, 0, 1 << 26), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	file_case_end(&test);
}

/* Each allocation of each operation fails once. */
static void without_memory_files_stay_whole(void **state)
{
	static const char *const scripts[] = {
		"w a 0 12", "w a 1 1", "p a 1 8", "c b 0 8 a 2", "f a 0 16", "u a", "g a", "t a 1",
	};
	unsigned script;
	uint64_t nth;
	int ret;

	(void)state;
	for (script = 0; script < sizeof(scripts) / sizeof(scripts[0]); script++) {
		ret = -1;
		for (nth = 1; ret; nth++) {
			assert_true(nth < 300);
			file_case_begin(&test, 1, 0);
			file_root = test.roots[0];
			script_run("w a 0 1|w a 1 1|f a 4 4|w b 0 8|f b 2 2|c a 4 2 b 6|s");
			alloc_fail_arm(nth, 0);
			ret = step_run(scripts[script]);
			if (!ret && alloc_fail_count())
				ret = 1;
			alloc_fail_arm(0, 0);
			if (!rs_forest_aborted(test.forest, NULL))
				assert_int_equal(file_case_wrong(&test), 0);
			file_case_end(&test);
		}
	}
}

#define CROWD 4U
#define CROWD_OPS 1500U

static struct {
	uint64_t seed;
	uint64_t inodes[2];
	order_u32 wrong;
} crowd;

static int crowd_step(struct rs_writer *writer, struct random_state *random)
{
	unsigned from = (unsigned)random_state_below(random, 2);
	unsigned to = (unsigned)random_state_below(random, 2);
	struct rs_file_range a = { test.roots[from], crowd.inodes[from], 0 };
	struct rs_file_range b = { test.roots[to], crowd.inodes[to], 0 };
	uint64_t length = (1 + random_state_below(random, 16)) * BLOCK;

	a.offset = random_state_below(random, 200) * BLOCK;
	b.offset = random_state_below(random, 200) * BLOCK;
	switch (random_state_below(random, 8)) {
	case 0:
		return rs_file_clone(writer, &a, length, &b) == -EROFS;
	case 1:
		return rs_file_punch(writer, a.subvol, a.inode, a.offset, length);
	case 2:
		return rs_file_fallocate(writer, a.subvol, a.inode, a.offset, length);
	case 3:
		return random_state_chance(random, 1, 20) ? rs_forest_commit(writer) : 0;
	default:
		return rs_file_write(writer, a.subvol, a.inode, a.offset, length);
	}
}

static void crowd_main(void *argument, unsigned thread)
{
	struct random_state random;
	struct rs_writer *writer;
	unsigned at;

	(void)argument;
	random_state_seed(&random, crowd.seed, thread);
	if (rs_writer_join(test.forest, &writer)) {
		order_fetch_add_relaxed(&crowd.wrong, 1);
		return;
	}
	for (at = 0; at < CROWD_OPS; at++)
		if (crowd_step(writer, &random))
			order_fetch_add_relaxed(&crowd.wrong, 1);
	rs_writer_leave(writer);
}

static void many_writers_keep_files_whole(void **state)
{
	unsigned at;

	(void)state;
	crowd.seed = threads_data_seed("file_test");
	order_store_relaxed(&crowd.wrong, 0);
	file_case_begin(&test, 2, 0);
	for (at = 0; at < 2; at++)
		crowd.inodes[at] = file_case_file(&test, test.roots[at], "f");
	threads_run(CROWD, crowd_main, NULL);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0);
	assert_int_equal(rs_forest_commit(test.writer), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(file_case_index_wrong(&test), 0);
	file_case_end(&test);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_as_the_kernels),
		cmocka_unit_test(operations_do_what_they_say),
		cmocka_unit_test(a_snapshot_shares_preallocation),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(an_overwrite_changes_one_item),
		cmocka_unit_test(large_files_go_leaf_by_leaf),
		cmocka_unit_test(without_room_nothing_changes),
		cmocka_unit_test(without_memory_files_stay_whole),
		cmocka_unit_test(many_writers_keep_files_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
