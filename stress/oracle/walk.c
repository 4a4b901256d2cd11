/* SPDX-License-Identifier: MIT */
#include "stress/oracle/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"

struct walk_list {
	struct node_expect *blocks;
	size_t count;
	size_t capacity;
} __attribute__((aligned(ORDER_LINE)));

static struct walk_list *list_of(const struct walk *walk, unsigned level, unsigned worker)
{
	return &walk->lists[level * (walk->workers + 1) + worker];
}

int walk_init(struct walk *walk, struct reader *reader)
{
	walk->reader = reader;
	walk->workers = pool_threads(reader_pool(reader));
	walk->level = NULL;
	walk->known = 0;
	walk->lists = alloc_aligned(ORDER_LINE, (size_t)FORMAT_LEVELS * (walk->workers + 1),
				    sizeof(*walk->lists));
	return walk->lists ? 0 : -ENOMEM;
}

void walk_destroy(struct walk *walk)
{
	unsigned at;

	for (at = 0; walk->lists && at < FORMAT_LEVELS * (walk->workers + 1); at++)
		alloc_free(walk->lists[at].blocks);
	alloc_free(walk->lists);
	walk->lists = NULL;
}

static int list_add(struct walk_list *list, const struct node_expect *expect)
{
	struct node_expect *blocks =
		array_grow(list->blocks, list->count, 1, &list->capacity, sizeof(*blocks));

	if (!blocks)
		return -ENOMEM;
	list->blocks = blocks;
	list->blocks[list->count++] = *expect;
	return 0;
}

int walk_add(struct walk *walk, const struct node_expect *expect)
{
	return list_add(list_of(walk, expect->level, walk->workers), expect);
}

static struct node_expect expect_block(void *argument, uint64_t index)
{
	const struct walk *walk = argument;

	return walk->level[index];
}

static int on_block(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		    struct rs_error *error)
{
	struct walk *walk = argument;
	uint64_t owner = walk->level[index].owner;
	uint32_t slot;
	int ret = walk->block(walk->argument, worker, block, error);

	if (ret || !node_level(block))
		return ret;
	for (slot = 0; slot < node_count(block); slot++) {
		struct node_expect child = node_child(block, slot, owner);

		if (walk->descend && !walk->descend(walk->argument, worker, block, slot, error))
			continue;
		if (list_add(list_of(walk, child.level, worker), &child))
			return error_no_memory(error, "the tree blocks");
	}
	return 0;
}

static int compare_blocks(const void *a, const void *b)
{
	uint64_t left = ((const struct node_expect *)a)->bytenr;
	uint64_t right = ((const struct node_expect *)b)->bytenr;

	return left < right ? -1 : left > right;
}

/*
 * Puts the lists of one level together, in the order of addresses, each block once. Since
 * a block has one level, this is also why a walk ends, whatever leads to what.
 */
static int gather(struct walk *walk, unsigned level, uint64_t *count)
{
	uint64_t kept = 0;
	uint64_t at;
	unsigned worker;

	*count = 0;
	for (worker = 0; worker <= walk->workers; worker++)
		*count += list_of(walk, level, worker)->count;
	walk->level = alloc_array(*count, sizeof(*walk->level));
	if (!walk->level)
		return -ENOMEM;
	*count = 0;
	for (worker = 0; worker <= walk->workers; worker++) {
		struct walk_list *list = list_of(walk, level, worker);

		if (list->count)
			memcpy(walk->level + *count, list->blocks,
			       list->count * sizeof(*walk->level));
		*count += list->count;
		alloc_free(list->blocks);
		*list = (struct walk_list){ 0 };
	}
	qsort(walk->level, *count, sizeof(*walk->level), compare_blocks);
	for (at = 0; at < *count; at++)
		if (!kept || walk->level[kept - 1].bytenr != walk->level[at].bytenr)
			walk->level[kept++] = walk->level[at];
	*count = kept;
	return 0;
}

int walk_run(struct walk *walk, struct rs_error *error)
{
	struct reader_pass pass = { .argument = walk, .expect = expect_block, .block = on_block };
	unsigned level = FORMAT_LEVELS;
	int ret = 0;

	while (!ret && level--) {
		ret = gather(walk, level, &pass.count);
		if (ret)
			return error_no_memory(error, "the tree blocks");
		walk->known += pass.count;
		if (pass.count)
			ret = reader_pass(walk->reader, &pass, walk->watch, error);
		alloc_free(walk->level);
		walk->level = NULL;
	}
	return ret;
}
