/* SPDX-License-Identifier: MIT */
/* Damaged images are refused as forests, with the address, and never more than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/disk/csum.h"
#include "core/qgroup/subvol.h"
#include "tests/support/corruption.h"
#include "tests/support/extent_tree.h"
#include "tests/support/fixture.h"
#include "tests/support/forest_opening.h"
#include "tests/support/leaf_edit.h"
#include "tests/support/threads.h"

#define CORRUPTIONS 100U

/* A fixture whose extent tree is changed, and the item that is changed in it. */
struct damage {
	struct fixture fixture;
	struct extent_tree tree;
	struct extent_site site;
	uint64_t bytenr;
	struct btrfs_extent_item *item;
	uint8_t *leaf;
};

static void damage_begin(struct damage *damage)
{
	fixture_open(&damage->fixture, "snapshots");
	extent_tree_open(&damage->tree, damage->fixture.image);
}

static bool is_top_node(const struct damage *damage, uint64_t bytenr)
{
	struct rs_error error = RS_ERROR_INIT;
	struct subvol_list list;
	bool found;

	assert_int_equal(subvol_list_read(damage->fixture.image, &list, &error), 0);
	found = subvol_list_find(&list, BTRFS_FS_TREE_OBJECTID)->root.bytenr == bytenr;
	subvol_list_destroy(&list);
	return found;
}

/* The item of the top level's root node, or of the first data extent, not the first of its leaf. */
static void damage_find(struct damage *damage, bool data)
{
	struct extent_site *site = &damage->site;

	for (site->leaf = 0; site->leaf < damage->tree.count; site->leaf++) {
		const uint8_t *leaf = damage->tree.leaves[site->leaf].block;

		for (site->slot = 1; site->slot < node_count(leaf); site->slot++) {
			struct format_key key = extent_tree_key(&damage->tree, site);

			if (key.type != (data ? BTRFS_EXTENT_ITEM_KEY : BTRFS_METADATA_ITEM_KEY) ||
			    (!data && !is_top_node(damage, key.objectid)))
				continue;
			damage->bytenr = key.objectid;
			damage->leaf = extent_tree_change(&damage->tree, site->leaf);
			damage->item =
				(struct btrfs_extent_item *)leaf_data(damage->leaf, site->slot);
			return;
		}
	}
	fail_msg("no such extent");
}

/* Written, it is refused; then it is as it was. */
static void damage_refused(struct damage *damage, uint64_t address, const char *text)
{
	extent_tree_write(&damage->tree, false);
	opening_refused(damage->fixture.image, -EUCLEAN, address, text);
	extent_tree_write(&damage->tree, true);
	extent_tree_forget(&damage->tree);
	rs_forest_destroy(opening_well(damage->fixture.image));
}

static void damage_end(struct damage *damage)
{
	extent_tree_close(&damage->tree);
	fixture_close(&damage->fixture);
}

static void test_extents(void **state)
{
	struct format_key key;
	struct damage damage;

	(void)state;
	damage_begin(&damage);
	damage_find(&damage, false);
	leaf_remove(damage.leaf, damage.tree.node_bytes, damage.site.slot);
	damage_refused(&damage, damage.bytenr, "has no extent item");
	damage_find(&damage, false);
	leaf_put64(&damage.item->refs, 0);
	damage_refused(&damage, damage.bytenr, "0 references");
	damage_find(&damage, false);
	leaf_put64(&damage.item->refs, 2);
	damage_refused(&damage, damage.bytenr, "2 references");
	damage_find(&damage, false);
	key = extent_tree_key(&damage.tree, &damage.site);
	key.offset ^= 1;
	leaf_key_set(damage.leaf, damage.site.slot, &key);
	damage_refused(&damage, damage.bytenr, "another level");
	damage_find(&damage, false);
	leaf_put64(&damage.item->flags, BTRFS_EXTENT_FLAG_DATA);
	damage_refused(&damage, damage.bytenr, "makes no sense");
	damage_find(&damage, true);
	leaf_remove(damage.leaf, damage.tree.node_bytes, damage.site.slot);
	damage_refused(&damage, 0, "");
	damage_find(&damage, true);
	key = extent_tree_key(&damage.tree, &damage.site);
	key.offset += 1;
	leaf_key_set(damage.leaf, damage.site.slot, &key);
	damage_refused(&damage, damage.bytenr, "makes no sense");
	damage_find(&damage, true);
	key = extent_tree_key(&damage.tree, &damage.site);
	key.offset = FORMAT_EXTENT_BYTES_MAX;
	leaf_key_set(damage.leaf, damage.site.slot, &key);
	damage_refused(&damage, 0, "");
	damage_end(&damage);
}

/* Each block of the subvolumes' trees, gone. */
static void test_gone_block(void **state)
{
	struct image_writer writer;
	struct block_list list;
	struct fixture fixture;
	uint8_t *zero;
	unsigned refused = 0;

	(void)state;
	fixture_open(&fixture, "snapshots");
	block_list_read(&list, fixture.image);
	image_writer_open(&writer, fixture.image);
	zero = calloc(1, fixture.image->rules.node_bytes);
	assert_non_null(zero);
	for (uint32_t at = 0; at < list.count; at++) {
		const struct listed_block *block = &list.blocks[at];
		struct rs_error error = RS_ERROR_INIT;
		struct rs_forest *forest;
		uint8_t *kept;

		if (!format_is_subvolume(block->tree))
			continue;
		kept = image_block_alloc(fixture.image);
		assert_non_null(kept);
		assert_int_equal(image_read(fixture.image, &block->expect, 0, NULL, kept, &error),
				 0);
		image_writer_put(&writer, block->expect.bytenr, zero,
				 fixture.image->rules.node_bytes);
		assert_int_equal(rs_forest_open(fixture.image, &opening_at_rest, &forest, &error),
				 -EUCLEAN);
		assert_int_equal(error.address, block->expect.bytenr);
		image_writer_put(&writer, block->expect.bytenr, kept,
				 fixture.image->rules.node_bytes);
		alloc_free(kept);
		refused++;
	}
	assert_true(refused > 3);
	rs_forest_destroy(opening_well(fixture.image));
	free(zero);
	image_writer_close(&writer);
	block_list_destroy(&list);
	fixture_close(&fixture);
}

/* The first leaf of a subvolume's tree that has items of that type, and is or is not below a node. */
static uint8_t *find_leaf(const struct fixture *fixture, const struct block_list *list,
			  uint8_t type, bool below, uint32_t *slot)
{
	uint8_t *leaf = image_block_alloc(fixture->image);
	struct rs_error error = RS_ERROR_INIT;

	assert_non_null(leaf);
	for (uint32_t at = 0; at < list->count; at++) {
		const struct listed_block *block = &list->blocks[at];

		if (block->expect.level || !format_is_subvolume(block->tree) ||
		    (below && block->parent == BLOCK_LIST_NO_PARENT))
			continue;
		assert_int_equal(image_read(fixture->image, &block->expect, 0, NULL, leaf, &error),
				 0);
		for (*slot = 0; *slot < node_count(leaf); ++*slot)
			if (node_item(leaf, *slot)->key.type == type)
				return leaf;
	}
	fail_msg("no item of type %u", type);
	return NULL;
}

static void write_block(const struct image_writer *writer, uint8_t *block)
{
	const struct node_rules *rules = &writer->image->rules;

	csum_block_write(rules->csum_type, block, rules->node_bytes);
	image_writer_put(writer, format_le64(&node_header(block)->bytenr), block,
			 rules->node_bytes);
}

/* With the item's data cut to `bytes`; `text` NULL: not cut, and another key, above the next leaf's. */
static void refuse_leaf(const char *name, uint8_t type, uint32_t bytes, const char *text)
{
	struct image_writer writer;
	struct block_list list;
	struct fixture fixture;
	uint8_t *leaf;
	uint32_t slot = 0;

	fixture_open(&fixture, name);
	block_list_read(&list, fixture.image);
	image_writer_open(&writer, fixture.image);
	leaf = find_leaf(&fixture, &list, type, !text, &slot);
	if (text) {
		leaf_replace(leaf, fixture.image->rules.node_bytes, slot, NULL, bytes);
	} else {
		struct format_key key = { .objectid = UINT64_MAX };

		leaf_key_set(leaf, node_count(leaf) - 1, &key);
	}
	write_block(&writer, leaf);
	opening_refused(fixture.image, -EUCLEAN, format_le64(&node_header(leaf)->bytenr),
			text ? text : "above the next block's first");
	alloc_free(leaf);
	image_writer_close(&writer);
	block_list_destroy(&list);
	fixture_close(&fixture);
}

static void test_leaves(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t bytes;
		const char *text;
	} cases[] = {
		{ BTRFS_INODE_ITEM_KEY, 159, "inode of item" },
		{ BTRFS_INODE_REF_KEY, 9, "inode reference of item" },
		{ BTRFS_INODE_REF_KEY, 11, "inode reference of item" },
		{ BTRFS_INODE_REF_KEY, 0, "inode reference of item" },
		{ BTRFS_DIR_ITEM_KEY, 29, "directory entry of item" },
		{ BTRFS_DIR_INDEX_KEY, 30, "directory entry of item" },
		{ BTRFS_EXTENT_DATA_KEY, 20, "file extent of item" },
		{ BTRFS_EXTENT_DATA_KEY, 52, "file extent of item" },
	};

	(void)state;
	for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++)
		refuse_leaf("snapshots", cases[at].type, cases[at].bytes, cases[at].text);
	refuse_leaf("deep", BTRFS_INODE_ITEM_KEY, 0, NULL);
}

/* Opened or refused, and nothing else. */
static void corrupt_fixture(const char *name, uint64_t seed, unsigned *opened, unsigned *refused)
{
	const char *paths[FIXTURE_DEVICES_MAX];
	struct corruption corruption;
	struct fixture fixture;

	fixture_open(&fixture, name);
	for (size_t at = 0; at < fixture.count; at++)
		paths[at] = fixture.paths[at];
	corruption_open(&corruption, paths, fixture.count);
	for (unsigned round = 0; round < CORRUPTIONS; round++) {
		struct rs_error error = RS_ERROR_INIT;
		struct rs_forest *forest = NULL;
		struct rs_image *image;

		corruption_make(&corruption, seed + round);
		if (!rs_image_open(paths, fixture.count, &image, &error)) {
			if (!rs_forest_open(image, &opening_at_rest, &forest, &error))
				(*opened)++;
			else
				(*refused)++;
			rs_forest_destroy(forest);
			rs_image_close(image);
		}
		corruption_undo_all(&corruption);
	}
	corruption_close(&corruption);
	rs_forest_destroy(opening_well(fixture.image));
	fixture_close(&fixture);
}

static void test_corrupted(void **state)
{
	uint64_t seed = threads_data_seed("corruptions");
	unsigned opened = 0;
	unsigned refused = 0;

	(void)state;
	corrupt_fixture("nodes-4k", seed, &opened, &refused);
	corrupt_fixture("half-dropped-shared", seed, &opened, &refused);
	print_message("%u opened, %u refused\n", opened, refused);
	assert_true(opened > 0);
	assert_true(refused > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_gone_block),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_corrupted),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
