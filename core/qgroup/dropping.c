// SPDX-License-Identifier: MIT
/*
 * Subvolumes in the course of being dropped.
 *
 * The kernel takes a deleted tree apart in key order and stores how far it has
 * got: drop_level, and drop_progress, the key in the node of that level which is
 * next. In that node, pointers before the key are gone; in the nodes above it,
 * those before the one that the path takes. The nodes of the path themselves are
 * still there. (Linux, fs/btrfs/extent-tree.c, btrfs_drop_snapshot.)
 */
#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/account_impl.h"

static int path_block_add(struct account *account, uint64_t bytenr, uint8_t level,
			  uint32_t position)
{
	struct account_path_block *larger =
		alloc_resize(account->path_blocks, account->path_block_count + 1, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	account->path_blocks = larger;
	larger[account->path_block_count++] = (struct account_path_block){ .bytenr = bytenr,
									   .position = position,
									   .level = level };
	return 0;
}

/* The first pointer of `block` that is not gone; above drop_level the path takes the one before. */
static uint32_t first_left(const struct subvol *subvol, const uint8_t *block)
{
	uint32_t slot = node_lower_bound(block, &subvol->drop_progress);
	struct format_key key;

	if (node_level(block) == subvol->drop_level || slot == node_count(block))
		return slot;
	key = node_key(block, slot);
	return format_key_compare(&key, &subvol->drop_progress) ? slot : slot + 1;
}

static int reach_path(struct account *account, const struct subvol *subvol, uint8_t *block,
		      struct rs_error *error)
{
	struct run run = { subvol->position, subvol->position + 1 };
	struct node_expect expect = tree_root_expect(&subvol->root);
	int ret;

	/* Ends: each round goes one level down, and drop_level is at least 1. */
	for (;;) {
		uint32_t first;
		uint32_t slot;

		ret = image_read(account->image, &expect, 0, NULL, block, error);
		if (ret)
			return ret;
		if (path_block_add(account, expect.bytenr, expect.level, subvol->position) ||
		    !account_level(account, (uint8_t)(expect.level - 1)))
			return error_no_memory(error, "the tree blocks");
		first = first_left(subvol, block);
		for (slot = first; slot < node_count(block); slot++) {
			struct tree_block *child;

			rcu_section_enter();
			ret = account_find_child(account, block, slot, &child, error);
			rcu_section_exit();
			if (!ret && runs_add(&child->runs, run))
				ret = error_no_memory(error, "the root sets");
			if (ret)
				return ret;
		}
		if (expect.level == subvol->drop_level || !first)
			return 0;
		expect = node_child(block, first - 1, NODE_OWNER_SUBVOLUME);
	}
}

int account_reach_dropping(struct account *account, const struct subvol *subvol,
			   struct rs_error *error)
{
	uint8_t *block = image_block_alloc(account->image);
	int ret;

	if (!block)
		return error_no_memory(error, "a tree block");
	ret = reach_path(account, subvol, block, error);
	alloc_free(block);
	return ret;
}

int account_add_path_runs(struct account *account, uint64_t bytenr, uint8_t level,
			  struct runs *runs)
{
	size_t at;

	for (at = 0; at < account->path_block_count; at++) {
		struct account_path_block *path = &account->path_blocks[at];
		struct run run = { path->position, path->position + 1 };

		if (path->bytenr != bytenr || path->level != level)
			continue;
		path->counted = true;
		if (runs_add(runs, run))
			return -ENOMEM;
	}
	return 0;
}

int account_tally_paths(struct account *account)
{
	size_t at;

	for (at = 0; at < account->path_block_count; at++) {
		const struct account_path_block *path = &account->path_blocks[at];
		struct runs runs = { 0 };
		struct run single;
		const struct run *list;
		size_t count;
		int ret;

		if (path->counted)
			continue;
		/* Two deleted subvolumes may share the block: it is counted once, for both. */
		ret = account_add_path_runs(account, path->bytenr, path->level, &runs);
		count = runs_read(&runs, &single, &list);
		if (!ret)
			ret = account_tally(account, 0, list, count, 0,
					    account->image->rules.node_bytes);
		runs_clear(&runs);
		if (ret)
			return ret;
		account->tree_blocks++;
	}
	return 0;
}
