/* SPDX-License-Identifier: MIT */
/*
 * Items that only images have: inline, compressed, explicit holes. They are put into trees by
 * hand.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/forest/trans.h"
#include "tests/support/file_case.h"

#define BLOCK UINT64_C(4096)
#define INLINE_BYTES 100U

static struct file_case test;
static struct rs_subvol *root;
static uint64_t number;

/* An item as an image may have it, and the inode to go with it. Its extent gets no reference. */
static void item_put(const struct file_extent *extent, uint64_t size, uint64_t nbytes)
{
	struct format_key key = { .objectid = number, .type = BTRFS_EXTENT_DATA_KEY };
	struct btree_path path;
	struct file file;

	key.offset = extent->offset;
	assert_int_equal(file_begin(&file, test.writer, root, number), 0);
	assert_int_equal(file_reserve(&file), 0);
	assert_int_equal(btree_insert(test.writer, root, &key, FILE_ITEM_BYTES, &path), 0);
	file_extent_write(btree_item(&path), extent);
	file.inode.size = size;
	file.inode.nbytes = nbytes;
	assert_int_equal(file_end(&file, 0), 0);
}

static void case_begin(void)
{
	file_case_begin(&test, 1, 0);
	root = test.roots[0];
	number = file_case_file(&test, root, "a");
}

static uint64_t bytes_of(uint64_t inode)
{
	struct inode sizes;

	assert_int_equal(inode_read(root, inode, &sizes), 0);
	return sizes.nbytes;
}

static void inline_put(void)
{
	const struct file_extent extent = {
		.ram_bytes = INLINE_BYTES,
		.type = BTRFS_FILE_EXTENT_INLINE,
	};

	item_put(&extent, INLINE_BYTES, INLINE_BYTES);
}

static void inline_items_are_copied_and_replaced(void **state)
{
	struct rs_file_range from = { 0 };
	struct rs_file_range to = { 0 };
	struct file_extent items[4];
	struct inode sizes;

	(void)state;
	case_begin();
	inline_put();
	from.subvol = to.subvol = root;
	from.inode = number;
	to.inode = file_case_file(&test, root, "b");
	to.offset = 2 * BLOCK;
	assert_int_equal(rs_file_clone(test.writer, &from, 2 * BLOCK, &to), -EINVAL);
	assert_int_equal(rs_file_clone(test.writer, &from, BLOCK, &to), 0);
	assert_int_equal(file_case_items(root, to.inode, items, 4), 1);
	assert_int_equal(items[0].type, BTRFS_FILE_EXTENT_REG);
	assert_int_equal(items[0].offset, 2 * BLOCK);
	assert_int_equal(items[0].bytes, BLOCK);
	assert_int_equal(items[0].length, BLOCK);
	assert_int_equal(inode_read(root, to.inode, &sizes), 0);
	assert_int_equal(sizes.size, 2 * BLOCK + INLINE_BYTES);
	/* The end of a file inside a block may not come into the middle of another. */
	to.offset = 0;
	assert_int_equal(rs_file_clone(test.writer, &from, BLOCK, &to), -EINVAL);
	assert_int_equal(rs_file_fallocate(test.writer, root, number, 0, 2 * BLOCK), 0);
	assert_int_equal(file_case_items(root, number, items, 4), 2);
	assert_int_equal(items[0].type, BTRFS_FILE_EXTENT_INLINE);
	assert_int_equal(bytes_of(number), INLINE_BYTES + BLOCK);
	assert_int_equal(rs_file_write(test.writer, root, number, 0, BLOCK), 0);
	assert_int_equal(file_case_items(root, number, items, 4), 2);
	assert_int_equal(items[0].type, BTRFS_FILE_EXTENT_REG);
	assert_int_equal(bytes_of(number), 2 * BLOCK);
	assert_int_equal(rs_file_punch(test.writer, root, number, 0, 2 * BLOCK), 0);
	assert_int_equal(rs_file_truncate(test.writer, root, to.inode, 0), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	inline_put();
	assert_int_equal(rs_file_truncate(test.writer, root, number, 0), 0);
	assert_int_equal(file_case_items(root, number, items, 4), 0);
	assert_int_equal(bytes_of(number), 0);
	file_case_end(&test);
}

/* Holes that are items get no reference, count for nothing, and are filled. */
static void explicit_holes_are_holes(void **state)
{
	const struct file_extent hole = {
		.length = 8 * BLOCK,
		.ram_bytes = 8 * BLOCK,
		.type = BTRFS_FILE_EXTENT_REG,
	};
	struct file_extent items[8];

	(void)state;
	case_begin();
	item_put(&hole, 8 * BLOCK, 0);
	assert_int_equal(rs_file_write(test.writer, root, number, 2 * BLOCK, BLOCK), 0);
	assert_int_equal(file_case_items(root, number, items, 8), 3);
	assert_int_equal(items[2].offset, 3 * BLOCK);
	assert_int_equal(items[2].inside, 0);
	assert_int_equal(bytes_of(number), BLOCK);
	assert_int_equal(rs_file_fallocate(test.writer, root, number, 0, 8 * BLOCK), 0);
	assert_int_equal(file_case_items(root, number, items, 8), 3);
	assert_int_equal(items[0].type, BTRFS_FILE_EXTENT_PREALLOC);
	assert_int_equal(items[2].bytes, 5 * BLOCK);
	assert_int_equal(bytes_of(number), 8 * BLOCK);
	assert_int_equal(file_case_wrong(&test), 0);
	file_case_end(&test);
}

/* Offsets and lengths are of what is stored in it, its size on disk is not touched. */
static void compressed_items_are_cut(void **state)
{
	struct file_extent items[8];
	struct btree_path path;
	struct file file;
	size_t item;

	(void)state;
	case_begin();
	assert_int_equal(rs_file_write(test.writer, root, number, 0, BLOCK), 0);
	assert_int_equal(file_begin(&file, test.writer, root, number), 0);
	assert_int_equal(file_case_items(root, number, items, 8), 1);
	items[0].compression = 1;
	items[0].length = items[0].ram_bytes = 8 * BLOCK;
	assert_int_equal(file_extent_change(&file, 0, &path), 0);
	file_extent_write(btree_item(&path), &items[0]);
	file.inode.size = file.inode.nbytes = 8 * BLOCK;
	assert_int_equal(file_end(&file, 0), 0);
	assert_int_equal(rs_file_write(test.writer, root, number, 3 * BLOCK, 2 * BLOCK), 0);
	assert_int_equal(rs_file_defrag(test.writer, root, number), 0);
	assert_int_equal(file_case_items(root, number, items, 8), 3);
	for (item = 0; item < 3; item += 2) {
		assert_int_equal(items[item].bytes, BLOCK);
		assert_int_equal(items[item].ram_bytes, 8 * BLOCK);
		assert_int_equal(items[item].compression, 1);
		assert_int_equal(items[item].length, 3 * BLOCK);
		assert_int_equal(items[item].inside, item ? 5 * BLOCK : 0);
	}
	assert_int_equal(items[1].compression, 0);
	assert_int_equal(bytes_of(number), 8 * BLOCK);
	assert_int_equal(rs_file_truncate(test.writer, root, number, 0), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	assert_int_equal(rs_forest_commit(test.writer), 0);
	assert_int_equal(file_case_index_wrong(&test), 0);
	file_case_end(&test);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inline_items_are_copied_and_replaced),
		cmocka_unit_test(explicit_holes_are_holes),
		cmocka_unit_test(compressed_items_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
