// SPDX-License-Identifier: MIT
/* What deleting roots frees, against bit maps; and which subvolumes names stand for. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/base/rcu.h"
#include "core/qgroup/freed.h"
#include "core/qgroup/subvol_select.h"
#include "refstorm/reclaim.h"
#include "tests/support/fixture.h"

#define ROOTS_MAX 24U
#define SETS_MAX 60U
#define FIRST_ID 256U
#define ROUNDS 400U

/* A random ledger, and the same as bit maps: bit number = number of the root. */
struct world {
	struct subvol_list list; /* lineage, elements and positions only */
	struct rootset_table sets;
	struct ledger_tally tally;
	struct flat_sets flat;
	uint32_t position[ROOTS_MAX];
	uint32_t roots;
	uint64_t map[SETS_MAX]; /* may repeat */
	uint64_t bytes[SETS_MAX];
	uint32_t count;
};

static void make_lineage(struct world *world, struct random_state *random)
{
	struct lineage *lineage = &world->list.lineage;
	uint32_t element[ROOTS_MAX];
	uint32_t at;

	assert_int_equal(lineage_init(lineage), 0);
	for (at = 0; at < world->roots; at++) {
		if (!at || random_state_chance(random, 1, 4))
			assert_int_equal(lineage_add_family(lineage, FIRST_ID + at, &element[at]),
					 0);
		else
			assert_int_equal(lineage_add_snapshot(
						 lineage, element[random_state_below(random, at)],
						 FIRST_ID + at, &element[at]),
					 0);
	}
	world->list.elements = alloc_array(lineage->count + 1U, sizeof(*world->list.elements));
	assert_non_null(world->list.elements);
	for (at = lineage_next(lineage, LINEAGE_NONE); at; at = lineage_next(lineage, at)) {
		uint64_t root = lineage_root(lineage, at);

		if (root != LINEAGE_END)
			world->position[root - FIRST_ID] = world->list.positions;
		world->list.elements[world->list.positions++] = at;
	}
}

/* The id of the root at a position; 0 where none stands. */
static uint64_t root_at(const struct world *world, uint32_t position)
{
	return lineage_root(&world->list.lineage, world->list.elements[position]);
}

static bool map_has(uint64_t map, uint64_t root_id)
{
	return root_id && (map >> (root_id - FIRST_ID) & 1);
}

static void add_set(struct world *world, uint64_t map, uint64_t bytes)
{
	uint32_t boundaries[2 * ROOTS_MAX];
	uint32_t count = 0;
	uint32_t set;
	uint32_t at;
	bool before = false;

	for (at = 0; at < world->list.positions; at++) {
		bool now = map_has(map, root_at(world, at));

		if (now != before)
			boundaries[count++] = world->list.elements[at];
		before = now;
	}
	assert_false(before); /* an end element is last */
	assert_int_equal(rootset_intern(&world->sets, boundaries, count, &set), 0);
	assert_int_equal(ledger_add(&world->tally, set, bytes / 2, bytes - bytes / 2), 0);
	world->map[world->count] = map;
	world->bytes[world->count++] = bytes;
}

static void world_seal(struct world *world)
{
	assert_int_equal(ledger_sum(&world->tally, 1, rootset_limit(&world->sets)), 0);
	assert_int_equal(flat_sets_build(&world->flat, &world->tally, &world->sets, &world->list),
			 0);
}

static void world_begin(struct world *world, uint32_t roots, struct random_state *random)
{
	*world = (struct world){ .roots = roots };
	make_lineage(world, random);
	assert_int_equal(rootset_table_init(&world->sets), 0);
}

/* Few sizes, so that many candidates free the same; small sets are likely. */
static void world_make(struct world *world, struct random_state *random)
{
	uint32_t sets = (uint32_t)random_state_below(random, SETS_MAX);
	uint64_t all;
	uint32_t at;

	world_begin(world, 1 + (uint32_t)random_state_below(random, ROOTS_MAX), random);
	all = (UINT64_C(1) << world->roots) - 1;
	for (at = 0; at < sets; at++) {
		uint64_t map = random_state_next(random) & all;
		uint64_t thin = random_state_below(random, 4);

		for (; thin; thin--)
			map &= random_state_next(random);
		if (map)
			add_set(world, map, random_state_below(random, 4) * 4096);
	}
	world_seal(world);
}

static void world_destroy(struct world *world)
{
	flat_sets_free(&world->flat);
	alloc_free(world->tally.entries);
	rootset_table_destroy(&world->sets);
	alloc_free(world->list.elements);
	lineage_destroy(&world->list.lineage);
}

static uint64_t brute_freed(const struct world *world, uint64_t gone)
{
	uint64_t sum = 0;
	uint32_t at;

	for (at = 0; at < world->count; at++)
		if (!(world->map[at] & ~gone))
			sum += world->bytes[at];
	return sum;
}

static void check_all(const struct world *world, uint64_t given)
{
	uint32_t before[2 * ROOTS_MAX + 1] = { 0 };
	uint32_t at;

	for (at = 0; at < world->list.positions; at++)
		before[at + 1] = before[at] + map_has(given, root_at(world, at));
	assert_int_equal(freed_by_all(&world->flat, before), brute_freed(world, given));
}

static void check_each(const struct world *world)
{
	uint64_t bytes[2 * ROOTS_MAX] = { 0 };
	uint32_t at;

	freed_by_each(&world->flat, bytes);
	for (at = 0; at < world->roots; at++)
		assert_int_equal(bytes[world->position[at]], brute_freed(world, UINT64_C(1) << at));
}

/* Bytes of the sets that hold `root` and in all `left` roots that are not gone. */
static uint64_t brute_shared(const struct world *world, uint64_t gone, uint32_t root, int left)
{
	uint64_t sum = 0;
	uint32_t at;

	for (at = 0; at < world->count; at++)
		if (world->map[at] >> root & 1 &&
		    __builtin_popcountll(world->map[at] & ~gone) == left)
			sum += world->bytes[at];
	return sum;
}

static bool brute_better(const struct world *world, uint64_t gone, uint32_t a, uint32_t b)
{
	int left;

	for (left = 1; left <= (int)world->roots; left++) {
		uint64_t of_a = brute_shared(world, gone, a, left);
		uint64_t of_b = brute_shared(world, gone, b, left);

		if (of_a != of_b)
			return of_a > of_b;
	}
	return a < b;
}

static uint32_t brute_choose(const struct world *world, uint64_t gone, uint64_t candidates)
{
	uint32_t best = ROOTS_MAX;
	uint32_t at;

	for (at = 0; at < world->roots; at++)
		if (candidates >> at & 1 &&
		    (best == ROOTS_MAX || brute_better(world, gone, at, best)))
			best = at;
	return best;
}

static uint32_t list_candidates(const struct world *world, uint64_t map,
				struct freed_candidate *candidates)
{
	uint32_t count = 0;
	uint32_t at;

	for (at = world->roots; at--;)
		if (map >> at & 1)
			candidates[count++] =
				(struct freed_candidate){ FIRST_ID + at, world->position[at] };
	return count;
}

static void check_best(const struct world *world, uint64_t map, uint32_t most)
{
	struct freed_candidate candidates[ROOTS_MAX];
	struct freed_step steps[ROOTS_MAX];
	uint32_t count = list_candidates(world, map, candidates);
	uint64_t gone = 0;
	uint32_t at;

	assert_int_equal(freed_best(&world->flat, candidates, count, steps, most), 0);
	for (at = 0; at < most && at < count; at++) {
		uint32_t root = brute_choose(world, gone, map & ~gone);
		uint64_t earlier = brute_freed(world, gone);

		gone |= UINT64_C(1) << root;
		assert_int_equal(steps[at].root.id, FIRST_ID + root);
		assert_int_equal(steps[at].root.position, world->position[root]);
		assert_int_equal(steps[at].total, brute_freed(world, gone));
		assert_int_equal(steps[at].bytes, steps[at].total - earlier);
	}
}

static void test_random_ledgers(void **state)
{
	struct random_state random;
	uint32_t round;

	(void)state;
	random_state_seed(&random, 20, 0);
	for (round = 0; round < ROUNDS; round++) {
		struct world world;
		uint64_t all;

		world_make(&world, &random);
		all = (UINT64_C(1) << world.roots) - 1;
		check_all(&world, 0);
		check_all(&world, all);
		check_all(&world, random_state_next(&random) & all);
		check_all(&world, (random_state_next(&random) | random_state_next(&random)) & all);
		check_each(&world);
		check_best(&world, all, ROOTS_MAX);
		check_best(&world, random_state_next(&random) & all,
			   (uint32_t)random_state_below(&random, ROOTS_MAX + 1));
		world_destroy(&world);
	}
}

/* Ids of the steps, all roots being candidates. */
static void expect_order(struct world *world, const uint32_t *order)
{
	struct freed_candidate candidates[ROOTS_MAX];
	struct freed_step steps[ROOTS_MAX];
	uint32_t count = list_candidates(world, UINT64_MAX >> (64 - world->roots), candidates);
	uint32_t at;

	world_seal(world);
	assert_int_equal(freed_best(&world->flat, candidates, count, steps, count), 0);
	for (at = 0; at < count; at++)
		assert_int_equal(steps[at].root.id, FIRST_ID + order[at]);
	world_destroy(world);
}

static void test_ties(void **state)
{
	struct random_state random;
	struct world world;

	(void)state;
	random_state_seed(&random, 21, 0);
	/* Nothing is held at all: the lowest id first. */
	world_begin(&world, 4, &random);
	expect_order(&world, (const uint32_t[]){ 0, 1, 2, 3 });
	/* All free 8; 1 and 2 share most with just one other, and 1 is the lower. */
	world_begin(&world, 4, &random);
	add_set(&world, 1, 8);
	add_set(&world, 2, 8);
	add_set(&world, 4, 8);
	add_set(&world, 8, 8);
	add_set(&world, 6, 100);
	add_set(&world, 9, 99);
	expect_order(&world, (const uint32_t[]){ 1, 2, 0, 3 });
	/* Shared with one other: all the same; with two others: 3 has most. */
	world_begin(&world, 4, &random);
	add_set(&world, 3, 10);
	add_set(&world, 12, 10);
	add_set(&world, 14, 5);
	add_set(&world, 13, 6);
	expect_order(&world, (const uint32_t[]){ 2, 3, 0, 1 });
}

static void test_best_without_memory(void **state)
{
	struct random_state random;
	struct freed_candidate candidates[ROOTS_MAX];
	struct freed_step steps[ROOTS_MAX];
	struct world world;
	uint64_t nth;
	int ret = -ENOMEM;

	(void)state;
	random_state_seed(&random, 22, 0);
	world_make(&world, &random);
	for (nth = 1; ret; nth++) {
		uint32_t count = list_candidates(&world, 1, candidates);

		alloc_fail_arm(nth, 1);
		ret = freed_best(&world.flat, candidates, count, steps, 1);
		alloc_fail_arm(0, 0);
		assert_true(!ret || ret == -ENOMEM);
		assert_true(nth < 100);
	}
	assert_true(nth > 2);
	world_destroy(&world);
}

/* --- names --- */

static struct subvol select_subvols[] = {
	{ .root.id = 5, .path = (char[]){ "/" } },
	{ .root.id = 256, .path = (char[]){ "a" } },
	{ .root.id = 257, .path = (char[]){ "a/b" } },
	{ .root.id = 258, .path = (char[]){ "256" } },
	{ .root.id = 259, .path = (char[]){ "1/100" } },
	{ .root.id = 260 },
	{ .root.id = 261, .deleted = true },
};

#define SELECT_COUNT (sizeof(select_subvols) / sizeof(select_subvols[0]))
#define GROUP(level, number) ((uint64_t)(level) << GROUP_LEVEL_SHIFT | (number))

static const struct subvol_list select_list = { .subvols = select_subvols, .count = SELECT_COUNT };

/* 1/100: 256, 257 and the deleted one; 2/1 above it and 257; 1/5: the top level; 1/7: empty. */
static void make_groups(struct group_table *groups)
{
	static const uint64_t ids[] = { GROUP(1, 100), GROUP(2, 1), GROUP(1, 5), GROUP(1, 7) };
	static const struct group_relation relations[] = {
		{ 256, GROUP(1, 100) },         { 257, GROUP(1, 100) }, { 261, GROUP(1, 100) },
		{ GROUP(1, 100), GROUP(2, 1) }, { 257, GROUP(2, 1) },   { 5, GROUP(1, 5) },
		{ 999, GROUP(1, 7) },
	};
	size_t dangling;
	size_t at;

	for (at = 0; at < SELECT_COUNT; at++)
		assert_non_null(group_table_add(groups, select_subvols[at].root.id));
	assert_non_null(group_table_add(groups, 999));
	for (at = 0; at < sizeof(ids) / sizeof(ids[0]); at++)
		assert_non_null(group_table_add(groups, ids[at]));
	for (at = 0; at < sizeof(relations) / sizeof(relations[0]); at++)
		assert_int_equal(group_table_relate(groups, relations[at].member,
						    relations[at].parent),
				 0);
	assert_int_equal(group_table_sort(groups, &dangling), 0);
	assert_int_equal(dangling, 0);
}

/* Bit k of the answer: subvolume number k was chosen. */
static int select_names(const char *const *names, size_t count, uint32_t *map,
			struct rs_error *error)
{
	struct group_table groups = { 0 };
	bool chosen[SELECT_COUNT] = { false };
	size_t at;
	int ret;

	make_groups(&groups);
	ret = subvol_select(&select_list, &groups, names, count, chosen, error);
	group_table_destroy(&groups);
	*map = 0;
	for (at = 0; at < SELECT_COUNT; at++)
		*map |= (uint32_t)chosen[at] << at;
	return ret;
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t map;
		int result;
	} rows[] = {
		{ "256", 2, 0 },
		{ "0256", 2, 0 },
		{ "0/257", 4, 0 },
		{ "/256", 8, 0 },
		{ "256/", 8, 0 },
		{ "a", 2, 0 },
		{ "/a", 2, 0 },
		{ "//a//", 2, 0 },
		{ "a//b", 4, 0 },
		{ "a/b/", 4, 0 },
		{ "1/100", 6, 0 },
		{ "/1/100", 16, 0 },
		{ "2/1", 6, 0 },
		{ "1/7", 0, 0 },
		{ "260", 32, 0 },
		{ "/", 0, -EINVAL },
		{ "//", 0, -EINVAL },
		{ "5", 0, -EINVAL },
		{ "0/5", 0, -EINVAL },
		{ "1/5", 0, -EINVAL },
		{ "261", 0, -ENOENT },
		{ "0/261", 0, -ENOENT },
		{ "", 0, -ENOENT },
		{ "b", 0, -ENOENT },
		{ "a/", 2, 0 },
		{ "a/c", 0, -ENOENT },
		{ "ab", 0, -ENOENT },
		{ "a/b/c", 0, -ENOENT },
		{ "/a b", 0, -ENOENT },
		{ "999", 0, -ENOENT },
		{ "0/999", 0, -ENOENT },
		{ "1/101", 0, -ENOENT },
		{ "1/a", 0, -ENOENT },
		{ "65536/1", 0, -ENOENT },
		{ "1/281474976710756", 0, -ENOENT },        /* 2^48 + 100 */
		{ "18446744073709551872", 0, -ENOENT },     /* 2^64 + 256 */
		{ "18446744073709551617/100", 0, -ENOENT }, /* 2^64 + 1 */
	};
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(rows) / sizeof(rows[0]); at++) {
		struct rs_error error = RS_ERROR_INIT;
		uint32_t map;
		int ret = select_names(&rows[at].name, 1, &map, &error);

		if (ret != rows[at].result || (!ret && map != rows[at].map))
			fail_msg("'%s': %d, map %" PRIu32, rows[at].name, ret, map);
		/* What is refused is named. */
		if (ret)
			assert_non_null(strstr(error.what, rows[at].name));
	}
}

static void test_names_together(void **state)
{
	static const char *const good[] = { "a", "256", "1/100", "0/256", "/256" };
	static const char *const bad[] = { "a", "nowhere", "256" };
	struct rs_error error = RS_ERROR_INIT;
	uint32_t map;

	(void)state;
	assert_int_equal(select_names(good, 5, &map, &error), 0);
	assert_int_equal(map, 14);
	assert_int_equal(select_names(good, 0, &map, &error), 0);
	assert_int_equal(map, 0);
	assert_int_equal(select_names(bad, 3, &map, &error), -ENOENT);
	assert_non_null(strstr(error.what, "nowhere"));
}

/* --- the public functions --- */

static void test_report(void **state)
{
	static const char *const names[] = { "c1", "0/257", "257" };
	struct rs_reclaim_options options = { .threads = 2, .each = true, .best = 1000 };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_reclaim_report *report;
	struct fixture fixture;
	uint64_t sum = 0;
	size_t at;

	(void)state;
	fixture_open(&fixture, "multi-family");
	assert_int_equal(rs_reclaim(fixture.image, names, 3, &options, &report, &error), 0);
	assert_int_equal(report->generation, rs_image_generation(fixture.image));
	assert_int_equal(report->threads, 2);
	assert_true(report->given);
	assert_int_equal(report->given_count, 2);
	assert_int_equal(report->each_count, 2);
	assert_int_equal(report->best_count, 2);
	assert_int_equal(report->each[0].id, 257);
	assert_int_equal(report->each[1].id, 262);
	assert_string_equal(report->each[0].path, "b");
	assert_string_equal(report->each[1].path, "c1");
	assert_int_equal(report->best[1].total, report->bytes);
	rs_reclaim_report_free(report);

	/* All that can be deleted, and of these the snapshots: 21 and 17 of 22 subvolumes. */
	assert_int_equal(rs_reclaim(fixture.image, NULL, 0, &options, &report, &error), 0);
	assert_false(report->given);
	assert_int_equal(report->given_count, 0);
	assert_int_equal(report->bytes, 0);
	assert_int_equal(report->each_count, 21);
	assert_int_equal(report->best_count, 17);
	for (at = 0; at < report->best_count; at++) {
		sum += report->best[at].bytes;
		assert_int_equal(report->best[at].total, sum);
		assert_true(report->best[at].id > 259);
	}
	rs_reclaim_report_free(report);

	options = (struct rs_reclaim_options){ 0 };
	assert_int_equal(rs_reclaim(fixture.image, names, 1, NULL, &report, &error), 0);
	assert_null(report->best);
	assert_int_equal(report->bytes, report->each[0].bytes);
	rs_reclaim_report_free(report);
	assert_int_equal(rs_reclaim(fixture.image, NULL, 0, &options, &report, &error), -EINVAL);
	assert_null(report);
	options.threads = 1U << 20;
	assert_int_equal(rs_reclaim(fixture.image, names, 1, &options, &report, &error), -EINVAL);
	assert_null(report);
	fixture_close(&fixture);
}

/* Wherever memory ends, it is said, and nothing is left behind. */
static void test_report_without_memory(void **state)
{
	static const char *const names[] = { "1/1" };
	static const struct rs_reclaim_options options = { .threads = 1, .best = 3 };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_reclaim_report *report;
	struct fixture fixture;
	uint64_t nth;
	int ret = -ENOMEM;

	(void)state;
	fixture_open(&fixture, "nested-groups");
	for (nth = 1; ret; nth++) {
		alloc_fail_arm(nth, 1);
		ret = rs_reclaim(fixture.image, names, 1, &options, &report, &error);
		alloc_fail_arm(0, 0);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_null(report);
		}
		assert_true(nth < 10000);
	}
	assert_true(nth > 50);
	assert_int_equal(report->best_count, 3);
	rs_reclaim_report_free(report);
	fixture_close(&fixture);
}

static int enroll(void **state)
{
	(void)state;
	rcu_thread_enroll();
	return 0;
}

static int leave(void **state)
{
	(void)state;
	rcu_thread_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_ledgers, enroll, leave),
		cmocka_unit_test_setup_teardown(test_ties, enroll, leave),
		cmocka_unit_test_setup_teardown(test_best_without_memory, enroll, leave),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_names_together),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_report_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
