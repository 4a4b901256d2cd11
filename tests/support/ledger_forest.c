// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_ledger_impl.h"
#include "tests/support/ledger_forest.h"

#define FIRST_ROOT 256U

static struct live_change changes[FOREST_EXTENTS];
static struct live_delta deltas[FOREST_EXTENTS];

uint64_t ledger_forest_group(unsigned group)
{
	static const uint64_t ids[FOREST_GROUPS] = { UINT64_C(1) << 48, (UINT64_C(1) << 48) + 1,
						     UINT64_C(2) << 48 };

	return ids[group];
}

/* Whether the call has failed because an allocation did, which happens once. */
static bool failed(struct ledger_forest *forest, int ret)
{
	if (!ret)
		return false;
	if (!forest->failing || ret != -ENOMEM || !alloc_fail_count())
		fail_msg("the ledger says %d", ret);
	alloc_fail_arm(0, 0);
	forest->failing = false;
	forest->failures++;
	return true;
}

static void item(struct ledger_forest *forest, uint64_t root, uint32_t extent, int64_t count)
{
	size_t at;

	for (at = 0; at < forest->net_count; at++) {
		struct ledger_net *net = &forest->nets[at];

		if (net->root == root && net->extent == extent) {
			net->count += count;
			return;
		}
	}
	assert_true(forest->net_count < FOREST_EXTENTS);
	forest->nets[forest->net_count++] = (struct ledger_net){ extent, root, count };
}

static uint32_t fresh(struct ledger_forest *forest, bool metadata)
{
	struct ledger_extent *extent;

	assert_true(forest->extent_count < FOREST_EXTENTS);
	extent = &forest->extents[forest->extent_count];
	*extent = (struct ledger_extent){
		.bytes = metadata ? 16384 : 4096 * (1 + random_state_below(&forest->random, 8)),
		.metadata = metadata,
	};
	return forest->extent_count++;
}

static void put(struct ledger_forest *forest, struct ledger_tree *tree, unsigned key,
		uint32_t extent)
{
	if (tree->of[key])
		item(forest, tree->root, tree->of[key], -1);
	tree->of[key] = extent;
	if (extent)
		item(forest, tree->root, extent, 1);
}

void ledger_forest_counts(const struct ledger_forest *forest, uint32_t extent,
			  uint32_t counts[FOREST_ROOTS])
{
	unsigned at;
	unsigned key;

	for (at = 0; at < forest->tree_count; at++) {
		counts[at] = 0;
		for (key = 0; key < FOREST_KEYS; key++)
			counts[at] += forest->trees[at].of[key] == extent;
	}
}

static bool is_referenced(const struct ledger_forest *forest, uint32_t extent)
{
	uint32_t counts[FOREST_ROOTS];
	unsigned at;

	ledger_forest_counts(forest, extent, counts);
	for (at = 0; at < forest->tree_count; at++) {
		if (counts[at])
			return true;
	}
	return false;
}

static int net_compare(const void *a, const void *b)
{
	const struct ledger_net *first = (const struct ledger_net *)a;
	const struct ledger_net *second = (const struct ledger_net *)b;

	if (first->extent != second->extent)
		return first->extent < second->extent ? -1 : 1;
	return (first->root > second->root) - (first->root < second->root);
}

/* The changes of all extents that have some, and those that are freed; their number. */
static size_t nets_to_changes(struct ledger_forest *forest)
{
	uint32_t delta_count = 0;
	size_t change_count = 0;
	size_t at = 0;
	uint32_t extent;

	qsort(forest->nets, forest->net_count, sizeof(*forest->nets), net_compare);
	for (extent = 1; extent < forest->extent_count; extent++) {
		struct ledger_extent *of = &forest->extents[extent];
		struct live_change *change = &changes[change_count];

		*change = (struct live_change){
			.bytenr = extent,
			.bytes = of->bytes,
			.word = of->word,
			.metadata = of->metadata,
			.first = delta_count,
		};
		for (; at < forest->net_count && forest->nets[at].extent == extent; at++) {
			if (forest->nets[at].count)
				deltas[delta_count++] =
					(struct live_delta){ forest->nets[at].root,
							     forest->nets[at].count };
		}
		change->count = delta_count - change->first;
		change->gone = of->bytes && !is_referenced(forest, extent);
		if (change->gone)
			of->bytes = 0;
		change_count += change->count || change->gone;
	}
	forest->net_count = 0;
	return change_count;
}

static void begin(struct ledger_forest *forest)
{
	struct live_groups *groups = live_ledger_groups(forest->ledger);

	/* A failed one is gone on with. */
	if (failed(forest, live_groups_begin(groups)))
		assert_int_equal(live_groups_begin(groups), 0);
}

static void finish(struct ledger_forest *forest)
{
	if (!failed(forest, live_ledger_finish(forest->ledger)))
		return;
	ledger_forest_rebuild(forest);
	assert_int_equal(live_ledger_finish(forest->ledger), 0);
}

static void apply(struct ledger_forest *forest)
{
	size_t count = nets_to_changes(forest);
	struct rs_error error = { 0 };
	int ret = live_ledger_apply(forest->ledger, changes, count, deltas, &error);
	size_t at;

	if (ret && ret != -ENOMEM)
		fail_msg("%s", error.what);
	if (failed(forest, ret)) {
		assert_true(live_ledger_broken(forest->ledger));
		ledger_forest_rebuild(forest);
		return;
	}
	for (at = 0; at < count; at++) {
		forest->extents[changes[at].bytenr].word = changes[at].word;
		if (changes[at].gone)
			assert_int_equal(changes[at].word, LIVE_WORD_NONE);
	}
}

void ledger_forest_cut(struct ledger_forest *forest)
{
	begin(forest);
	apply(forest);
	finish(forest);
}

void ledger_forest_rebuild(struct ledger_forest *forest)
{
	struct live_ledger *ledger = forest->ledger;
	uint32_t counts[FOREST_ROOTS];
	uint32_t extent;
	size_t wrong;
	unsigned at;

	live_ledger_clear(ledger);
	assert_false(live_ledger_broken(ledger));
	forest->net_count = 0;
	for (extent = 1; extent < forest->extent_count; extent++) {
		struct ledger_extent *of = &forest->extents[extent];

		of->word = LIVE_WORD_NONE;
		ledger_forest_counts(forest, extent, counts);
		for (at = 0; at < forest->tree_count; at++) {
			uint32_t set;

			assert_int_equal(live_ledger_set_of(ledger, forest->trees[at].root, &set),
					 0);
			assert_int_equal(live_ledger_word_add(ledger, &of->word, set, counts[at]),
					 0);
		}
		live_ledger_move(ledger, LIVE_SET_EMPTY, live_ledger_word_set(ledger, of->word),
				 of->bytes, of->metadata);
	}
	assert_int_equal(live_ledger_recount_all(ledger, &wrong), 0);
}

static void subvol(struct ledger_forest *forest)
{
	struct ledger_tree *tree = &forest->trees[forest->tree_count];

	*tree = (struct ledger_tree){ .root = forest->next_root++ };
	if (failed(forest, live_ledger_root_add(forest->ledger, tree->root)))
		assert_int_equal(live_ledger_root_add(forest->ledger, tree->root), 0);
	forest->tree_count++;
	put(forest, tree, FOREST_NODE, fresh(forest, true));
}

/* Of its source's groups, of one group, or of none. */
static size_t snapshot_parents(struct ledger_forest *forest, const struct ledger_tree *source,
			       uint64_t *parents, unsigned *bits)
{
	unsigned kind = forest->grouped ? (unsigned)random_state_below(&forest->random, 3) : 0;
	size_t count = 0;
	unsigned group;

	*bits = kind == 1 ? 1U : 0;
	if (kind == 2)
		*bits = source->parents;
	for (group = 0; group < FOREST_GROUPS; group++) {
		if (*bits >> group & 1)
			parents[count++] = ledger_forest_group(group);
	}
	return count;
}

static void snapshot(struct ledger_forest *forest, const struct ledger_tree *source)
{
	struct ledger_tree *tree = &forest->trees[forest->tree_count];
	struct live_ledger *ledger = forest->ledger;
	uint64_t parents[FOREST_GROUPS];
	size_t count;
	int ret;

	begin(forest);
	apply(forest);
	*tree = *source;
	tree->root = forest->next_root++;
	count = snapshot_parents(forest, source, parents, &tree->parents);
	ret = live_ledger_snapshot(ledger, source->root, tree->root, parents, count);
	if (failed(forest, ret)) {
		assert_false(live_ledger_has_root(ledger, tree->root));
		if (live_ledger_broken(ledger))
			ledger_forest_rebuild(forest);
		ret = live_ledger_snapshot(ledger, source->root, tree->root, parents, count);
		assert_int_equal(ret, 0);
	}
	forest->tree_count++;
	/* The copied root node. */
	put(forest, tree, FOREST_NODE, fresh(forest, true));
	apply(forest);
	finish(forest);
}

static void drop(struct ledger_forest *forest, unsigned at)
{
	uint64_t root = forest->trees[at].root;
	bool again;

	begin(forest);
	apply(forest);
	again = failed(forest, live_ledger_drop(forest->ledger, root));
	forest->trees[at] = forest->trees[--forest->tree_count];
	if (again) {
		assert_true(live_ledger_broken(forest->ledger));
		live_ledger_clear(forest->ledger);
		assert_int_equal(live_ledger_drop(forest->ledger, root), 0);
		ledger_forest_rebuild(forest);
	}
	finish(forest);
}

static void relation_change(struct ledger_forest *forest, struct ledger_tree *tree)
{
	static const unsigned kinds[][2] = { { 3, 0 }, { 3, 1 }, { 0, 2 }, { 1, 2 }, { 3, 2 } };
	const unsigned *kind = kinds[random_state_below(&forest->random, 5)];
	struct live_groups *groups = live_ledger_groups(forest->ledger);
	bool of_tree = kind[0] == FOREST_GROUPS;
	uint64_t member = of_tree ? tree->root : ledger_forest_group(kind[0]);
	uint64_t parent = ledger_forest_group(kind[1]);
	unsigned *bits = of_tree ? &tree->parents : &forest->parents[kind[0]];
	bool is_one = *bits >> kind[1] & 1;
	int ret;

	if (random_state_chance(&forest->random, 3, 5)) {
		ret = live_groups_assign(groups, member, parent);
		if (!is_one && failed(forest, ret))
			ret = live_groups_assign(groups, member, parent);
		assert_int_equal(ret, is_one ? -EEXIST : 0);
		*bits |= 1U << kind[1];
	} else {
		ret = live_groups_unassign(groups, member, parent);
		if (is_one && failed(forest, ret))
			ret = live_groups_unassign(groups, member, parent);
		assert_int_equal(ret, is_one ? 0 : -ENOENT);
		*bits &= ~(1U << kind[1]);
	}
}

static void reflink(struct ledger_forest *forest, struct ledger_tree *tree, unsigned key)
{
	const struct ledger_tree *source =
		&forest->trees[random_state_below(&forest->random, forest->tree_count)];
	uint32_t extent = source->of[random_state_below(&forest->random, FOREST_NODE)];

	if (extent)
		put(forest, tree, key, extent);
}

void ledger_forest_step(struct ledger_forest *forest)
{
	struct random_state *random = &forest->random;
	uint64_t kind = random_state_below(random, 100);
	unsigned at = (unsigned)random_state_below(random, forest->tree_count);
	struct ledger_tree *tree = &forest->trees[at];
	unsigned key = (unsigned)random_state_below(random, FOREST_NODE);

	if (kind < 45)
		put(forest, tree, key, fresh(forest, random_state_chance(random, 1, 4)));
	else if (kind < 68)
		reflink(forest, tree, key);
	else if (kind < 75)
		put(forest, tree, key, 0);
	else if (kind < 84 && forest->tree_count < FOREST_ROOTS)
		snapshot(forest, tree);
	else if (kind < 86 && forest->tree_count < FOREST_ROOTS)
		subvol(forest);
	else if (kind < 91 && forest->tree_count > 1)
		drop(forest, at);
	else if (kind < 95 && forest->grouped)
		relation_change(forest, tree);
	else
		ledger_forest_cut(forest);
	if (!forest->net_count && kind >= 75) {
		ledger_forest_cut(forest);
		ledger_forest_check(forest);
	}
}

void ledger_forest_begin(struct ledger_forest *forest, uint64_t seed, uint64_t stream,
			 struct pool *pool, bool grouped)
{
	struct live_groups *groups;
	unsigned group;

	memset(forest, 0, sizeof(*forest));
	random_state_seed(&forest->random, seed, stream);
	assert_int_equal(live_ledger_create(pool, &forest->ledger), 0);
	forest->ledger->parallel_min = 1;
	forest->next_root = FIRST_ROOT;
	forest->extent_count = 1;
	forest->grouped = grouped;
	groups = live_ledger_groups(forest->ledger);
	for (group = 0; group < FOREST_GROUPS; group++)
		assert_int_equal(live_groups_create_group(groups, ledger_forest_group(group)), 0);
	begin(forest);
	subvol(forest);
}

void ledger_forest_end(struct ledger_forest *forest)
{
	struct live_ledger_figures figures;
	uint32_t extent;

	for (extent = 1; extent < forest->extent_count; extent++)
		live_ledger_word_drop(forest->ledger, forest->extents[extent].word);
	live_ledger_figures_read(forest->ledger, &figures);
	assert_int_equal(figures.layered, 0);
	assert_int_equal(figures.sets.unused, figures.sets.sets + figures.sets.forwarding);
	live_ledger_destroy(forest->ledger);
}
