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
#include "core/base/random.h"
#include "core/qgroup/group.h"
#include "tests/support/threads.h"

static uint64_t group_id(uint64_t level, uint64_t number)
{
	return level << GROUP_LEVEL_SHIFT | number;
}

static void add(struct group_table *table, uint64_t level, uint64_t number)
{
	struct group *group = group_table_add(table, group_id(level, number));

	assert_non_null(group);
	assert_int_equal(group->id, group_id(level, number));
	assert_int_equal(group->count.rfer, 0);
	assert_false(group->has_stored);
}

static void relate(struct group_table *table, uint64_t member_level, uint64_t member,
		   uint64_t parent_level, uint64_t parent)
{
	assert_int_equal(group_table_relate(table, group_id(member_level, member),
					    group_id(parent_level, parent)),
			 0);
}

#define LEAVES_MAX 64

/* Which level-0 groups, by number, were visited how often. */
struct visits {
	unsigned seen[LEAVES_MAX];
};

static void visit(void *argument, const struct group *leaf)
{
	struct visits *visits = argument;

	assert_int_equal(group_level(leaf->id), 0);
	assert_true(leaf->id < LEAVES_MAX);
	visits->seen[leaf->id]++;
}

static void check_leaves(struct group_walk *walk, const struct group_table *table, uint64_t id,
			 const bool *wanted)
{
	struct visits visits = { { 0 } };
	unsigned at;

	group_walk_leaves(walk, table, group_table_find(table, id), visit, &visits);
	for (at = 0; at < LEAVES_MAX; at++)
		assert_int_equal(visits.seen[at], wanted[at]);
}

static void group_ids(void **state)
{
	uint64_t id = group_id(65535, (UINT64_C(1) << 48) - 1);

	(void)state;
	assert_int_equal(group_level(id), 65535);
	assert_int_equal(group_number(id), (UINT64_C(1) << 48) - 1);
	assert_int_equal(group_level(257), 0);
	assert_int_equal(group_number(group_id(3, 257)), 257);
}

static void group_empty_table(void **state)
{
	struct group_table table = { 0 };
	size_t dangling = 5;

	(void)state;
	assert_null(group_table_find(&table, 0));
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 0);
	assert_null(group_table_find(&table, 256));
	relate(&table, 0, 1, 1, 1);
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 1);
	group_table_destroy(&table);
	group_table_destroy(&table);
}

/* Of groups that stand twice one is left, the one that says more; whatever the order. */
static void group_twice(void **state)
{
	unsigned stored;
	size_t dangling;

	(void)state;
	for (stored = 0; stored < 3; stored++) {
		struct group_table table = { 0 };
		unsigned at;

		for (at = 0; at < 3; at++) {
			struct group *group = group_table_add(&table, group_id(1, 7));

			assert_non_null(group);
			group->has_stored = at == stored;
			group->stored_rfer = at == stored ? 4096 : 0;
			add(&table, 0, 300 - at);
		}
		relate(&table, 0, 299, 1, 7);
		assert_int_equal(group_table_sort(&table, &dangling), 0);
		assert_int_equal(dangling, 0);
		assert_int_equal(table.count, 4);
		assert_int_equal(group_table_find(&table, group_id(1, 7))->stored_rfer, 4096);
		assert_int_equal(group_table_find(&table, group_id(1, 7))->member_count, 1);
		group_table_destroy(&table);
	}
}

static void group_wrong_order_of_levels(void **state)
{
	struct group_table table = { 0 };
	size_t dangling;

	(void)state;
	add(&table, 0, 1);
	add(&table, 1, 1);
	add(&table, 1, 2);
	assert_int_equal(group_table_relate(&table, group_id(1, 1), group_id(0, 1)), -EINVAL);
	assert_int_equal(group_table_relate(&table, group_id(1, 1), group_id(1, 2)), -EINVAL);
	assert_int_equal(group_table_relate(&table, group_id(1, 1), group_id(1, 1)), -EINVAL);
	assert_int_equal(group_table_relate(&table, group_id(0, 1), group_id(0, 2)), -EINVAL);
	assert_int_equal(table.relation_count, 0);
	relate(&table, 0, 1, 65535, 2);
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 1);
	group_table_destroy(&table);
}

/* A relation counts once as dangling, however often it stands there, and others stay. */
static void group_dangling_relations(void **state)
{
	struct group_table table = { 0 };
	struct group_walk walk;
	bool wanted[LEAVES_MAX] = { [1] = true, [2] = true };
	size_t dangling;
	unsigned at;

	(void)state;
	for (at = 0; at < 3; at++) {
		relate(&table, 0, 1, 1, 5); /* groups may come later than relations */
		relate(&table, 0, 9, 1, 5); /* no such member */
		relate(&table, 0, 1, 1, 6); /* no such parent */
		relate(&table, 0, 8, 1, 6); /* neither */
		relate(&table, 0, 2, 1, 5);
	}
	add(&table, 1, 5);
	add(&table, 0, 2);
	add(&table, 0, 1);
	/* Sorting again counts and links anew. */
	for (at = 0; at < 2; at++) {
		assert_int_equal(group_table_sort(&table, &dangling), 0);
		assert_int_equal(dangling, 3);
		assert_int_equal(group_table_find(&table, group_id(1, 5))->member_count, 2);
	}
	add(&table, 0, 9);
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 2);
	assert_int_equal(group_walk_init(&walk, &table), 0);
	wanted[9] = true;
	check_leaves(&walk, &table, group_id(1, 5), wanted);
	group_walk_destroy(&walk);
	group_table_destroy(&table);
}

/*
 * A level-0 group with two parents which meet again above; a level is left out; a
 * group four levels up; groups that have no member.
 */
static void group_several_parents(void **state)
{
	struct group_table table = { 0 };
	struct group_walk walk;
	size_t dangling;
	unsigned round;

	(void)state;
	for (round = 1; round <= 4; round++) {
		add(&table, 0, round);
		add(&table, round, 10);
		add(&table, round, 20);
	}
	relate(&table, 0, 1, 1, 10);
	relate(&table, 0, 1, 1, 20);
	relate(&table, 0, 2, 1, 20);
	relate(&table, 1, 10, 2, 10);
	relate(&table, 1, 20, 2, 10);
	relate(&table, 2, 10, 3, 10);
	relate(&table, 1, 20, 3, 10);
	relate(&table, 0, 3, 3, 10);
	relate(&table, 3, 10, 4, 10);
	relate(&table, 0, 1, 4, 10);
	relate(&table, 3, 20, 4, 20);
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 0);
	assert_int_equal(group_walk_init(&walk, &table), 0);
	for (round = 0; round < 2; round++) {
		check_leaves(&walk, &table, 4, (bool[LEAVES_MAX]){ [4] = true });
		check_leaves(&walk, &table, group_id(1, 10), (bool[LEAVES_MAX]){ [1] = true });
		check_leaves(&walk, &table, group_id(1, 20),
			     (bool[LEAVES_MAX]){ [1] = true, [2] = true });
		check_leaves(&walk, &table, group_id(2, 10),
			     (bool[LEAVES_MAX]){ [1] = true, [2] = true });
		check_leaves(&walk, &table, group_id(2, 20), (bool[LEAVES_MAX]){ false });
		check_leaves(&walk, &table, group_id(3, 10),
			     (bool[LEAVES_MAX]){ [1] = true, [2] = true, [3] = true });
		check_leaves(&walk, &table, group_id(4, 10),
			     (bool[LEAVES_MAX]){ [1] = true, [2] = true, [3] = true });
		check_leaves(&walk, &table, group_id(4, 20), (bool[LEAVES_MAX]){ false });
	}
	group_walk_destroy(&walk);
	group_table_destroy(&table);
}

#define LEVELS 5
#define EACH 12

/* reach[l][n][leaf]: found by going through all relations level by level, not by a walk. */
static bool reach[LEVELS][EACH][LEAVES_MAX];

static void random_relations(struct group_table *table, struct random_state *random)
{
	bool related[LEVELS][EACH][LEVELS][EACH] = { 0 };
	unsigned count = (unsigned)random_state_below(random, 120);
	unsigned level;

	while (count--) {
		uint64_t above = 1 + random_state_below(random, LEVELS - 1);
		uint64_t below = random_state_below(random, above);
		uint64_t parent = random_state_below(random, EACH);
		uint64_t member = random_state_below(random, EACH);

		relate(table, below, member, above, parent);
		related[below][member][above][parent] = true;
	}
	memset(reach, 0, sizeof(reach));
	for (level = 0; level < LEVELS; level++) {
		unsigned at;

		for (at = 0; at < EACH; at++) {
			unsigned other;

			if (!level)
				reach[0][at][at] = true;
			for (other = 0; other < level * EACH; other++) {
				unsigned leaf;

				if (!related[other / EACH][other % EACH][level][at])
					continue;
				for (leaf = 0; leaf < LEAVES_MAX; leaf++)
					reach[level][at][leaf] |=
						reach[other / EACH][other % EACH][leaf];
			}
		}
	}
}

static void group_random_hierarchies(void **state)
{
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("group_random_hierarchies"), 0);
	for (round = 0; round < 200; round++) {
		struct group_table table = { 0 };
		struct group_walk walk;
		size_t dangling;
		unsigned at;

		for (at = 0; at < LEVELS * EACH; at++) {
			/* In any order: 7 has no factor in common with 60. */
			unsigned number = at * 7 % (LEVELS * EACH);

			add(&table, number / EACH, number % EACH);
		}
		random_relations(&table, &random);
		assert_int_equal(group_table_sort(&table, &dangling), 0);
		assert_int_equal(dangling, 0);
		for (at = 1; at < table.count; at++)
			assert_true(table.groups[at - 1].id < table.groups[at].id);
		assert_int_equal(group_walk_init(&walk, &table), 0);
		for (at = 0; at < LEVELS * EACH; at++)
			check_leaves(&walk, &table, group_id(at / EACH, at % EACH),
				     reach[at / EACH][at % EACH]);
		group_walk_destroy(&walk);
		group_table_destroy(&table);
	}
}

#define DEEP 60000

/* As deep as levels go, each group in the next and in the one after that. */
static void group_deep_chain(void **state)
{
	struct group_table table = { 0 };
	struct group_walk walk;
	size_t dangling;
	uint64_t level;

	(void)state;
	for (level = DEEP; level > 0; level--) {
		add(&table, level - 1, 3);
		if (level < DEEP)
			relate(&table, level - 1, 3, level, 3);
		if (level + 1 < DEEP)
			relate(&table, level - 1, 3, level + 1, 3);
	}
	assert_int_equal(group_table_sort(&table, &dangling), 0);
	assert_int_equal(dangling, 0);
	assert_int_equal(group_walk_init(&walk, &table), 0);
	for (level = 0; level < DEEP; level += 5999)
		check_leaves(&walk, &table, group_id(level, 3), (bool[LEAVES_MAX]){ [3] = true });
	check_leaves(&walk, &table, group_id(DEEP - 1, 3), (bool[LEAVES_MAX]){ [3] = true });
	group_walk_destroy(&walk);
	group_table_destroy(&table);
}

/* Builds a hierarchy: 100 groups of level 0, each with a parent. -ENOMEM where one step says so. */
static int build(struct group_table *table, struct group_walk *walk)
{
	size_t dangling;
	uint64_t at;

	for (at = 0; at < 100; at++) {
		if (!group_table_add(table, at) || !group_table_add(table, group_id(1, at % 10)))
			return -ENOMEM;
		if (group_table_relate(table, at, group_id(1, at % 10)))
			return -ENOMEM;
	}
	/* Twice: what the first has linked is replaced, or stays when there is no memory. */
	if (group_table_sort(table, &dangling) || group_table_sort(table, &dangling))
		return -ENOMEM;
	return group_walk_init(walk, table);
}

static void group_without_memory(void **state)
{
	unsigned nth = 0;
	int ret;

	(void)state;
	do {
		struct group_table table = { 0 };
		struct group_walk walk = { 0 };
		size_t dangling;

		alloc_fail_arm(++nth, 0);
		ret = build(&table, &walk);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		/* What is there can be used. */
		group_walk_destroy(&walk);
		assert_int_equal(group_table_sort(&table, &dangling), 0);
		assert_int_equal(group_walk_init(&walk, &table), 0);
		if (!ret)
			assert_int_equal(group_table_find(&table, group_id(1, 3))->member_count,
					 10);
		group_walk_destroy(&walk);
		group_table_destroy(&table);
	} while (ret);
	assert_true(nth > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(group_ids),
		cmocka_unit_test(group_empty_table),
		cmocka_unit_test(group_twice),
		cmocka_unit_test(group_wrong_order_of_levels),
		cmocka_unit_test(group_dangling_relations),
		cmocka_unit_test(group_several_parents),
		cmocka_unit_test(group_random_hierarchies),
		cmocka_unit_test(group_deep_chain),
		cmocka_unit_test(group_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
