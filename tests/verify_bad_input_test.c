/* SPDX-License-Identifier: MIT */
/*
 * The program on images that are damaged on purpose, each with its checksums put
 * right: exit code 2 and a message with the file and the address, soon, and in
 * little memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/verify_run.h"

#define NODE 16384

static void begin(struct image_sample *sample)
{
	sample_begin(sample, NODE, IMAGE_SINGLE);
}

static void made(struct image_sample *sample)
{
	begin(sample);
	sample_finish(sample);
}

static struct btrfs_root_item *root_item(struct image_sample *sample, uint64_t id)
{
	return (void *)sample_find(image_build_root_tree(sample->build), id, BTRFS_ROOT_ITEM_KEY,
				   0);
}

static void test_good(void **state)
{
	static const enum image_profile profiles[] = { IMAGE_SINGLE, IMAGE_DUP };
	static const uint32_t node_bytes[] = { 4096, 16384, 65536 };
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		for (uint16_t type = 0; type < 4; type++) {
			sample_begin(&sample, node_bytes[i / 2], profiles[i % 2]);
			sample.build->csum_type = type;
			sample_finish(&sample);
			verify_run(&sample, "--raw");
			if (verify_result.exit_code)
				fail_msg("%s%s", verify_result.out, verify_result.err);
			assert_non_null(strstr(verify_result.out, "4 groups, 0 differ"));
			sample_free(&sample);
		}
	}
	sample_begin_simple(&sample, NODE);
	sample_finish(&sample);
	verify_run(&sample, "--raw");
	assert_int_equal(verify_result.exit_code, 0);
	assert_non_null(strstr(verify_result.out, "4 groups, 0 differ"));
	sample_free(&sample);
}

/* Each stored number of each group changed by one in turn. */
static void test_numbers(void **state)
{
	static const uint64_t groups[] = { 5, 256, 257, SAMPLE_GROUP(1, 0) };

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		struct btrfs_qgroup_info_item *info;
		struct image_sample sample;
		const char *mark;

		begin(&sample);
		if (i >= 8) {
			sample_free(&sample);
			sample_begin_simple(&sample, NODE);
		}
		sample_finish(&sample);
		info = (void *)sample_find(sample.quota_root, 0, BTRFS_QGROUP_INFO_KEY,
					   groups[i % 4]);
		if (i % 8 < 4)
			info->rfer += 1;
		else
			info->excl -= 1;
		verify_run(&sample, "--raw");
		assert_int_equal(verify_result.exit_code, 1);
		mark = strstr(verify_result.out, "DIFFERS");
		assert_non_null(mark);
		assert_null(strstr(mark + 1, "DIFFERS"));
		assert_non_null(strstr(verify_result.out, "4 groups, 1 differ"));
		sample_free(&sample);
	}
}

/* Every rule of a block's header, on every kind of tree. */
static void damage_header(uint8_t *block, unsigned which, const char **text)
{
	struct format_header *header = image_header(block);

	switch (which) {
	case 0:
		header->fsid[3] ^= 1;
		*text = "another file system";
		break;
	case 1:
		header->bytenr += 4096;
		*text = "says it is the one at";
		break;
	case 2:
		header->generation -= 1;
		*text = "generation is 99, expected 100";
		break;
	case 3:
		header->owner = 9;
		*text = "owner is tree 9";
		break;
	case 4:
		header->level += 1;
		*text = "level is";
		break;
	case 5:
		header->nritems = 10000;
		*text = "10000 items, but there is room for";
		break;
	default:
		header->nritems = UINT32_MAX;
		*text = "items, but there is room for";
	}
}

static void test_headers(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 7; which++) {
		for (unsigned tree = 0; tree < 6; tree++) {
			struct image_sample sample;
			uint8_t *blocks[6];
			const char *text;

			made(&sample);
			blocks[0] = sample.root_a;
			blocks[1] = sample.leaf_a;
			blocks[2] = sample.top;
			blocks[3] = sample.quota_root;
			blocks[4] = image_build_root_tree(sample.build);
			blocks[5] = image_build_chunk_tree(sample.build);
			damage_header(blocks[tree], which, &text);
			verify_refuse(&sample, image_build_find(sample.build, blocks[tree])->bytenr,
				      text);
		}
	}
}

static void test_checksum(void **state)
{
	struct image_sample sample;

	(void)state;
	made(&sample);
	image_build_find(sample.build, sample.leaf_b)->keep_csum = true;
	verify_refuse(&sample, image_bytenr(sample.leaf_b), "checksum does not match");
	made(&sample);
	image_build_find(sample.build, sample.leaf_b)->absent = true;
	verify_refuse(&sample, image_bytenr(sample.leaf_b), "checksum does not match");
}

static void test_pointers(void **state)
{
	struct image_sample sample;

	(void)state;
	/* A cycle: the child is the parent. */
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = image_bytenr(sample.root_a);
	verify_refuse(&sample, image_bytenr(sample.root_a), "level is 1, expected 0");
	/* Into other trees. */
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = image_bytenr(sample.quota_root);
	verify_refuse(&sample, image_bytenr(sample.quota_root),
		      "owner is tree 8, which is no subvolume");
	made(&sample);
	root_item(&sample, 8)->bytenr = image_bytenr(sample.extents);
	verify_refuse(&sample, image_bytenr(sample.extents), "owner is tree 2, expected 8");
	/* Two pointers to one block. */
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = image_bytenr(sample.leaf_a);
	verify_refuse(&sample, image_bytenr(sample.leaf_a),
		      "two parents give the block different first");
	/* Parents that disagree. */
	made(&sample);
	image_pointer_at(sample.root_b, 0)->generation = 50;
	verify_refuse(&sample, image_bytenr(sample.leaf_a),
		      "two parents give the block generations");
	/* A root that is another's child. */
	made(&sample);
	root_item(&sample, 5)->bytenr = image_bytenr(sample.leaf_a);
	verify_refuse(&sample, image_bytenr(sample.leaf_a),
		      "root of one tree and lies below another");
	/* Nowhere. */
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = UINT64_C(512) << 40;
	verify_refuse(&sample, UINT64_C(512) << 40, "lies in no chunk");
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = UINT64_MAX - 4095;
	verify_refuse(&sample, UINT64_MAX - 4095, "lies in no chunk");
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = 0;
	verify_refuse(&sample, image_bytenr(sample.root_a), "leads to 0");
	/* Where nothing is written. */
	made(&sample);
	image_pointer_at(sample.root_a, 1)->blockptr = IMAGE_DATA_AT;
	verify_refuse(&sample, IMAGE_DATA_AT, "ends at byte");
}

static void test_items(void **state)
{
	struct image_sample sample;
	unsigned which;

	(void)state;
	for (which = 0; which < 5; which++) {
		struct format_item *item;

		made(&sample);
		item = image_item_at(sample.quota_root, 1);
		if (which == 0)
			item->offset -= 1; /* a gap before, an overlap behind */
		else if (which == 1)
			item->size -= 1;
		else if (which == 2)
			item->offset = UINT32_MAX;
		else if (which == 3)
			item->size = UINT32_MAX;
		else
			item->offset = 3;
		verify_refuse(&sample, image_bytenr(sample.quota_root), "data of item 1");
	}
	made(&sample);
	image_item_at(sample.quota_root, 2)->key = image_item_at(sample.quota_root, 1)->key;
	verify_refuse(&sample, image_bytenr(sample.quota_root), "key of slot 2 is not above");
	made(&sample);
	image_item_at(sample.leaf_b, 0)->key.objectid += 1;
	verify_refuse(&sample, image_bytenr(sample.leaf_b), "is not the one its parent gives");
}

static void test_root_items(void **state)
{
	struct image_sample sample;

	(void)state;
	made(&sample);
	root_item(&sample, 256)->bytenr = 0;
	verify_refuse(&sample, sample.build->super.root, "root item of tree 256 makes no sense");
	made(&sample);
	root_item(&sample, 256)->bytenr += 1;
	verify_refuse(&sample, sample.build->super.root, "root item of tree 256 makes no sense");
	made(&sample);
	root_item(&sample, 256)->level = 8;
	verify_refuse(&sample, sample.build->super.root, "root item of tree 256 makes no sense");
	made(&sample);
	root_item(&sample, 8)->level = 255;
	verify_refuse(&sample, sample.build->super.root, "root item of tree 8 makes no sense");
	made(&sample);
	root_item(&sample, 256)->generation = 101;
	verify_refuse(&sample, sample.build->super.root, "root item of tree 256 makes no sense");
	/* A level that is not the block's. */
	made(&sample);
	root_item(&sample, 256)->level = 2;
	verify_refuse(&sample, image_bytenr(sample.root_a), "level is 1, expected 2");
	begin(&sample);
	image_items_add(&sample.build->roots, 300, BTRFS_ROOT_ITEM_KEY, 0, "short", 5);
	sample_finish(&sample);
	verify_refuse(&sample, sample.build->super.root, "root item of tree 300 has 5 bytes");
	begin(&sample);
	sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
	sample.build->roots.items[sample.build->roots.count - 1].key.offset = 7;
	sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
	sample_finish(&sample);
	verify_refuse(&sample, sample.build->super.root, "two root items for tree 300");
}

static void test_dropping(void **state)
{
	static const uint8_t levels[] = { 0, 2, 7, 8, 255 };
	struct image_sample sample;

	(void)state;
	for (unsigned i = 0; i < sizeof(levels); i++) {
		begin(&sample);
		sample_add_root(sample.build,
				&(struct sample_root){ 300, .block = sample.root_a, .deleted = true,
						       .drop_progress = { 257, 0, 108 },
						       .drop_level = levels[i] });
		sample_finish(&sample);
		verify_refuse(&sample, sample.build->super.root,
			      "level where its deletion has got to");
	}
}

static void test_names(void **state)
{
	struct btrfs_root_ref ref = { .dirid = 256, .name_len = 9 };
	struct btrfs_inode_ref inode = { .name_len = 1 };
	struct image_sample sample;

	(void)state;
	begin(&sample);
	image_items_add(&sample.build->roots, 300, BTRFS_ROOT_BACKREF_KEY, 5, &ref, sizeof(ref));
	sample_finish(&sample);
	verify_run(&sample, NULL); /* of no subvolume */
	assert_int_equal(verify_result.exit_code, 0);
	sample_free(&sample);
	begin(&sample);
	sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
	image_items_add(&sample.build->roots, 300, BTRFS_ROOT_BACKREF_KEY, 5, &ref, sizeof(ref));
	sample_finish(&sample);
	verify_refuse(&sample, sample.build->super.root, "name of tree 300 is cut off");
	begin(&sample);
	sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
	image_items_add(&sample.build->roots, 300, BTRFS_ROOT_BACKREF_KEY, 5, &ref, 5);
	sample_finish(&sample);
	verify_refuse(&sample, sample.build->super.root, "name of tree 300 is cut off");
	for (size_t bytes = 9; bytes < 11; bytes++) {
		uint8_t *top;

		begin(&sample);
		image_items_add(&sample.quota, 0, 0, 0, NULL, 0); /* nothing that matters */
		top = sample.top;
		assert_true(image_leaf_add(sample.build, top,
					   &(struct image_item){ { 300, 256, BTRFS_INODE_REF_KEY },
								 (uint8_t *)&inode,
								 (uint32_t)bytes }));
		sample_add_root(sample.build, &(struct sample_root){ 300, .block = sample.root_a });
		sample_add_name(sample.build, 300, 5, 300, "n", 1);
		sample_finish(&sample);
		verify_refuse(&sample, image_bytenr(top), "inode reference is cut off");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),       cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_headers),    cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_pointers),   cmocka_unit_test(test_items),
		cmocka_unit_test(test_root_items), cmocka_unit_test(test_dropping),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, verify_set_up, NULL) ? 1 : 0;
}
