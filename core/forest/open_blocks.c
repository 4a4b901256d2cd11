// SPDX-License-Identifier: MIT
/* All blocks of all subvolumes of an image as buffers: level by level, each shared block once. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/disk/reader.h"
#include "core/forest/open.h"

struct block_list {
	struct node_expect *blocks;
	size_t count;
	size_t capacity;
} __attribute__((aligned(ORDER_LINE)));

struct blocks {
	struct open_work *work;
	struct block_list
		seeds; /* of all levels: where trees begin, and what is left of dropped ones */
	struct block_list level;  /* being read */
	struct block_list *found; /* the level below, a list for each worker */
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

static int list_add(struct block_list *list, const struct node_expect *expect)
{
	int ret = list_room(list, 1);

	if (!ret)
		list->blocks[list->count++] = *expect;
	return ret;
}

/* A checked block becomes a buffer, which nothing points to yet. Any thread. */
static int keep_block(struct open_work *work, const uint8_t *block, struct rs_error *error)
{
	const struct format_header *header = node_header(block);
	uint64_t bytenr = format_le64(&header->bytenr);
	struct buffer *buffer;
	int ret;

	/* Chunks may stand in the super block alone. */
	if (bytenr >= OPEN_ADDRESS_MAX)
		return error_set_at(error, -EUCLEAN, bytenr, "tree block lies beyond byte %" PRIu64,
				    OPEN_ADDRESS_MAX);
	buffer = buffer_create(&work->forest->buffers, NULL, bytenr,
			       format_le64(&header->generation), header->level);
	if (!buffer)
		return error_no_memory(error, "the tree blocks");
	memcpy(buffer->data, block, work->forest->node_bytes);
	/* Relaxed: nobody else knows it yet. */
	order_store_relaxed(&buffer->word, BUFFER_LOCK);
	ret = buffer_publish(buffer);
	if (!ret)
		return 0;
	buffer_discard(buffer);
	if (ret == -EEXIST)
		return error_set_at(error, -EUCLEAN, bytenr,
				    "a deletion has got to the block, which is not the deleted "
				    "tree's alone");
	return error_no_memory(error, "the tree blocks");
}

static struct node_expect expect_block(void *argument, uint64_t index)
{
	const struct blocks *blocks = argument;

	return blocks->level.blocks[index];
}

static int on_block(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		    struct rs_error *error)
{
	struct blocks *blocks = argument;
	struct block_list *found = &blocks->found[worker];
	uint32_t slot;
	int ret;

	(void)index;
	if (!node_level(block)) {
		ret = open_items_check(block, error);
		return ret ? ret : keep_block(blocks->work, block, error);
	}
	if (list_room(found, node_count(block)))
		return error_no_memory(error, "the tree blocks");
	for (slot = 0; slot < node_count(block); slot++)
		found->blocks[found->count++] = node_child(block, slot, NODE_OWNER_SUBVOLUME);
	return keep_block(blocks->work, block, error);
}

static int compare_blocks(const void *a, const void *b)
{
	uint64_t left = ((const struct node_expect *)a)->bytenr;
	uint64_t right = ((const struct node_expect *)b)->bytenr;

	return left < right ? -1 : left > right;
}

/* What the workers found, and the seeds of that level, in the order of addresses, each block once. */
static int gather(struct blocks *blocks, unsigned number)
{
	struct block_list *level = &blocks->level;
	size_t kept = 0;
	size_t at;

	level->count = 0;
	for (at = 0; at < blocks->workers; at++) {
		struct block_list *found = &blocks->found[at];

		if (found->count && list_room(level, found->count))
			return -ENOMEM;
		if (found->count)
			memcpy(level->blocks + level->count, found->blocks,
			       found->count * sizeof(*found->blocks));
		level->count += found->count;
		found->count = 0;
	}
	for (at = 0; at < blocks->seeds.count; at++)
		if (blocks->seeds.blocks[at].level == number &&
		    list_add(level, &blocks->seeds.blocks[at]))
			return -ENOMEM;
	if (level->count)
		qsort(level->blocks, level->count, sizeof(*level->blocks), compare_blocks);
	for (at = 0; at < level->count; at++)
		if (!kept || level->blocks[kept - 1].bytenr != level->blocks[at].bytenr)
			level->blocks[kept++] = level->blocks[at];
	level->count = kept;
	return 0;
}

static int read_levels(struct blocks *blocks, struct reader *reader, struct rs_error *error)
{
	struct reader_pass pass = { .argument = blocks, .expect = expect_block, .block = on_block };
	unsigned level = FORMAT_LEVELS;
	int ret = 0;

	while (!ret && level--) {
		if (gather(blocks, level))
			return error_no_memory(error, "the tree blocks");
		pass.count = blocks->level.count;
		if (pass.count)
			ret = reader_pass(reader, &pass, NULL, error);
		if (ret)
			error_add_place(error, "subvolume trees, level %u", level);
	}
	return ret;
}

/* The last pointer whose key is not above the progress: the next to go, or what the path takes. */
static int find_progress(const struct open_root *root, const uint8_t *block, uint32_t *slot,
			 struct rs_error *error)
{
	bool exact;
	struct format_key key;

	*slot = node_lower_bound(block, &root->drop_progress);
	exact = *slot < node_count(block);
	if (exact) {
		key = node_key(block, *slot);
		exact = !format_key_compare(&key, &root->drop_progress);
	}
	if (exact)
		return 0;
	if (!*slot || node_level(block) == root->drop_level)
		return error_set_at(error, -EUCLEAN, format_le64(&node_header(block)->bytenr),
				    "the deletion of the tree has got to a key that is not there");
	--*slot;
	return 0;
}

static int add_gap(struct open_work *work, uint64_t bytenr, uint32_t first)
{
	struct open_gap *gaps =
		array_grow(work->gaps, work->gap_count, 1, &work->gap_capacity, sizeof(*gaps));

	if (!gaps)
		return -ENOMEM;
	work->gaps = gaps;
	gaps[work->gap_count++] = (struct open_gap){ bytenr, first };
	return 0;
}

/*
 * A tree in the course of being dropped. The kernel takes it apart in the order of keys and stores
 * how far it has got: drop_level, and drop_progress, the key in the node of that level which is next.
 * Pointers before it are gone, in the nodes above those before the one that the path takes. The
 * path itself is there, and is read here. (Linux, fs/btrfs/extent-tree.c, btrfs_drop_snapshot.)
 */
static int read_path(struct blocks *blocks, const struct open_root *root, uint8_t *block,
		     struct rs_error *error)
{
	struct open_work *work = blocks->work;
	struct node_expect expect = tree_root_expect(&root->tree);

	/* Ends: each round goes one level down, and drop_level is at least 1. */
	for (;;) {
		bool last = expect.level == root->drop_level;
		uint32_t first;
		uint32_t slot;
		int ret = image_read(work->image, &expect, 0, NULL, block, error);

		if (!ret)
			ret = keep_block(work, block, error);
		if (!ret)
			ret = find_progress(root, block, &first, error);
		if (ret)
			return ret;
		if (add_gap(work, expect.bytenr, first))
			return error_no_memory(error, "the tree blocks");
		for (slot = last ? first : first + 1; slot < node_count(block); slot++) {
			struct node_expect child = node_child(block, slot, NODE_OWNER_SUBVOLUME);

			if (list_add(&blocks->seeds, &child))
				return error_no_memory(error, "the tree blocks");
		}
		if (last)
			return 0;
		expect = node_child(block, first, NODE_OWNER_SUBVOLUME);
	}
}

static int compare_gaps(const void *a, const void *b)
{
	uint64_t left = ((const struct open_gap *)a)->bytenr;
	uint64_t right = ((const struct open_gap *)b)->bytenr;

	return left < right ? -1 : left > right;
}

uint32_t open_blocks_first(const struct open_work *work, const struct buffer *buffer)
{
	struct open_gap wanted = { .bytenr = buffer->bytenr };
	const struct open_gap *gap = NULL;

	if (work->gap_count)
		gap = bsearch(&wanted, work->gaps, work->gap_count, sizeof(wanted), compare_gaps);
	return gap ? gap->first : 0;
}

static int plant_seeds(struct blocks *blocks, struct rs_error *error)
{
	struct open_work *work = blocks->work;
	uint8_t *block = image_block_alloc(work->image);
	size_t at;
	int ret = 0;

	if (!block)
		return error_no_memory(error, "a tree block");
	for (at = 0; !ret && at < work->root_count; at++) {
		const struct open_root *root = &work->roots[at];
		struct node_expect expect = tree_root_expect(&root->tree);

		if (root->dropping)
			ret = read_path(blocks, root, block, error);
		else if (list_add(&blocks->seeds, &expect))
			ret = error_no_memory(error, "the tree blocks");
		if (ret)
			error_add_place(error, "tree %" PRIu64, root->tree.id);
	}
	if (work->gap_count)
		qsort(work->gaps, work->gap_count, sizeof(*work->gaps), compare_gaps);
	alloc_free(block);
	return ret;
}

static int read_all(struct blocks *blocks, struct reader *reader, struct rs_error *error)
{
	unsigned worker;
	int ret;

	blocks->found = alloc_aligned(ORDER_LINE, blocks->workers, sizeof(*blocks->found));
	if (!blocks->found)
		return error_no_memory(error, "the tree blocks");
	ret = plant_seeds(blocks, error);
	if (!ret)
		ret = read_levels(blocks, reader, error);
	for (worker = 0; worker < blocks->workers; worker++)
		alloc_free(blocks->found[worker].blocks);
	alloc_free(blocks->found);
	alloc_free(blocks->seeds.blocks);
	alloc_free(blocks->level.blocks);
	return ret;
}

int open_blocks_read(struct open_work *work, struct rs_error *error)
{
	struct blocks blocks = { .work = work };
	struct reader *reader;
	struct pool *pool;
	int ret = pool_create(0, &pool, error);

	if (ret)
		return ret;
	blocks.workers = pool_threads(pool);
	ret = reader_create(work->image, pool, READER_IO_AUTO, &reader, error);
	if (!ret) {
		ret = read_all(&blocks, reader, error);
		reader_destroy(reader);
	}
	pool_destroy(pool);
	return ret;
}
