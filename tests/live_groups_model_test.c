/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/pool.h"
#include "core/base/random.h"
#include "core/base/rcu.h"
#include "core/qgroup/live_groups.h"
#include "tests/support/threads.h"

#define ROOTS 32U
#define UPPERS 6U
#define EXTENTS 60U
#define HISTORIES 40U
#define COMMITS 60U

/* The groups above level 0, so that each relation from one to one of a higher level is possible. */
static const uint64_t upper_ids[UPPERS] = {
	UINT64_C(1) << 48 | 0, UINT64_C(1) << 48 | 1, UINT64_C(1) << 48 | 2,
	UINT64_C(2) << 48 | 0, UINT64_C(2) << 48 | 1, UINT64_C(3) << 48 | 7,
};

/* What there is to quota groups, by the definition. Sets of roots are masks of places in `roots`. */
struct extent {
	uint32_t mask;
	uint32_t set;
	uint64_t data;
	uint64_t metadata;
};

struct relations {
	uint32_t of_root[ROOTS]; /* masks of groups above level 0 */
	uint32_t of_upper[UPPERS];
};

struct world {
	struct lineage lineage;
	struct live_sets *sets;
	struct live_groups *groups;
	struct random_state random;
	uint64_t next_root;
	uint64_t roots[ROOTS]; /* 0: none */
	uint32_t elements[ROOTS];
	struct extent extents[EXTENTS];
	struct relations now;
	struct relations seen; /* by the accounts */
	uint32_t uppers;       /* mask of those that are there */
	uint32_t fresh;        /* that the accounts have not seen */
	uint64_t exact; /* commits with drops and members above level 0, and nothing recounted */
};

static void world_begin(struct world *world, uint64_t seed, uint64_t stream)
{
	memset(world, 0, sizeof(*world));
	random_state_seed(&world->random, seed, stream);
	world->next_root = 256;
	assert_int_equal(lineage_init(&world->lineage), 0);
	assert_int_equal(live_sets_create(&world->lineage, &world->sets), 0);
	assert_int_equal(live_groups_create(&world->lineage, world->sets, &world->groups), 0);
}

static void world_end(struct world *world)
{
	rcu_defer_barrier();
	live_groups_destroy(world->groups);
	live_sets_destroy(world->sets);
	lineage_destroy(&world->lineage);
}

static unsigned pick(struct world *world, unsigned bound)
{
	return (unsigned)random_state_below(&world->random, bound);
}

/* A place with a root, or without one; ROOTS if there is none. */
static unsigned root_pick(struct world *world, bool there)
{
	unsigned at = pick(world, ROOTS);
	unsigned tries;

	for (tries = 0; tries < ROOTS; tries++, at = (at + 1) % ROOTS)
		if ((world->roots[at] != 0) == there)
			return at;
	return ROOTS;
}

/* All above level 0 that a mask of direct parents leads to. */
static uint32_t relations_close(const struct relations *relations, uint32_t mask)
{
	unsigned at;

	/* Parents have higher places. */
	for (at = 0; at < UPPERS; at++)
		if (mask >> at & 1)
			mask |= relations->of_upper[at];
	return mask;
}

static uint32_t world_members(const struct world *world, unsigned upper)
{
	uint32_t mask = 0;
	unsigned at;

	for (at = 0; at < ROOTS; at++)
		if (world->roots[at] &&
		    relations_close(&world->seen, world->seen.of_root[at]) >> upper & 1)
			mask |= UINT32_C(1) << at;
	return mask;
}

static void group_check(const struct world *world, uint64_t id, uint32_t members)
{
	struct rs_group_usage want = { 0 };
	struct rs_group_usage found;
	unsigned at;

	for (at = 0; at < EXTENTS; at++) {
		const struct extent *extent = &world->extents[at];

		if (extent->mask & members) {
			want.rfer += extent->data + extent->metadata;
			want.data_rfer += extent->data;
		}
		if (extent->mask && !(extent->mask & ~members)) {
			want.excl += extent->data + extent->metadata;
			want.data_excl += extent->data;
		}
	}
	assert_int_equal(live_groups_read(world->groups, id, &found), 0);
	assert_int_equal(found.rfer, want.rfer);
	assert_int_equal(found.excl, want.excl);
	assert_int_equal(found.data_rfer, want.data_rfer);
	assert_int_equal(found.data_excl, want.data_excl);
	assert_int_equal(found.rfer_compressed, want.rfer);
	assert_int_equal(found.excl_compressed, want.excl);
}

static void world_check(const struct world *world)
{
	struct rs_group_usage usage;
	uint64_t id = 0;
	unsigned count = 0;
	unsigned at;

	for (at = 0; at < ROOTS; at++) {
		if (world->roots[at])
			group_check(world, world->roots[at], UINT32_C(1) << at);
		count += world->roots[at] != 0;
	}
	for (at = 0; at < UPPERS; at++) {
		if (!(world->uppers >> at & 1))
			assert_int_equal(live_groups_read(world->groups, upper_ids[at], &usage),
					 -ENOENT);
		else if (!(world->fresh >> at & 1))
			group_check(world, upper_ids[at], world_members(world, at));
		count += world->uppers >> at & 1;
	}
	for (at = 0; at < count; at++)
		assert_int_equal(live_groups_next(world->groups, &id), 0);
	assert_int_equal(live_groups_next(world->groups, &id), -ENOENT);
}

/* The hierarchy, with all its errors. */

static bool upper_has_members(const struct world *world, unsigned upper)
{
	unsigned at;

	for (at = 0; at < ROOTS; at++)
		if (world->roots[at] && world->now.of_root[at] >> upper & 1)
			return true;
	for (at = 0; at < UPPERS; at++)
		if (world->uppers >> at & 1 && world->now.of_upper[at] >> upper & 1)
			return true;
	return false;
}

static void upper_make(struct world *world, unsigned upper)
{
	bool there = world->uppers >> upper & 1;

	assert_int_equal(live_groups_create_group(world->groups, upper_ids[upper]),
			 there ? -EEXIST : 0);
	if (there)
		return;
	world->uppers |= UINT32_C(1) << upper;
	world->fresh |= UINT32_C(1) << upper;
	world->now.of_upper[upper] = 0;
}

static void upper_remove(struct world *world, unsigned upper)
{
	bool there = world->uppers >> upper & 1;
	int want = !there ? -ENOENT : upper_has_members(world, upper) ? -EBUSY : 0;

	assert_int_equal(live_groups_remove(world->groups, upper_ids[upper]), want);
	if (want)
		return;
	world->uppers &= ~(UINT32_C(1) << upper);
	world->fresh &= ~(UINT32_C(1) << upper);
}

/* `member` is a root's place, or ROOTS and more for one of the others. */
static void relation_change(struct world *world, unsigned member, unsigned upper, bool add)
{
	bool root = member < ROOTS;
	unsigned at = root ? member : member - ROOTS;
	uint32_t *mask = root ? &world->now.of_root[at] : &world->now.of_upper[at];
	uint64_t id = root ? world->roots[at] : upper_ids[at];
	bool there = (root ? world->roots[at] != 0 : world->uppers >> at & 1) &&
		     world->uppers >> upper & 1;
	bool is = there && *mask >> upper & 1;
	int want = is == add ? (add ? -EEXIST : -ENOENT) : 0;

	if (!there)
		want = -ENOENT;
	if (root && !id)
		return;
	if (!root && upper_ids[at] >> 48 >= upper_ids[upper] >> 48)
		want = -EINVAL;
	if (add)
		assert_int_equal(live_groups_assign(world->groups, id, upper_ids[upper]), want);
	else
		assert_int_equal(live_groups_unassign(world->groups, id, upper_ids[upper]), want);
	if (!want)
		*mask ^= UINT32_C(1) << upper;
}

static void hierarchy_change(struct world *world)
{
	unsigned upper = pick(world, UPPERS);

	switch (pick(world, 8)) {
	case 0:
	case 1:
		upper_make(world, upper);
		break;
	case 2:
		upper_remove(world, upper);
		break;
	case 3:
		relation_change(world, ROOTS + pick(world, UPPERS), upper, pick(world, 4) != 0);
		break;
	default:
		relation_change(world, pick(world, ROOTS), upper, pick(world, 3) != 0);
	}
}

/* The accounts. */

static void accounts_begin(struct world *world)
{
	assert_int_equal(live_groups_begin(world->groups), 0);
	world->seen = world->now;
	world->fresh = 0;
}

static void root_begin(struct world *world, unsigned at)
{
	world->roots[at] = world->next_root++;
	world->now.of_root[at] = 0;
	world->seen.of_root[at] = 0;
}

static void subvol_add(struct world *world)
{
	unsigned at = root_pick(world, false);

	if (at == ROOTS)
		return;
	root_begin(world, at);
	assert_int_equal(lineage_add_family(&world->lineage, world->roots[at],
					    &world->elements[at]),
			 0);
	assert_int_equal(live_groups_root_add(world->groups, world->roots[at], world->elements[at]),
			 0);
}

/* A root comes to an extent, or goes from it. */
static void extent_toggle(struct world *world, unsigned which, unsigned at)
{
	struct extent *extent = &world->extents[which];
	uint32_t bit = UINT32_C(1) << at;
	bool add = !(extent->mask & bit);
	struct live_edge edge = { .element = world->elements[at] };
	uint32_t set;

	if (!extent->mask) {
		extent->data = pick(world, 3) ? (1 + pick(world, 8)) * 4096 : 0;
		extent->metadata = extent->data ? 0 : 16384;
	}
	assert_int_equal(live_sets_toggle(world->sets, extent->set, edge.element, &set), 0);
	edge.small = add ? extent->set : set;
	edge.data = add ? (int64_t)extent->data : -(int64_t)extent->data;
	edge.metadata = add ? (int64_t)extent->metadata : -(int64_t)extent->metadata;
	if (extent->set) {
		live_set_at(world->sets, extent->set)->data -= extent->data;
		live_set_at(world->sets, extent->set)->metadata -= extent->metadata;
	}
	if (set) {
		live_set_at(world->sets, set)->data += extent->data;
		live_set_at(world->sets, set)->metadata += extent->metadata;
	}
	extent->set = set;
	extent->mask ^= bit;
	assert_int_equal(live_groups_edges(world->groups, &edge, 1), 0);
}

static void bytes_move(struct world *world, unsigned count)
{
	while (count--) {
		unsigned at = root_pick(world, true);

		if (at < ROOTS)
			extent_toggle(world, pick(world, EXTENTS), at);
	}
	assert_int_equal(live_sets_settle(world->sets), 0);
}

static void snapshot_take(struct world *world)
{
	unsigned source = root_pick(world, true);
	unsigned at = root_pick(world, false);
	uint32_t mask = pick(world, 3) ? world->now.of_root[source % ROOTS] :
					 pick(world, UINT32_C(1) << UPPERS);
	uint64_t parents[UPPERS + 2];
	size_t count = 0;
	unsigned upper;

	if (source == ROOTS || at == ROOTS)
		return;
	root_begin(world, at);
	for (upper = 0; upper < UPPERS; upper++)
		if (mask >> upper & 1)
			parents[count++] = upper_ids[upper];
	if (count)
		parents[count++] = parents[0];
	world->now.of_root[at] = mask & world->uppers;
	world->seen.of_root[at] = mask & world->uppers & ~world->fresh;
	assert_int_equal(lineage_add_snapshot(&world->lineage, world->elements[source],
					      world->roots[at], &world->elements[at]),
			 0);
	assert_int_equal(live_groups_snapshot(world->groups, world->roots[source], world->roots[at],
					      world->elements[at], parents, count),
			 0);
	for (upper = 0; upper < EXTENTS; upper++)
		world->extents[upper].mask |= (world->extents[upper].mask >> source & 1) << at;
	bytes_move(world, 1 + pick(world, 4));
}

static void root_drop(struct world *world)
{
	unsigned at = root_pick(world, true);
	unsigned which;

	if (at == ROOTS)
		return;
	assert_int_equal(live_groups_remove(world->groups, world->roots[at]), -EBUSY);
	assert_int_equal(live_groups_drop(world->groups, world->roots[at], world->elements[at]), 0);
	assert_int_equal(live_sets_drop(world->sets, world->elements[at]), 0);
	lineage_remove(&world->lineage, world->elements[at]);
	assert_int_equal(live_groups_remove(world->groups, world->roots[at]), -ENOENT);
	for (which = 0; which < EXTENTS; which++) {
		struct extent *extent = &world->extents[which];

		extent->mask &= ~(UINT32_C(1) << at);
		extent->set = live_sets_find(world->sets, extent->set);
	}
	world->roots[at] = 0;
	world->now.of_root[at] = 0;
	world->seen.of_root[at] = 0;
}

static void accounts_end(struct world *world, struct pool *pool, bool dropped)
{
	bool members = false;
	size_t recounted;
	size_t wrong;
	unsigned upper;

	for (upper = 0; upper < UPPERS; upper++)
		members |= world->uppers >> upper & 1 && world_members(world, upper);
	assert_int_equal(live_groups_recount(world->groups, pool, false, &recounted), 0);
	world->exact += dropped && members && !recounted;
	if (!pick(world, 8)) {
		assert_int_equal(live_groups_recount(world->groups, pool, true, &wrong), 0);
		assert_int_equal(wrong, 0);
	}
	live_groups_publish(world->groups);
}

static void commit(struct world *world, struct pool *pool)
{
	unsigned changes = pick(world, 4) ? 0 : pick(world, 12);
	unsigned snapshots = pick(world, 3);
	unsigned drops = pick(world, 3);
	unsigned at;

	for (at = 0; at < changes; at++)
		hierarchy_change(world);
	accounts_begin(world);
	if (!pick(world, 4) || root_pick(world, true) == ROOTS)
		subvol_add(world);
	bytes_move(world, pick(world, 40));
	for (at = 0; at < snapshots; at++) {
		/* These count from the next one on. */
		if (!pick(world, 6))
			hierarchy_change(world);
		snapshot_take(world);
	}
	for (at = 0; at < drops; at++)
		root_drop(world);
	accounts_end(world, pool, drops);
	world_check(world);
}

static void histories_equal_brute_force(void **state)
{
	static struct world world;
	uint64_t seed = threads_data_seed("live_groups_model_test");
	struct pool *pool;
	uint64_t exact = 0;
	unsigned history;
	unsigned at;

	(void)state;
	assert_int_equal(pool_create(2, &pool, NULL), 0);
	for (history = 0; history < HISTORIES; history++) {
		world_begin(&world, seed, history);
		for (at = 0; at < COMMITS; at++)
			commit(&world, history % 2 ? pool : NULL);
		exact += world.exact;
		world_end(&world);
	}
	pool_destroy(pool);
	/* That drops keep groups above level 0 right by themselves was seen. */
	assert_in_range(exact, HISTORIES, HISTORIES * COMMITS);
}

/* What was written past the accounts is found, and counted as wrong unless it is known to be. */
static void recounts_find_what_is_wrong(void **state)
{
	static struct world world;
	const uint32_t *numbers;
	size_t recounted;
	unsigned at;

	(void)state;
	world_begin(&world, 2, 0);
	upper_make(&world, 0);
	accounts_begin(&world);
	for (at = 0; at < 5; at++)
		subvol_add(&world);
	bytes_move(&world, 200);
	accounts_end(&world, NULL, false);
	relation_change(&world, root_pick(&world, true), 0, true);
	accounts_begin(&world);
	assert_int_equal(live_groups_recount(world.groups, NULL, false, &recounted), 0);
	assert_int_equal(recounted, 1);
	live_groups_publish(world.groups);
	world_check(&world);

	at = root_pick(&world, true);
	assert_in_range(live_groups_above(world.groups, world.roots[at], &numbers), 1, 2);
	assert_in_range(numbers[0], 0, live_groups_limit(world.groups) - 1);
	live_groups_counter(world.groups, numbers[0])->excl += 4096;
	assert_int_equal(live_groups_recount(world.groups, NULL, false, &recounted), 0);
	assert_int_equal(recounted, 0);
	assert_int_equal(live_groups_recount(world.groups, NULL, true, &recounted), 0);
	assert_int_equal(recounted, 1);
	live_groups_publish(world.groups);
	world_check(&world);
	assert_int_equal(live_groups_above(world.groups, 999, &numbers), 0);

	live_groups_clear(world.groups);
	assert_int_equal(live_groups_recount(world.groups, NULL, true, &recounted), 0);
	assert_int_equal(recounted, 6);
	live_groups_publish(world.groups);
	world_check(&world);
	world_end(&world);
}

/* Enough sets for each worker to have some. */
static void workers_count_as_one_does(void **state)
{
	static struct world world;
	struct pool *pool;
	unsigned round;
	size_t wrong;
	unsigned at;

	(void)state;
	assert_int_equal(pool_create(2, &pool, NULL), 0);
	world_begin(&world, 3, 0);
	upper_make(&world, 0);
	accounts_begin(&world);
	for (at = 0; at < 20; at++)
		subvol_add(&world);
	for (at = 0; at < 10; at++)
		relation_change(&world, at, 0, true);
	accounts_begin(&world);
	bytes_move(&world, 30000);
	assert_in_range(live_sets_limit(world.sets), 10000, 40000);
	for (round = 0; round < 30; round++) {
		live_groups_clear(world.groups);
		assert_int_equal(live_groups_recount(world.groups, pool, true, &wrong), 0);
		live_groups_publish(world.groups);
		world_check(&world);
		assert_int_equal(live_groups_recount(world.groups, NULL, true, &wrong), 0);
		assert_int_equal(wrong, 0);
	}
	world_end(&world);
	pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_equal_brute_force),
		cmocka_unit_test(recounts_find_what_is_wrong),
		cmocka_unit_test(workers_count_as_one_does),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
