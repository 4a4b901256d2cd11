/* SPDX-License-Identifier: MIT */
/*
 * Trees by brute force beside a live ledger: per root a map from keys to extents, counted anew
 * for each check. The words of extents are kept here, as an index of extents would.
 */
#ifndef REFSTORM_TEST_LEDGER_FOREST_H
#define REFSTORM_TEST_LEDGER_FOREST_H

#include "core/base/random.h"
#include "core/qgroup/live_ledger.h"

#define FOREST_ROOTS 12U
#define FOREST_KEYS 13U /* the last is the root node */
#define FOREST_NODE (FOREST_KEYS - 1)
#define FOREST_EXTENTS 4096U
#define FOREST_GROUPS 3U /* 1/0, 1/1, 2/0 */

struct ledger_tree {
	uint64_t root;            /* 0: none */
	uint32_t of[FOREST_KEYS]; /* extents; 0: none */
	unsigned parents;         /* bits of groups */
};

struct ledger_extent {
	uint64_t bytes; /* 0: freed */
	uint32_t word;
	bool metadata;
	bool counted; /* its word may be something else than none */
};

struct ledger_net {
	uint32_t extent;
	uint64_t root;
	int64_t count;
};

struct ledger_forest {
	struct random_state random;
	struct live_ledger *ledger;
	struct ledger_tree trees[FOREST_ROOTS];
	unsigned tree_count;
	unsigned parents[FOREST_GROUPS]; /* of groups above level 0 */
	bool grouped;
	uint64_t next_root;
	struct ledger_extent extents[FOREST_EXTENTS];
	uint32_t extent_count;
	struct ledger_net nets[FOREST_EXTENTS];
	size_t net_count;
	bool failing; /* allocations fail: accounts are mended where they do */
	unsigned failures;
};

/* `pool` may be NULL. With a first subvolume. */
void ledger_forest_begin(struct ledger_forest *forest, uint64_t seed, uint64_t stream,
			 struct pool *pool, bool grouped);
/* Gives up all words, and asserts that nothing is held then. */
void ledger_forest_end(struct ledger_forest *forest);

/* One random operation. */
void ledger_forest_step(struct ledger_forest *forest);
void ledger_forest_cut(struct ledger_forest *forest);
/* Fails the test if the ledger is not equal to what the trees say. Behind a cut. */
void ledger_forest_check(struct ledger_forest *forest);
/* All from the trees: what is pending is counted with it. */
void ledger_forest_rebuild(struct ledger_forest *forest);

/* How often each tree has the extent, by the trees' places. */
void ledger_forest_counts(const struct ledger_forest *forest, uint32_t extent,
			  uint32_t counts[FOREST_ROOTS]);
uint64_t ledger_forest_group(unsigned group);

#endif /* REFSTORM_TEST_LEDGER_FOREST_H */
