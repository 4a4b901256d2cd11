/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/forest/buffer_pool.h"
#include "core/base/alloc.h"
#include "tests/support/file_case.h"

static struct file_case test;

/* As btrfs-progs prints them of an image that the kernel made. */
static void hashes_are_the_kernels(void **state)
{
	static const struct {
		const char *name;
		uint32_t hash;
	} known[] = {
		{ "q", 3692755107U }, { "b", 3742682168U }, { "d2", 49442246U },
		{ "e", 199141587U },  { "f", 411982631U },  { "c", 763318075U },
		{ "p", 779189152U },  { "i", 1184720643U }, { "j", 1439536375U },
		{ "o", 1614577899U },
	};
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(known) / sizeof(known[0]); at++)
		assert_int_equal(inode_name_hash(known[at].name, strlen(known[at].name)),
				 known[at].hash);
}

static void names_are_checked(void **state)
{
	char longest[258];
	uint64_t inode;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[255] = 0;
	assert_true(inode_name_valid(longest));
	longest[255] = 'x';
	longest[256] = 0;
	assert_false(inode_name_valid(longest));
	assert_false(inode_name_valid(""));
	assert_false(inode_name_valid("."));
	assert_false(inode_name_valid(".."));
	assert_false(inode_name_valid("a/b"));
	assert_true(inode_name_valid("..."));
	file_case_begin(&test, 1, 0);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], longest, true, &inode), -EINVAL);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], ".."), -EINVAL);
	longest[255] = 0;
	assert_int_equal(rs_file_find(test.writer, test.roots[0], longest, true, &inode), 0);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], longest), 0);
	file_case_end(&test);
}

/* How many items of the type the inode or directory has; the data of the last is copied. */
static unsigned items_of(uint64_t objectid, uint8_t type, uint64_t *offset, uint8_t *data,
			 uint32_t *bytes)
{
	const struct format_key first = { .objectid = objectid, .type = type };
	struct rs_subvol *root = test.roots[0];
	struct btree_path path;
	unsigned count = 0;
	bool more;

	btree_find(root, &first, &path);
	for (more = btree_settle(root, &path); more; more = btree_next(root, &path)) {
		struct format_key key = node_key(btree_leaf(&path), path.slots[0]);

		if (key.objectid != objectid || key.type != type)
			break;
		*offset = key.offset;
		*bytes = node_item_bytes(btree_leaf(&path), path.slots[0]);
		memcpy(data, node_item_data(btree_leaf(&path), path.slots[0]), *bytes);
		count++;
	}
	return count;
}

static uint64_t directory_size(void)
{
	struct inode directory;

	assert_int_equal(inode_read(test.roots[0], INODE_ROOT, &directory), 0);
	assert_int_equal(directory.mode, S_IFDIR | 0755);
	return directory.size;
}

static void a_file_has_its_items(void **state)
{
	const struct btrfs_inode_ref *ref;
	const struct btrfs_dir_item *entry;
	uint8_t data[4096];
	struct inode inode;
	struct format_key location;
	uint64_t number;
	uint64_t offset;
	uint32_t bytes;

	(void)state;
	file_case_begin(&test, 1, 0);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], "abc", false, &number), -ENOENT);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], "abc", true, &number), 0);
	assert_int_equal(number, 257);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], "abc", true, &number), 0);
	assert_int_equal(number, 257);
	assert_int_equal(inode_read(test.roots[0], 257, &inode), 0);
	assert_int_equal(inode.mode, S_IFREG | 0600);
	assert_int_equal(inode.links, 1);
	assert_int_equal(inode.size, 0);
	assert_int_equal(items_of(257, BTRFS_INODE_REF_KEY, &offset, data, &bytes), 1);
	ref = (const void *)data;
	assert_int_equal(offset, 256);
	assert_int_equal(bytes, 13);
	assert_int_equal(format_le64(&ref->index), 2);
	assert_int_equal(format_le16(&ref->name_len), 3);
	assert_memory_equal(data + sizeof(*ref), "abc", 3);
	assert_int_equal(items_of(256, BTRFS_DIR_ITEM_KEY, &offset, data, &bytes), 1);
	entry = (const void *)data;
	assert_int_equal(offset, inode_name_hash("abc", 3));
	location = format_key_read(&entry->location);
	assert_int_equal(location.objectid, 257);
	assert_int_equal(location.type, BTRFS_INODE_ITEM_KEY);
	assert_int_equal(entry->type, BTRFS_FT_REG_FILE);
	assert_int_equal(bytes, 33);
	assert_memory_equal(data + sizeof(*entry), "abc", 3);
	assert_int_equal(items_of(256, BTRFS_DIR_INDEX_KEY, &offset, data, &bytes), 1);
	assert_int_equal(offset, 2);
	assert_int_equal(directory_size(), 6);
	file_case_end(&test);
}

static void what_is_unlinked_leaves_nothing(void **state)
{
	uint8_t data[4096];
	struct inode inode;
	uint64_t number;
	uint64_t offset;
	uint32_t bytes;
	uint8_t type;

	(void)state;
	file_case_begin(&test, 1, 0);
	file_case_file(&test, test.roots[0], "one");
	number = file_case_file(&test, test.roots[0], "two");
	assert_int_equal(rs_file_write(test.writer, test.roots[0], number, 0, 8192), 0);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], "two"), 0);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], "two"), -ENOENT);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], "two", false, &number), -ENOENT);
	assert_int_equal(inode_read(test.roots[0], 258, &inode), -ENOENT);
	assert_int_equal(rs_file_write(test.writer, test.roots[0], 258, 0, 4096), -ENOENT);
	for (type = 0; type < 255; type++)
		assert_int_equal(items_of(258, type, &offset, data, &bytes), 0);
	assert_int_equal(items_of(256, BTRFS_DIR_INDEX_KEY, &offset, data, &bytes), 1);
	assert_int_equal(directory_size(), 6);
	/* Numbers of inodes are not used again; the index is one behind the last. */
	assert_int_equal(file_case_file(&test, test.roots[0], "two"), 259);
	assert_int_equal(items_of(256, BTRFS_DIR_INDEX_KEY, &offset, data, &bytes), 2);
	assert_int_equal(offset, 3);
	assert_int_equal(file_case_wrong(&test), 0);
	file_case_end(&test);
}

#define COLLIDE_NAMES 400000U

struct collide {
	uint32_t hash;
	uint32_t number;
};

static int collide_compare(const void *a, const void *b)
{
	const struct collide *one = a;
	const struct collide *two = b;

	return (one->hash > two->hash) - (one->hash < two->hash);
}

/* Among so many names some have one hash; two are enough here. */
static void collide_names(char *first, char *second, size_t bytes)
{
	struct collide *all = calloc(COLLIDE_NAMES, sizeof(*all));
	uint32_t at;

	assert_non_null(all);
	for (at = 0; at < COLLIDE_NAMES; at++) {
		/* Scattered: crc does not let short names that differ in few bits meet. */
		snprintf(first, bytes, "%08x%08x", at * 2654435761U, at * at * 40503U + at);
		all[at] = (struct collide){ inode_name_hash(first, strlen(first)), at };
	}
	qsort(all, COLLIDE_NAMES, sizeof(*all), collide_compare);
	for (at = 1; at < COLLIDE_NAMES; at++)
		if (all[at].hash == all[at - 1].hash)
			break;
	assert_true(at < COLLIDE_NAMES);
	snprintf(first, bytes, "%08x%08x", all[at - 1].number * 2654435761U,
		 all[at - 1].number * all[at - 1].number * 40503U + all[at - 1].number);
	snprintf(second, bytes, "%08x%08x", all[at].number * 2654435761U,
		 all[at].number * all[at].number * 40503U + all[at].number);
	free(all);
}

static void names_of_one_hash_share_an_item(void **state)
{
	char one[32];
	char two[32];
	uint8_t data[4096];
	uint64_t inode;
	uint64_t first;
	uint64_t second;
	uint64_t offset;
	uint32_t bytes;

	(void)state;
	collide_names(one, two, sizeof(one));
	file_case_begin(&test, 1, 0);
	first = file_case_file(&test, test.roots[0], one);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], two, false, &inode), -ENOENT);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], two), -ENOENT);
	second = file_case_file(&test, test.roots[0], two);
	assert_int_not_equal(first, second);
	assert_int_equal(items_of(256, BTRFS_DIR_ITEM_KEY, &offset, data, &bytes), 1);
	assert_int_equal(bytes, 2 * (30 + 16));
	assert_int_equal(rs_file_find(test.writer, test.roots[0], one, false, &inode), 0);
	assert_int_equal(inode, first);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], one), 0);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], one, false, &inode), -ENOENT);
	assert_int_equal(rs_file_find(test.writer, test.roots[0], two, false, &inode), 0);
	assert_int_equal(inode, second);
	assert_int_equal(items_of(256, BTRFS_DIR_ITEM_KEY, &offset, data, &bytes), 1);
	assert_int_equal(bytes, 30 + 16);
	assert_int_equal(rs_file_unlink(test.writer, test.roots[0], two), 0);
	assert_int_equal(items_of(256, BTRFS_DIR_ITEM_KEY, &offset, data, &bytes), 0);
	file_case_end(&test);
}

static void many_names(void **state)
{
	char name[16];
	uint64_t inode;
	unsigned at;

	(void)state;
	file_case_begin(&test, 1, 0);
	for (at = 0; at < 600; at++) {
		snprintf(name, sizeof(name), "f%u", at);
		assert_int_equal(file_case_file(&test, test.roots[0], name), 257 + at);
	}
	for (at = 0; at < 600; at += 2) {
		snprintf(name, sizeof(name), "f%u", at);
		assert_int_equal(rs_file_unlink(test.writer, test.roots[0], name), 0);
	}
	for (at = 0; at < 600; at++) {
		snprintf(name, sizeof(name), "f%u", at);
		assert_int_equal(rs_file_find(test.writer, test.roots[0], name, false, &inode),
				 at % 2 ? 0 : -ENOENT);
		if (at % 2)
			assert_int_equal(inode, 257 + at);
	}
	assert_int_equal(rs_forest_commit(test.writer), 0);
	assert_int_equal(file_case_wrong(&test), 0);
	file_case_end(&test);
}

/* Each allocation fails once: the file is there or not, or the forest is aborted. */
static void without_memory_it_is_all_or_nothing(void **state)
{
	uint64_t inode;
	uint64_t nth;
	int ret = -1;

	(void)state;
	/* Each tree block is an allocation that can fail. */
	buffer_pool_keep_apart(true);
	for (nth = 1; ret; nth++) {
		assert_true(nth < 200);
		file_case_begin(&test, 1, 0);
		alloc_fail_arm(nth, 0);
		ret = rs_file_find(test.writer, test.roots[0], "x", true, &inode);
		if (!ret && alloc_fail_count())
			ret = 1;
		alloc_fail_arm(0, 0);
		if (ret < 0 && !rs_forest_aborted(test.forest, NULL))
			assert_int_equal(rs_file_find(test.writer, test.roots[0], "x", false,
						      &inode),
					 -ENOENT);
		file_case_end(&test);
	}
	assert_true(nth > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_the_kernels),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_file_has_its_items),
		cmocka_unit_test(what_is_unlinked_leaves_nothing),
		cmocka_unit_test(names_of_one_hash_share_an_item),
		cmocka_unit_test(many_names),
		cmocka_unit_test(without_memory_it_is_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
