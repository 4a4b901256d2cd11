// SPDX-License-Identifier: MIT
#include "core/disk/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"

/* Blocks of one level; the list that a worker fills is its own. */
struct block_list {
	struct node_expect *blocks;
	size_t count;
	size_t capacity;
} __attribute__((aligned(ORDER_LINE)));

struct sweep {
	uint64_t owner;
	sweep_leaf_fn *fn;
	void *argument;
	struct block_list level;  /* being read */
	struct block_list *found; /* the next level, a list for each worker */
	unsigned workers;
};

static int list_room(struct block_list *list, size_t more)
{
	struct node_expect *blocks =
		array_grow(list->blocks, list->count, more, &list->capacity, sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	list->blocks = blocks;
	return 0;
}

static struct node_expect expect_block(void *argument, uint64_t index)
{
	const struct sweep *sweep = argument;

	return sweep->level.blocks[index];
}

static int on_block(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		    struct rs_error *error)
{
	struct sweep *sweep = argument;
	struct block_list *found = &sweep->found[worker];
	uint32_t slot;

	(void)index;
	if (!node_level(block))
		return sweep->fn(sweep->argument, worker, block, error);
	if (list_room(found, node_count(block)))
		return error_no_memory(error, "the tree blocks");
	for (slot = 0; slot < node_count(block); slot++)
		found->blocks[found->count++] = node_child(block, slot, sweep->owner);
	return 0;
}

static int compare_blocks(const void *a, const void *b)
{
	uint64_t left = ((const struct node_expect *)a)->bytenr;
	uint64_t right = ((const struct node_expect *)b)->bytenr;

	return left < right ? -1 : left > right;
}

/* What the workers found becomes the level to be read. */
static int next_level(struct sweep *sweep, struct rs_error *error)
{
	struct block_list *level = &sweep->level;
	unsigned worker;
	size_t at;

	level->count = 0;
	for (worker = 0; worker < sweep->workers; worker++) {
		struct block_list *found = &sweep->found[worker];

		if (!found->count)
			continue;
		if (list_room(level, found->count))
			return error_no_memory(error, "the tree blocks");
		memcpy(level->blocks + level->count, found->blocks,
		       found->count * sizeof(*found->blocks));
		level->count += found->count;
		found->count = 0;
	}
	if (level->count)
		qsort(level->blocks, level->count, sizeof(*level->blocks), compare_blocks);
	for (at = 1; at < level->count; at++)
		if (level->blocks[at].bytenr == level->blocks[at - 1].bytenr)
			return error_set_at(error, -EUCLEAN, level->blocks[at].bytenr,
					    "two pointers of one tree lead to the block");
	return 0;
}

static int sweep_levels(struct sweep *sweep, struct reader *reader, const struct tree_root *root,
			const struct pool_watch *watch, struct rs_error *error)
{
	struct reader_pass pass = { .argument = sweep, .expect = expect_block, .block = on_block };
	int ret = list_room(&sweep->level, 1);

	if (ret)
		return error_no_memory(error, "the tree blocks");
	sweep->level.blocks[sweep->level.count++] = tree_root_expect(root);
	/* Ends: children are one level below their parent, which node_check has made sure of. */
	while (!ret && sweep->level.count) {
		pass.count = sweep->level.count;
		ret = reader_pass(reader, &pass, watch, error);
		if (!ret)
			ret = next_level(sweep, error);
	}
	return ret;
}

int sweep_tree(struct reader *reader, const struct tree_root *root, sweep_leaf_fn *fn,
	       void *argument, const struct pool_watch *watch, struct rs_error *error)
{
	struct sweep sweep = { .owner = tree_owner(root->id), .fn = fn, .argument = argument };
	unsigned worker;
	int ret;

	sweep.workers = pool_threads(reader_pool(reader));
	sweep.found = alloc_aligned(ORDER_LINE, sweep.workers, sizeof(*sweep.found));
	if (!sweep.found)
		return error_no_memory(error, "the tree blocks");
	ret = sweep_levels(&sweep, reader, root, watch, error);
	if (ret)
		error_add_place(error, "tree %" PRId64, (int64_t)root->id);
	for (worker = 0; worker < sweep.workers; worker++)
		alloc_free(sweep.found[worker].blocks);
	alloc_free(sweep.found);
	alloc_free(sweep.level.blocks);
	return ret;
}
