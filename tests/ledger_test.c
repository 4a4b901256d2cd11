/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/ledger.h"
#include "tests/support/bitmap.h"
#include "tests/support/threads.h"

#define ROOTS_MAX 60
#define EXTENTS_MAX 400
#define TALLIES 5
#define GROUPS_MAX 120
#define FIRST_ID 256

/* Bitmaps here are of roots, by number: root n is subvolume FIRST_ID + n. */
struct extent {
	struct bitmap roots;
	uint64_t data;
	uint64_t metadata;
};

struct plain_group {
	uint64_t id;
	struct bitmap members; /* roots */
};

struct population {
	struct subvol subvols[ROOTS_MAX];
	uint32_t elements[2 * ROOTS_MAX];
	struct subvol_list list;
	unsigned roots;
	struct extent extents[EXTENTS_MAX];
	unsigned extent_count;
	struct plain_group plain[GROUPS_MAX];
	unsigned plain_count;

	struct rootset_table sets;
	struct ledger_tally tallies[TALLIES];
	struct group_table groups;
};

static uint64_t group_id(uint64_t level, uint64_t number)
{
	return level << GROUP_LEVEL_SHIFT | number;
}

/* Families and snapshots of any root, some of which are dropped again before the positions are given. */
static void make_lineage(struct population *all, struct random_state *random)
{
	struct lineage *lineage = &all->list.lineage;
	uint32_t element[ROOTS_MAX];
	uint32_t at;

	assert_int_equal(lineage_init(lineage), 0);
	for (at = 0; at < all->roots; at++) {
		uint64_t source = random_state_below(random, at + 1);
		uint32_t dropped;

		if (!at || random_state_chance(random, 1, 6))
			assert_int_equal(lineage_add_family(lineage, FIRST_ID + at, &element[at]),
					 0);
		else
			assert_int_equal(lineage_add_snapshot(lineage,
							      element[source == at ? 0 : source],
							      FIRST_ID + at, &element[at]),
					 0);
		if (!random_state_chance(random, 1, 4))
			continue;
		assert_int_equal(lineage_add_snapshot(lineage, element[at], 1, &dropped), 0);
		lineage_remove(lineage, dropped);
	}
	all->list.elements = all->elements;
	for (at = lineage_next(lineage, LINEAGE_NONE); at; at = lineage_next(lineage, at)) {
		uint64_t root = lineage_root(lineage, at);

		if (root != LINEAGE_END)
			all->subvols[root - FIRST_ID].position = all->list.positions;
		all->elements[all->list.positions++] = at;
	}
}

static void make_subvols(struct population *all, struct random_state *random)
{
	unsigned at;

	all->roots = 1 + (unsigned)random_state_below(random, ROOTS_MAX);
	for (at = 0; at < all->roots; at++)
		all->subvols[at].root.id = FIRST_ID + at;
	all->list.subvols = all->subvols;
	all->list.count = all->roots;
	make_lineage(all, random);
}

/* Interned as the accounting does it: maximal runs of positions, their ends as lineage elements. */
static uint32_t intern(struct population *all, const struct bitmap *roots)
{
	struct bitmap positions = { { 0 } };
	struct run runs[BITMAP_BITS / 2];
	uint32_t boundaries[BITMAP_BITS];
	unsigned count;
	unsigned at;
	uint32_t id;

	for (at = 0; at < all->roots; at++)
		if (bitmap_has(roots, at))
			bitmap_set(&positions, all->subvols[at].position);
	count = bitmap_runs(&positions, runs);
	for (at = 0; at < count; at++) {
		boundaries[at * 2] = all->elements[runs[at].begin];
		boundaries[at * 2 + 1] = all->elements[runs[at].end];
	}
	assert_int_equal(rootset_intern(&all->sets, boundaries, count * 2, &id), 0);
	return id;
}

/* Extents of random sets; a third repeats a set, some belong to nobody, some have no bytes. */
static void make_extents(struct population *all, struct random_state *random)
{
	unsigned at;

	assert_int_equal(rootset_table_init(&all->sets), 0);
	all->extent_count = (unsigned)random_state_below(random, EXTENTS_MAX);
	for (at = 0; at < all->extent_count; at++) {
		struct extent *extent = &all->extents[at];
		uint64_t bytes = random_state_below(random, 5) * 4096;

		bitmap_random(random, all->roots, &extent->roots);
		if (at && random_state_chance(random, 1, 3))
			extent->roots = all->extents[random_state_below(random, at)].roots;
		if (random_state_chance(random, 1, 20))
			memset(&extent->roots, 0, sizeof(extent->roots));
		if (random_state_chance(random, 1, 3))
			extent->metadata = bytes;
		else
			extent->data = bytes;
		assert_int_equal(ledger_add(&all->tallies[random_state_below(random, TALLIES)],
					    intern(all, &extent->roots), extent->data,
					    extent->metadata),
				 0);
	}
}

static struct plain_group *add_group(struct population *all, uint64_t id)
{
	struct plain_group *plain = &all->plain[all->plain_count++];

	assert_true(all->plain_count <= GROUPS_MAX);
	assert_non_null(group_table_add(&all->groups, id));
	plain->id = id;
	return plain;
}

/*
 * Most roots have a group of level 0, and there are some of no root. Three levels
 * above it, whose groups have any number of members of all levels below, or none.
 */
static void make_groups(struct population *all, struct random_state *random)
{
	unsigned level;
	unsigned at;

	for (at = 0; at < all->roots; at++)
		if (random_state_chance(random, 9, 10))
			bitmap_set(&add_group(all, FIRST_ID + at)->members, at);
	for (at = 0; at < 3; at++)
		add_group(all, FIRST_ID + ROOTS_MAX + at);
	for (level = 1; level <= 3; level++) {
		unsigned below = all->plain_count;
		unsigned groups = (unsigned)random_state_below(random, 8);

		for (at = 0; at < groups; at++) {
			struct plain_group *parent = add_group(all, group_id(level, at));
			uint64_t members =
				random_state_below(random, random_state_below(random, 30) + 1);

			while (members--) {
				struct plain_group *member =
					&all->plain[random_state_below(random, below)];

				assert_int_equal(group_table_relate(&all->groups, member->id,
								    parent->id),
						 0);
				bitmap_add(&parent->members, &member->members);
			}
		}
	}
}

static void population_make(struct population *all, struct random_state *random)
{
	size_t dangling;

	memset(all, 0, sizeof(*all));
	make_subvols(all, random);
	make_extents(all, random);
	make_groups(all, random);
	assert_int_equal(group_table_sort(&all->groups, &dangling), 0);
	assert_int_equal(dangling, 0);
}

static void population_destroy(struct population *all)
{
	unsigned at;

	for (at = 0; at < TALLIES; at++)
		alloc_free(all->tallies[at].entries);
	group_table_destroy(&all->groups);
	rootset_table_destroy(&all->sets);
	lineage_destroy(&all->list.lineage);
}

/* Over all extents and bitmaps, with nothing of the ledger. */
static struct group_count brute_force(const struct population *all, const struct bitmap *members)
{
	struct group_count count = { 0 };
	unsigned at;

	for (at = 0; at < all->extent_count; at++) {
		const struct extent *extent = &all->extents[at];

		if (!bitmap_meets(&extent->roots, members))
			continue;
		count.rfer += extent->data + extent->metadata;
		count.data_rfer += extent->data;
		if (!bitmap_within(&extent->roots, members))
			continue;
		count.excl += extent->data + extent->metadata;
		count.data_excl += extent->data;
	}
	return count;
}

static void check_groups(const struct population *all)
{
	unsigned at;

	assert_int_equal(all->groups.count, all->plain_count);
	for (at = 0; at < all->plain_count; at++) {
		const struct plain_group *plain = &all->plain[at];
		const struct group *group = group_table_find(&all->groups, plain->id);
		struct group_count wanted = brute_force(all, &plain->members);

		assert_non_null(group);
		if (memcmp(&group->count, &wanted, sizeof(wanted)) != 0)
			fail_msg("group %u/%llu: rfer %llu excl %llu data %llu %llu, should be "
				 "%llu %llu %llu %llu",
				 group_level(plain->id),
				 (unsigned long long)group_number(plain->id),
				 (unsigned long long)group->count.rfer,
				 (unsigned long long)group->count.excl,
				 (unsigned long long)group->count.data_rfer,
				 (unsigned long long)group->count.data_excl,
				 (unsigned long long)wanted.rfer, (unsigned long long)wanted.excl,
				 (unsigned long long)wanted.data_rfer,
				 (unsigned long long)wanted.data_excl);
	}
}

static uint64_t total(const struct population *all)
{
	uint64_t sum = 0;
	unsigned at;

	for (at = 0; at < all->extent_count; at++)
		if (bitmap_count(&all->extents[at].roots))
			sum += all->extents[at].data + all->extents[at].metadata;
	return sum;
}

static struct population population;

static void ledger_against_brute_force(void **state)
{
	static const unsigned threads[] = { 1, 2, 5 };
	struct random_state random;
	struct pool *pools[3];
	unsigned round;
	unsigned at;

	(void)state;
	rcu_thread_enroll();
	random_state_seed(&random, threads_data_seed("ledger_against_brute_force"), 0);
	for (at = 0; at < 3; at++)
		assert_int_equal(pool_create(threads[at], &pools[at], NULL), 0);
	for (round = 0; round < 300; round++) {
		uint32_t limit;

		population_make(&population, &random);
		limit = rootset_limit(&population.sets);
		assert_int_equal(ledger_sum(population.tallies, TALLIES, limit), 0);
		assert_int_equal(ledger_total(population.tallies, limit), total(&population));
		/* Each count begins anew. */
		for (at = 0; at < 3; at++) {
			assert_int_equal(ledger_count_groups(population.tallies, &population.sets,
							     &population.list, &population.groups,
							     pools[at]),
					 0);
			check_groups(&population);
		}
		population_destroy(&population);
	}
	for (at = 0; at < 3; at++)
		pool_destroy(pools[at]);
	rcu_thread_leave();
}

/* The numbers of each set are those of all tallies, however unlike their sizes are. */
static void ledger_sums_tallies(void **state)
{
	const uint32_t sets = 3000;
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("ledger_sums_tallies"), 0);
	for (round = 0; round < 40; round++) {
		struct ledger_entry *wanted = calloc(sets, sizeof(*wanted));
		struct ledger_tally tallies[TALLIES] = { { 0 } };
		unsigned adds = (unsigned)random_state_below(&random, 4000);
		uint32_t at;

		assert_non_null(wanted);
		while (adds--) {
			uint64_t tally = random_state_below(&random, TALLIES);
			uint32_t set = (uint32_t)random_state_below(&random, sets >> tally * 3);
			uint64_t data = random_state_next(&random) >> 20;
			uint64_t metadata = random_state_next(&random) >> 20;

			/* Tally 4 is never used. */
			if (tally == 4)
				continue;
			assert_int_equal(ledger_add(&tallies[tally], set, data, metadata), 0);
			wanted[set].data += data;
			wanted[set].metadata += metadata;
		}
		assert_int_equal(ledger_sum(tallies, TALLIES, sets), 0);
		assert_true(tallies[0].capacity >= sets);
		assert_memory_equal(tallies[0].entries, wanted, sets * sizeof(*wanted));
		for (at = 0; at < TALLIES; at++)
			alloc_free(tallies[at].entries);
		free(wanted);
	}
}

/* Each allocation fails once, on the caller's side and in the pool. */
static void ledger_without_memory(void **state)
{
	struct random_state random;
	struct pool *pool;
	unsigned nth = 0;
	uint32_t limit;
	int ret;

	(void)state;
	rcu_thread_enroll();
	random_state_seed(&random, 4, 0);
	assert_int_equal(pool_create(2, &pool, NULL), 0);
	do {
		population_make(&population, &random);
		if (group_level(population.groups.groups[population.groups.count - 1].id))
			break;
		population_destroy(&population);
	} while (true);
	limit = rootset_limit(&population.sets);
	alloc_fail_arm(1, 0);
	assert_int_equal(ledger_sum(population.tallies, TALLIES, 100000), -ENOMEM);
	assert_int_equal(ledger_add(&population.tallies[1], 200000, 1, 1), 0);
	alloc_fail_arm(1, 0);
	assert_int_equal(ledger_add(&population.tallies[1], 900000, 1, 1), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(ledger_sum(population.tallies, TALLIES, limit), 0);
	do {
		alloc_fail_arm(++nth, 0);
		ret = ledger_count_groups(population.tallies, &population.sets, &population.list,
					  &population.groups, pool);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
	} while (ret);
	alloc_fail_arm(0, 0);
	assert_true(nth > 6);
	check_groups(&population);
	population_destroy(&population);
	pool_destroy(pool);
	rcu_thread_leave();
}

/* No roots, no sets, no groups: nothing to count, and no failure. */
static void ledger_of_nothing(void **state)
{
	struct population *all = &population;
	struct pool *pool;
	size_t dangling;

	(void)state;
	rcu_thread_enroll();
	memset(all, 0, sizeof(*all));
	assert_int_equal(pool_create(1, &pool, NULL), 0);
	assert_int_equal(lineage_init(&all->list.lineage), 0);
	assert_int_equal(rootset_table_init(&all->sets), 0);
	assert_int_equal(ledger_sum(all->tallies, TALLIES, rootset_limit(&all->sets)), 0);
	assert_int_equal(ledger_total(all->tallies, rootset_limit(&all->sets)), 0);
	assert_int_equal(group_table_sort(&all->groups, &dangling), 0);
	assert_int_equal(ledger_count_groups(all->tallies, &all->sets, &all->list, &all->groups,
					     pool),
			 0);
	assert_non_null(group_table_add(&all->groups, 256));
	assert_non_null(group_table_add(&all->groups, group_id(1, 1)));
	assert_int_equal(group_table_sort(&all->groups, &dangling), 0);
	assert_int_equal(ledger_count_groups(all->tallies, &all->sets, &all->list, &all->groups,
					     pool),
			 0);
	assert_int_equal(all->groups.groups[0].count.rfer, 0);
	assert_int_equal(all->groups.groups[1].count.excl, 0);
	population_destroy(all);
	pool_destroy(pool);
	rcu_thread_leave();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger_of_nothing),
		cmocka_unit_test(ledger_against_brute_force),
		cmocka_unit_test(ledger_sums_tallies),
		cmocka_unit_test(ledger_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
