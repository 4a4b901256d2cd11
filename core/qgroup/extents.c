// SPDX-License-Identifier: MIT
#include "core/qgroup/extents.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"

#define NUMBERS_MAX (1U << 31)

/* Both tables: number 0 stands for "none" in the id table, so it is given to nobody. */
static int table_init(struct idtable *ids, struct segments *segments, size_t element_bytes)
{
	uint32_t none;
	int ret = idtable_init(ids);

	if (ret)
		return ret;
	segments_init(segments, element_bytes, NUMBERS_MAX);
	ret = segments_reserve(segments, &none);
	if (ret) {
		segments_destroy(segments);
		idtable_destroy(ids);
	}
	return ret;
}

static int say(struct rs_error *error, int code, uint64_t bytenr)
{
	if (code == -E2BIG)
		return error_set_at(error, code, bytenr, "more than %u extents", NUMBERS_MAX);
	return error_no_memory(error, "the table of extents");
}

int extent_table_init(struct extent_table *table)
{
	return table_init(&table->ids, &table->extents, sizeof(struct extent));
}

void extent_table_destroy(struct extent_table *table)
{
	uint32_t number;

	for (number = 1; number < extent_table_limit(table); number++)
		runs_clear(&extent_table_at(table, number)->runs);
	segments_destroy(&table->extents);
	idtable_destroy(&table->ids);
}

uint32_t extent_table_limit(const struct extent_table *table)
{
	return segments_used(&table->extents);
}

static bool extent_equal(const void *context, uint32_t number, const void *key)
{
	const struct extent *wanted = (const struct extent *)key;

	return extent_table_at((const struct extent_table *)context, number)->bytenr ==
	       wanted->bytenr;
}

static int extent_make(void *context, const void *key, uint32_t *number)
{
	struct extent_table *table = (struct extent_table *)context;
	const struct extent *wanted = (const struct extent *)key;
	int ret = segments_reserve(&table->extents, number);

	if (ret)
		return ret;
	extent_table_at(table, *number)->bytenr = wanted->bytenr;
	extent_table_at(table, *number)->bytes = wanted->bytes;
	return 0;
}

int extent_table_get(struct extent_table *table, uint64_t bytenr, uint64_t bytes,
		     struct extent **extent, bool *fresh, struct rs_error *error)
{
	struct extent key = { .bytenr = bytenr, .bytes = bytes };
	uint64_t hash = idtable_hash_u64(bytenr);
	uint32_t number = idtable_find(&table->ids, hash, extent_equal, table, &key);

	*fresh = false;
	if (!number) {
		int ret = idtable_insert(&table->ids, hash, extent_equal, extent_make, table, &key,
					 &number, fresh);

		if (ret)
			return say(error, ret, bytenr);
	}
	*extent = extent_table_at(table, number);
	if ((*extent)->bytes != bytes)
		return error_set_at(error, -EUCLEAN, bytenr,
				    "file extents give the extent %" PRIu64 " and %" PRIu64
				    " bytes",
				    (*extent)->bytes, bytes);
	return 0;
}

int tree_block_table_init(struct tree_block_table *table)
{
	return table_init(&table->ids, &table->blocks, sizeof(struct tree_block));
}

void tree_block_table_destroy(struct tree_block_table *table)
{
	uint32_t number;

	for (number = 1; number < tree_block_table_limit(table); number++)
		runs_clear(&tree_block_table_at(table, number)->runs);
	segments_destroy(&table->blocks);
	idtable_destroy(&table->ids);
}

uint32_t tree_block_table_limit(const struct tree_block_table *table)
{
	return segments_used(&table->blocks);
}

static bool tree_block_equal(const void *context, uint32_t number, const void *key)
{
	const struct node_expect *wanted = (const struct node_expect *)key;

	return tree_block_table_at((const struct tree_block_table *)context, number)->bytenr ==
	       wanted->bytenr;
}

static int tree_block_make(void *context, const void *key, uint32_t *number)
{
	struct tree_block_table *table = (struct tree_block_table *)context;
	const struct node_expect *wanted = (const struct node_expect *)key;
	struct tree_block *block;
	int ret = segments_reserve(&table->blocks, number);

	if (ret)
		return ret;
	block = tree_block_table_at(table, *number);
	block->bytenr = wanted->bytenr;
	block->generation = wanted->generation;
	block->first_key = wanted->first_key;
	block->is_root = wanted->is_root;
	return 0;
}

int tree_block_table_get(struct tree_block_table *table, const struct node_expect *expect,
			 struct tree_block **block, struct rs_error *error)
{
	uint64_t hash = idtable_hash_u64(expect->bytenr);
	uint32_t number = idtable_find(&table->ids, hash, tree_block_equal, table, expect);
	bool fresh;

	if (!number) {
		int ret = idtable_insert(&table->ids, hash, tree_block_equal, tree_block_make,
					 table, expect, &number, &fresh);

		if (ret)
			return say(error, ret, expect->bytenr);
	}
	*block = tree_block_table_at(table, number);
	if ((*block)->generation != expect->generation)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "two parents give the block generations %" PRIu64
				    " and %" PRIu64,
				    (*block)->generation, expect->generation);
	if ((*block)->is_root != expect->is_root)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "block is the root of one tree and lies below another");
	if (!expect->is_root && format_key_compare(&(*block)->first_key, &expect->first_key))
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "two parents give the block different first keys");
	return 0;
}

struct tree_block *tree_block_table_find(const struct tree_block_table *table, uint64_t bytenr)
{
	struct node_expect key = { .bytenr = bytenr };
	uint32_t number;

	rcu_section_enter();
	number = idtable_find(&table->ids, idtable_hash_u64(bytenr), tree_block_equal, table, &key);
	rcu_section_exit();
	return number ? tree_block_table_at(table, number) : NULL;
}
