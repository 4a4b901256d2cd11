/* SPDX-License-Identifier: MIT */
/*
 * The program on images whose blocks are sound and whose contents are not: data
 * extents, quota groups, names and ancestors. Refused where a number would be
 * wrong; otherwise bounded in time and memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/verify_run.h"

#define NODE 16384
#define CHAIN 20000
#ifdef NDEBUG
#define GROUP_LEVELS 60000
#else
#define GROUP_LEVELS 20000 /* the time grows with the square */
#endif

static void made(struct image_sample *sample)
{
	sample_begin(sample, NODE, IMAGE_SINGLE);
	sample_finish(sample);
}

static struct btrfs_file_extent_item *file_extent(uint8_t *leaf)
{
	return (void *)image_data_at(leaf, 0);
}

static void test_file_extents(void **state)
{
	static const uint64_t lengths[] = {
		0, 1, 4095, UINT64_C(1) << 31, UINT64_C(1) << 62, UINT64_MAX, UINT64_MAX - 4095
	};
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		made(&sample);
		file_extent(sample.leaf_b)->disk_num_bytes = lengths[i];
		verify_refuse(&sample, SAMPLE_EXTENT_B, "bytes makes no sense");
	}
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = SAMPLE_EXTENT_B + 1;
	verify_refuse(&sample, SAMPLE_EXTENT_B + 1, "bytes makes no sense");
	made(&sample);
	file_extent(sample.leaf_b)->type = 3;
	verify_refuse(&sample, image_bytenr(sample.leaf_b), "of unknown type 3");
	/* In no chunk, in one for metadata, and half in one. */
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = UINT64_C(1) << 60;
	verify_refuse(&sample, UINT64_C(1) << 60, "lies in no data chunk");
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = IMAGE_METADATA_AT;
	verify_refuse(&sample, IMAGE_METADATA_AT, "lies in no data chunk");
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = IMAGE_DATA_AT + IMAGE_DATA_BYTES - 4096;
	verify_refuse(&sample, IMAGE_DATA_AT + IMAGE_DATA_BYTES - 4096, "lies in no data chunk");
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = UINT64_MAX - 4095;
	verify_refuse(&sample, UINT64_MAX - 4095, "makes no sense");
	/* Another length for an extent that is known. */
	made(&sample);
	file_extent(sample.leaf_b)->disk_bytenr = SAMPLE_EXTENT_A;
	verify_refuse(&sample, SAMPLE_EXTENT_A, "file extents give the extent");
}

static void test_file_extent_sizes(void **state)
{
	static const uint8_t zero[64];
	struct image_sample sample;

	(void)state;
	for (unsigned bytes = 0; bytes < 60; bytes++) {
		struct image_items items = { 0 };
		uint8_t data[64];
		uint8_t *leaf;

		memcpy(data, zero, sizeof(data));
		if (bytes > 20)
			data[20] = BTRFS_FILE_EXTENT_REG;
		sample_begin(&sample, NODE, IMAGE_SINGLE);
		image_items_add(&items, 300, BTRFS_EXTENT_DATA_KEY, 0, data, bytes);
		leaf = image_build_tree(sample.build, 300, &items, 0, 0);
		image_items_free(&items);
		sample_add_root(sample.build, &(struct sample_root){ 300, .block = leaf });
		sample_finish(&sample);
		if (bytes == sizeof(struct btrfs_file_extent_item)) {
			verify_run(&sample, NULL); /* a hole */
			assert_int_equal(verify_result.exit_code, 0);
			sample_free(&sample);
			continue;
		}
		verify_refuse(&sample, image_bytenr(leaf), "is not what its type needs");
	}
}

static void test_quota_items(void **state)
{
	struct image_sample sample;

	(void)state;
	for (size_t bytes = 0; bytes < sizeof(struct btrfs_qgroup_info_item); bytes += 13) {
		static const uint8_t zero[64];

		sample_begin(&sample, NODE, IMAGE_SINGLE);
		image_items_add(&sample.quota, 0, BTRFS_QGROUP_INFO_KEY, 999, zero, bytes);
		sample_finish(&sample);
		verify_refuse(&sample, image_bytenr(sample.quota_root), "group has");
		sample_begin(&sample, NODE, IMAGE_SINGLE);
		image_items_add(&sample.quota, 0, BTRFS_QGROUP_STATUS_KEY, 1, zero, bytes % 32);
		sample_finish(&sample);
		verify_refuse(&sample, image_bytenr(sample.quota_root), "quota status");
	}
	made(&sample);
	*sample_find(sample.quota_root, 0, BTRFS_QGROUP_STATUS_KEY, 0) = 2;
	verify_refuse(&sample, image_bytenr(sample.quota_root), "is of version 2");
}

static void test_relations(void **state)
{
	static const uint64_t pairs[][2] = {
		{ 256, 257 },
		{ 256, 256 },
		{ SAMPLE_GROUP(1, 0), SAMPLE_GROUP(1, 1) },
		{ SAMPLE_GROUP(65535, 1), SAMPLE_GROUP(65535, 2) },
	};
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		sample_begin(&sample, NODE, IMAGE_SINGLE);
		sample_add_relation(&sample.quota, pairs[i][0], pairs[i][1]);
		sample_finish(&sample);
		if (pairs[i][0] == pairs[i][1]) /* both ends are one key */
			verify_refuse(&sample, VERIFY_NO_ADDRESS, "key of slot");
		else
			verify_refuse(&sample, image_bytenr(sample.quota_root),
				      "which is not of a higher level");
	}
	sample_begin(&sample, NODE, IMAGE_SINGLE);
	image_items_add(&sample.quota, 256, BTRFS_QGROUP_RELATION_KEY, 256, NULL, 0);
	sample_finish(&sample);
	verify_refuse(&sample, image_bytenr(sample.quota_root), "which is not of a higher level");
	/* To a group that is not there: a warning. */
	sample_begin(&sample, NODE, IMAGE_SINGLE);
	sample_add_relation(&sample.quota, 257, SAMPLE_GROUP(7, 7));
	sample_finish(&sample);
	verify_run(&sample, NULL);
	assert_int_equal(verify_result.exit_code, 0);
	assert_non_null(strstr(verify_result.err, "1 relations of quota groups name a group"));
	sample_free(&sample);
}

/* Levels of groups, each in the one above it. */
static void deep_groups(uint64_t levels, bool simple)
{
	struct image_sample sample;
	uint64_t below = SAMPLE_GROUP(1, 0);

	if (simple)
		sample_begin_simple(&sample, NODE);
	else
		sample_begin(&sample, NODE, IMAGE_SINGLE);
	for (uint64_t level = 2; level < levels; level++) {
		uint64_t whole = 5 * NODE + SAMPLE_BYTES_A + SAMPLE_BYTES_B + SAMPLE_BYTES_C;

		sample_add_group(&sample.quota, SAMPLE_GROUP(level, 3), whole, whole);
		sample_add_relation(&sample.quota, below, SAMPLE_GROUP(level, 3));
		below = SAMPLE_GROUP(level, 3);
	}
	sample_finish(&sample);
	verify_run(&sample, NULL);
	assert_int_equal(verify_result.exit_code, 0);
	sample_free(&sample);
}

static void test_deep_groups(void **state)
{
	(void)state;
	deep_groups(GROUP_LEVELS, false);
	deep_groups(60000, true);
}

static void test_names(void **state)
{
	static const char *const names[] = { "", "a/b", "/", "a\0b", "\0" };
	static const size_t bytes[] = { 0, 3, 1, 3, 1 };
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		sample_begin(&sample, NODE, IMAGE_SINGLE);
		sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
		sample_add_name(sample.build, 300, 5, 256, names[i], bytes[i]);
		sample_finish(&sample);
		verify_refuse(&sample, sample.build->super.root, "is no file name");
		/* Of a directory that two subvolumes stand in. */
		sample_begin(&sample, NODE, IMAGE_SINGLE);
		for (uint64_t id = 300; id < 302; id++) {
			sample_add_root(sample.build,
					&(struct sample_root){ id, .block = sample.root_a });
			sample_add_name(sample.build, id, 5, 400, "x", 1);
		}
		struct image_items top = { 0 };

		sample_add_inode_ref(&top, 400, 256, names[i], bytes[i]);
		assert_true(image_leaf_add(sample.build, sample.top, &top.items[0]));
		image_items_free(&top);
		sample_finish(&sample);
		verify_refuse(&sample, image_bytenr(sample.top), "is no file name");
	}
}

/* `count` subvolumes of one block each, in the directory `inode` of parent(number). */
static void many_subvols(struct image_sample *sample, unsigned count, uint64_t inode,
			 uint64_t (*parent)(unsigned number), const char *name)
{
	struct image_items items = { 0 };

	/* Directories that go in a circle. */
	sample_add_inode_ref(&items, 400, 401, "n", 1);
	sample_add_inode_ref(&items, 401, 400, "n", 1);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *leaf = image_build_tree(sample->build, 1000 + i, &items, 0, 0);

		sample_add_root(sample->build, &(struct sample_root){ 1000 + i, .block = leaf });
		sample_add_name(sample->build, 1000 + i, parent(i), inode, name, strlen(name));
	}
	image_items_free(&items);
	sample_finish(sample);
}

static uint64_t parent_before(unsigned number)
{
	return number ? 999 + number : 5;
}

static uint64_t parent_itself(unsigned number)
{
	return 1000 + number;
}

static uint64_t parent_neighbour(unsigned number)
{
	return (1000 + number) ^ 1;
}

static uint64_t parent_gone(unsigned number)
{
	(void)number;
	return 777;
}

static void test_paths(void **state)
{
	static uint64_t (*const parents[])(unsigned number) = { parent_before, parent_itself,
								parent_neighbour, parent_gone };
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		sample_begin(&sample, 4096, IMAGE_SINGLE);
		many_subvols(&sample, i < 4 ? CHAIN : 2000, i < 4 ? 256 : 400, parents[i % 4], "n");
		verify_run(&sample, NULL);
		if (verify_result.exit_code)
			fail_msg("case %u: %s", i, verify_result.err);
		sample_free(&sample);
	}
}

/* A chain that is long and sensible keeps its paths. */
static void test_path_depth(void **state)
{
	struct image_sample sample;

	(void)state;
	sample_begin(&sample, 4096, IMAGE_SINGLE);
	many_subvols(&sample, 300, 256, parent_before, "abc");
	verify_run(&sample, NULL);
	assert_int_equal(verify_result.exit_code, 0);
	assert_string_equal(verify_result.err, "");
	for (unsigned i = 0; i < 300; i += 99) {
		char line[2048];
		size_t used = 0;

		for (unsigned j = 0; j <= i && used < sizeof(line) - 8; j++)
			used += (size_t)snprintf(line + used, sizeof(line) - used, "%s",
						 j ? "/abc" : " abc");
		snprintf(line + used, sizeof(line) - used, "\n");
		assert_non_null(strstr(verify_result.out, line));
	}
	sample_free(&sample);
}

/* Uuids: circles, all the same, and each its own ancestor. */
static void test_ancestors(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 5; kind++) {
		struct image_sample sample;
		struct image_items items = { 0 };

		sample_begin(&sample, 4096, IMAGE_SINGLE);
		sample_add_inode_ref(&items, 256, 256, "..", 2);
		for (unsigned i = 0; i < 3000; i++) {
			const uint8_t *leaf =
				image_build_tree(sample.build, 1000 + i, &items, 0, 0);
			struct sample_root root = { 1000 + i, .block = leaf };

			root.uuid = (uint8_t)(kind == 0 ? i : kind == 1 ? 7 : 1 + i % 250);
			root.parent_uuid = (uint8_t)(kind == 0 ? i + 1 :
						     kind == 1 ? 7 :
						     kind == 2 ? root.uuid :
						     kind == 3 ? 1 + (i + 1) % 250 :
								 255);
			root.created = kind == 4 ? UINT64_MAX : i * 37 % 11;
			sample_add_root(sample.build, &root);
		}
		image_items_free(&items);
		sample_finish(&sample);
		verify_run(&sample, NULL);
		if (verify_result.exit_code)
			fail_msg("kind %u: %s", kind, verify_result.err);
		sample_free(&sample);
	}
}

static void test_simple_extents(void **state)
{
	struct image_sample sample;
	struct format_item *item;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint8_t *refs;

		sample_begin_simple(&sample, NODE);
		sample_finish(&sample);
		refs = image_data_at(sample.extents, 1) + sizeof(struct btrfs_extent_item);
		*refs = i == 0 ? 0 : i == 1 ? BTRFS_EXTENT_DATA_REF_KEY : 255;
		verify_refuse(&sample, SAMPLE_EXTENT_B, "inline references of the extent item");
	}
	sample_begin_simple(&sample, NODE);
	item = image_item_at(sample.extents, 2);
	item->offset += 20;
	item->size -= 20;
	sample_finish(&sample);
	verify_refuse(&sample, SAMPLE_EXTENT_C, "extent item has 13 bytes");
	static const uint64_t lengths[] = { 0, 1, UINT64_MAX - 4095, UINT64_C(1) << 40 };

	for (unsigned i = 0; i < 4; i++) {
		sample_begin_simple(&sample, NODE);
		image_item_at(sample.extents, 1)->key.offset = lengths[i];
		sample_finish(&sample);
		verify_refuse(&sample, SAMPLE_EXTENT_B, "bytes makes no sense");
	}
	/* No extent tree. */
	sample_begin_simple(&sample, NODE);
	for (size_t i = 0; i < sample.build->roots.count; i++)
		if (sample.build->roots.items[i].key.objectid == BTRFS_EXTENT_TREE_OBJECTID)
			sample.build->roots.items[i].key.objectid = BTRFS_DEV_TREE_OBJECTID;
	sample_finish(&sample);
	verify_refuse(&sample, VERIFY_NO_ADDRESS, "there is no extent tree");
}

/* Two pointers of the extent tree lead to one leaf. */
static void test_simple_double(void **state)
{
	struct image_sample sample;
	uint8_t *node;

	(void)state;
	sample_begin_simple(&sample, NODE);
	node = image_build_block(sample.build, BTRFS_EXTENT_TREE_OBJECTID, 1);
	image_node_add(node, sample.extents);
	image_node_add(node, sample.extents);
	image_pointer_at(node, 1)->key.objectid += 1;
	for (size_t i = 0; i < sample.build->roots.count; i++) {
		struct btrfs_root_item *item = (void *)sample.build->roots.items[i].data;

		if (sample.build->roots.items[i].key.objectid != BTRFS_EXTENT_TREE_OBJECTID)
			continue;
		item->bytenr = image_bytenr(node);
		item->level = 1;
	}
	sample_finish(&sample);
	verify_refuse(&sample, image_bytenr(sample.extents), "two pointers of one tree lead to");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_extents),  cmocka_unit_test(test_file_extent_sizes),
		cmocka_unit_test(test_quota_items),   cmocka_unit_test(test_relations),
		cmocka_unit_test(test_deep_groups),   cmocka_unit_test(test_names),
		cmocka_unit_test(test_paths),         cmocka_unit_test(test_path_depth),
		cmocka_unit_test(test_ancestors),     cmocka_unit_test(test_simple_extents),
		cmocka_unit_test(test_simple_double),
	};

	return cmocka_run_group_tests(tests, verify_set_up, NULL) ? 1 : 0;
}
