/* SPDX-License-Identifier: MIT */
#include "tests/support/extent_tree.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/disk/csum.h"

static void add_leaf(struct extent_tree *tree, struct rs_image *image,
		     const struct node_expect *expect)
{
	struct extent_leaf *leaf = &tree->leaves[tree->count++];
	struct rs_error error = RS_ERROR_INIT;

	*leaf = (struct extent_leaf){
		.bytenr = expect->bytenr,
		.block = image_block_alloc(image),
		.kept = image_block_alloc(image),
	};
	if (!leaf->block || !leaf->kept || image_read(image, expect, 0, NULL, leaf->kept, &error)) {
		fprintf(stderr, "leaf of the extent tree: %s\n", error.what);
		abort();
	}
	memcpy(leaf->block, leaf->kept, tree->node_bytes);
}

void extent_tree_open(struct extent_tree *tree, struct rs_image *image)
{
	struct block_list list;
	uint32_t at;

	*tree = (struct extent_tree){
		.node_bytes = image->rules.node_bytes,
		.sector_bytes = image->rules.sector_bytes,
		.csum_type = image->rules.csum_type,
	};
	block_list_read(&list, image);
	tree->leaves = alloc_zeroed(list.count, sizeof(*tree->leaves));
	if (!tree->leaves)
		abort();
	for (at = 0; at < list.count; at++)
		if (list.blocks[at].tree == BTRFS_EXTENT_TREE_OBJECTID &&
		    !list.blocks[at].expect.level)
			add_leaf(tree, image, &list.blocks[at].expect);
	block_list_destroy(&list);
	image_writer_open(&tree->writer, image);
}

void extent_tree_close(struct extent_tree *tree)
{
	uint32_t at;

	image_writer_close(&tree->writer);
	for (at = 0; at < tree->count; at++) {
		alloc_free(tree->leaves[at].block);
		alloc_free(tree->leaves[at].kept);
	}
	alloc_free(tree->leaves);
}

uint8_t *extent_tree_change(struct extent_tree *tree, uint32_t leaf)
{
	tree->leaves[leaf].changed = true;
	return tree->leaves[leaf].block;
}

void extent_tree_write(struct extent_tree *tree, bool back)
{
	uint32_t at;

	for (at = 0; at < tree->count; at++) {
		struct extent_leaf *leaf = &tree->leaves[at];

		if (!leaf->changed)
			continue;
		csum_block_write(tree->csum_type, leaf->block, tree->node_bytes);
		image_writer_put(&tree->writer, leaf->bytenr, back ? leaf->kept : leaf->block,
				 tree->node_bytes);
	}
}

void extent_tree_forget(struct extent_tree *tree)
{
	uint32_t at;

	for (at = 0; at < tree->count; at++) {
		struct extent_leaf *leaf = &tree->leaves[at];

		if (leaf->changed)
			memcpy(leaf->block, leaf->kept, tree->node_bytes);
		leaf->changed = false;
	}
}

bool extent_key_is_item(const struct format_key *key)
{
	return key->type == BTRFS_EXTENT_ITEM_KEY || key->type == BTRFS_METADATA_ITEM_KEY;
}

struct format_key extent_tree_key(const struct extent_tree *tree, const struct extent_site *site)
{
	return node_key(tree->leaves[site->leaf].block, site->slot);
}

bool extent_tree_find(const struct extent_tree *tree, uint64_t bytenr, struct extent_site *site)
{
	const struct format_key low = { .objectid = bytenr, .type = BTRFS_EXTENT_ITEM_KEY };

	for (site->leaf = 0; site->leaf < tree->count; site->leaf++) {
		const uint8_t *block = tree->leaves[site->leaf].block;

		site->slot = node_lower_bound(block, &low);
		if (site->slot < node_count(block)) {
			struct format_key key = node_key(block, site->slot);

			if (key.objectid == bytenr)
				return extent_key_is_item(&key);
		}
	}
	return false;
}

uint64_t extent_tree_next(const struct extent_tree *tree, const struct extent_site *site)
{
	struct format_key key = extent_tree_key(tree, site);
	struct extent_site at = *site;

	for (; at.leaf < tree->count; at.leaf++, at.slot = 0) {
		const uint8_t *block = tree->leaves[at.leaf].block;

		for (; at.slot < node_count(block); at.slot++) {
			struct format_key next = node_key(block, at.slot);

			if (extent_key_is_item(&next) && next.objectid > key.objectid)
				return next.objectid;
		}
	}
	return UINT64_MAX;
}
