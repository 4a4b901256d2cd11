/* SPDX-License-Identifier: MIT */
/*
 * What the walk has met so far: each tree block of one level, or each data
 * extent, once, by its address, with the union of the runs of its parents.
 *
 * Who may call: adding and look-ups from any number of enrolled threads together,
 * inside an RCU section; reading a whole table when nobody adds. Progress: adding
 * to an address that is known writes one word, and only if it changes; a new
 * address takes a table shard's lock.
 */
#ifndef REFSTORM_QGROUP_EXTENTS_H
#define REFSTORM_QGROUP_EXTENTS_H

#include "core/base/idtable.h"
#include "core/base/segments.h"
#include "core/disk/node.h"
#include "core/qgroup/runs.h"
#include "refstorm/error.h"

/* A data extent. */
struct extent {
	uint64_t bytenr;
	uint64_t bytes;
	struct runs runs;
};

/* A tree block, with what its parents say of it. */
struct tree_block {
	uint64_t bytenr;
	uint64_t generation;
	struct runs runs;
	struct format_key first_key;
	bool is_root;
};

struct extent_table {
	struct idtable ids;
	struct segments extents; /* number 0 is not used */
};

struct tree_block_table {
	struct idtable ids;
	struct segments blocks; /* number 0 is not used */
};

/* 0 or -ENOMEM. */
int extent_table_init(struct extent_table *table) __attribute__((warn_unused_result));
void extent_table_destroy(struct extent_table *table);

/*
 * The extent at `bytenr`, added if it was not there; `*fresh` says which. 0,
 * -ENOMEM, -E2BIG, or -EUCLEAN if it is there with another length.
 */
int extent_table_get(struct extent_table *table, uint64_t bytenr, uint64_t bytes,
		     struct extent **extent, bool *fresh, struct rs_error *error)
	__attribute__((warn_unused_result));

static inline struct extent *extent_table_at(const struct extent_table *table, uint32_t number)
{
	return (struct extent *)segments_at(&table->extents, number);
}

/* One more than the highest number; numbers begin at 1. */
uint32_t extent_table_limit(const struct extent_table *table);

/* As above. */
int tree_block_table_init(struct tree_block_table *table) __attribute__((warn_unused_result));
void tree_block_table_destroy(struct tree_block_table *table);

/*
 * The block that `expect` speaks of. -EUCLEAN if two parents do not agree on its
 * generation or first key.
 */
int tree_block_table_get(struct tree_block_table *table, const struct node_expect *expect,
			 struct tree_block **block, struct rs_error *error)
	__attribute__((warn_unused_result));

/* NULL if there is none at that address. When nobody adds. */
struct tree_block *tree_block_table_find(const struct tree_block_table *table, uint64_t bytenr);

static inline struct tree_block *tree_block_table_at(const struct tree_block_table *table,
						     uint32_t number)
{
	return (struct tree_block *)segments_at(&table->blocks, number);
}

uint32_t tree_block_table_limit(const struct tree_block_table *table);

#endif /* REFSTORM_QGROUP_EXTENTS_H */
