// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_ledger_impl.h"
#include "tests/support/ledger_forest.h"

/* Which trees are members of a group, as bits of their places. */
static unsigned group_members(const struct ledger_forest *forest, unsigned group)
{
	unsigned members = 0;
	unsigned at;

	for (at = 0; at < forest->tree_count; at++) {
		unsigned above = forest->trees[at].parents;
		unsigned lower;

		for (lower = 0; lower < FOREST_GROUPS; lower++) {
			if (above >> lower & 1)
				above |= forest->parents[lower];
		}
		members |= (above >> group & 1) << at;
	}
	return members;
}

/* Which trees reference each extent. */
static unsigned extent_trees(const struct ledger_forest *forest, uint32_t extent)
{
	uint32_t counts[FOREST_ROOTS];
	unsigned trees = 0;
	unsigned at;

	ledger_forest_counts(forest, extent, counts);
	for (at = 0; at < forest->tree_count; at++)
		trees |= (counts[at] ? 1U : 0) << at;
	return trees;
}

static void usage_check(const struct ledger_forest *forest, const unsigned *trees, uint64_t id,
			unsigned members)
{
	struct rs_group_usage wanted = { 0 };
	struct rs_group_usage usage = { 0 };
	uint32_t extent;

	for (extent = 1; extent < forest->extent_count; extent++) {
		const struct ledger_extent *of = &forest->extents[extent];
		uint64_t rfer = trees[extent] & members ? of->bytes : 0;
		uint64_t excl = trees[extent] & ~members ? 0 : rfer;

		wanted.rfer += rfer;
		wanted.excl += excl;
		wanted.data_rfer += of->metadata ? 0 : rfer;
		wanted.data_excl += of->metadata ? 0 : excl;
	}
	assert_int_equal(live_groups_read(live_ledger_groups(forest->ledger), id, &usage), 0);
	if (usage.rfer != wanted.rfer || usage.excl != wanted.excl ||
	    usage.data_rfer != wanted.data_rfer || usage.data_excl != wanted.data_excl)
		fail_msg("group %llx: rfer %lld, should be %lld; excl %lld, should be %lld; of "
			 "data %lld, should be %lld, and %lld, should be %lld",
			 (unsigned long long)id, (long long)usage.rfer, (long long)wanted.rfer,
			 (long long)usage.excl, (long long)wanted.excl, (long long)usage.data_rfer,
			 (long long)wanted.data_rfer, (long long)usage.data_excl,
			 (long long)wanted.data_excl);
}

static uint32_t word_count(const struct live_ledger *ledger, uint32_t word, uint64_t root)
{
	struct live_cursor cursor;
	struct live_layer layer;
	uint32_t count = 0;

	live_cursor_begin(&cursor, ledger, word);
	while (live_cursor_next(&cursor, &layer)) {
		if (live_sets_has(ledger->sets, layer.set, live_roots_find(ledger, root)))
			count = layer.upto;
	}
	return count;
}

static void words_check(const struct ledger_forest *forest)
{
	struct live_ledger_figures figures;
	uint64_t layered = 0;
	uint32_t extent;
	unsigned at;

	for (extent = 1; extent < forest->extent_count; extent++) {
		uint32_t word = forest->extents[extent].word;
		uint32_t counts[FOREST_ROOTS];

		layered += (word & LIVE_WORD_LAYERED) != 0;
		if (!forest->extents[extent].bytes)
			assert_int_equal(word, LIVE_WORD_NONE);
		ledger_forest_counts(forest, extent, counts);
		for (at = 0; at < forest->tree_count; at++) {
			uint32_t count = word_count(forest->ledger, word, forest->trees[at].root);

			if (count != counts[at])
				fail_msg("extent %u: root %llu %u times, should be %u", extent,
					 (unsigned long long)forest->trees[at].root, count,
					 counts[at]);
		}
	}
	live_ledger_figures_read(forest->ledger, &figures);
	assert_int_equal(figures.layered, layered);
}

/* What a rescan would make of an extent is what the ledger has. */
static void word_made_check(const struct ledger_forest *forest, uint32_t extent)
{
	struct live_ledger *ledger = forest->ledger;
	uint32_t counts[FOREST_ROOTS];
	uint32_t word = LIVE_WORD_NONE;
	unsigned at;

	ledger_forest_counts(forest, extent, counts);
	for (at = 0; at < forest->tree_count; at++) {
		uint32_t set;

		assert_int_equal(live_ledger_set_of(ledger, forest->trees[at].root, &set), 0);
		assert_int_equal(live_ledger_word_add(ledger, &word, set, counts[at]), 0);
	}
	assert_true(live_ledger_word_same(ledger, word, forest->extents[extent].word));
	if (word != LIVE_WORD_NONE)
		assert_false(live_ledger_word_same(ledger, word, LIVE_WORD_NONE));
	live_ledger_word_drop(ledger, word);
	assert_int_equal(live_sets_settle(ledger->sets), 0);
}

static void reclaimable_check(struct ledger_forest *forest, const unsigned *trees)
{
	unsigned chosen = (unsigned)random_state_below(&forest->random, 1U << forest->tree_count);
	uint64_t roots[FOREST_ROOTS + 1];
	uint64_t wanted = 0;
	uint64_t bytes = 1;
	size_t count = 0;
	uint32_t extent;
	unsigned at;

	for (at = forest->tree_count; at--;) {
		if (chosen >> at & 1)
			roots[count++] = forest->trees[at].root;
	}
	/* One may be named twice. */
	if (count)
		roots[count++] = roots[0];
	for (extent = 1; extent < forest->extent_count; extent++)
		wanted += trees[extent] && !(trees[extent] & ~chosen) ?
				  forest->extents[extent].bytes :
				  0;
	assert_int_equal(live_ledger_reclaimable(forest->ledger, roots, count, &bytes), 0);
	assert_int_equal(bytes, wanted);
}

void ledger_forest_check(struct ledger_forest *forest)
{
	static unsigned trees[FOREST_EXTENTS];
	uint32_t extent;
	unsigned at;

	alloc_fail_pause();
	assert_int_equal(live_sets_check(forest->ledger->sets), 0);
	for (extent = 1; extent < forest->extent_count; extent++)
		trees[extent] = extent_trees(forest, extent);
	words_check(forest);
	for (at = 0; at < forest->tree_count; at++)
		usage_check(forest, trees, forest->trees[at].root, 1U << at);
	for (at = 0; at < FOREST_GROUPS; at++)
		usage_check(forest, trees, ledger_forest_group(at), group_members(forest, at));
	reclaimable_check(forest, trees);
	extent = 1 + (uint32_t)random_state_below(&forest->random, forest->extent_count - 1);
	word_made_check(forest, extent);
	alloc_fail_resume();
}
