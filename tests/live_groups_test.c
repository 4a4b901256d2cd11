/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>

#include "core/base/alloc.h"
#include "core/base/rcu.h"
#include "core/qgroup/live_groups.h"
#include "tests/support/threads.h"

#define FAMILIES 20U

/* Roots 256, 257, ... that have no snapshots. */
struct world {
	struct lineage lineage;
	struct live_sets *sets;
	struct live_groups *groups;
	uint32_t elements[FAMILIES];
	uint32_t set; /* of the first root */
};

static void world_begin(struct world *world)
{
	unsigned at;

	assert_int_equal(lineage_init(&world->lineage), 0);
	assert_int_equal(live_sets_create(&world->lineage, &world->sets), 0);
	for (at = 0; at < FAMILIES; at++)
		assert_int_equal(lineage_add_family(&world->lineage, 256 + at,
						    &world->elements[at]),
				 0);
	assert_int_equal(live_sets_toggle(world->sets, LIVE_SET_EMPTY, world->elements[0],
					  &world->set),
			 0);
	assert_int_equal(live_sets_settle(world->sets), 0);
}

static void world_end(struct world *world)
{
	rcu_defer_barrier();
	live_groups_destroy(world->groups);
	live_sets_destroy(world->sets);
	lineage_destroy(&world->lineage);
}

/* Each error by itself, in one thread. */
static void hierarchy_says_what_is_wrong(void **state)
{
	const uint64_t low = rs_group_id(1, 5);
	const uint64_t high = rs_group_id(2, 5);
	const uint64_t missing = rs_group_id(1, 6);
	static struct world world;
	struct live_groups *groups;
	struct rs_group_usage usage;
	uint64_t id = 0;

	(void)state;
	world_begin(&world);
	assert_int_equal(live_groups_create(&world.lineage, world.sets, &groups), 0);
	world.groups = groups;
	assert_int_equal(live_groups_next(groups, &id), -ENOENT);
	assert_int_equal(live_groups_begin(groups), 0);
	assert_int_equal(live_groups_root_add(groups, 256, world.elements[0]), 0);
	assert_int_equal(live_groups_create_group(groups, 256), -EINVAL);
	assert_int_equal(live_groups_create_group(groups, 257), -EINVAL);
	assert_int_equal(live_groups_create_group(groups, low), 0);
	assert_int_equal(live_groups_create_group(groups, low), -EEXIST);
	assert_int_equal(live_groups_create_group(groups, high), 0);
	assert_int_equal(live_groups_read(groups, low, &usage), 0);
	assert_int_equal(usage.rfer, 0);
	assert_int_equal(live_groups_read(groups, missing, &usage), -ENOENT);

	assert_int_equal(live_groups_assign(groups, low, low), -EINVAL);
	assert_int_equal(live_groups_assign(groups, high, low), -EINVAL);
	assert_int_equal(live_groups_assign(groups, low, 256), -EINVAL);
	assert_int_equal(live_groups_assign(groups, missing, high), -ENOENT);
	assert_int_equal(live_groups_assign(groups, 256, missing), -ENOENT);
	assert_int_equal(live_groups_assign(groups, 257, low), -ENOENT);
	assert_int_equal(live_groups_unassign(groups, high, low), -EINVAL);
	assert_int_equal(live_groups_unassign(groups, 256, low), -ENOENT);
	assert_int_equal(live_groups_unassign(groups, 256, missing), -ENOENT);
	assert_int_equal(live_groups_assign(groups, 256, low), 0);
	assert_int_equal(live_groups_assign(groups, 256, low), -EEXIST);
	assert_int_equal(live_groups_assign(groups, 256, high), 0);
	assert_int_equal(live_groups_assign(groups, low, high), 0);

	assert_int_equal(live_groups_remove(groups, missing), -ENOENT);
	assert_int_equal(live_groups_remove(groups, 257), -ENOENT);
	assert_int_equal(live_groups_remove(groups, 256), -EBUSY);
	assert_int_equal(live_groups_remove(groups, low), -EBUSY);
	assert_int_equal(live_groups_unassign(groups, 256, low), 0);
	assert_int_equal(live_groups_remove(groups, low), 0);
	assert_int_equal(live_groups_read(groups, low, &usage), -ENOENT);
	assert_int_equal(live_groups_remove(groups, high), -EBUSY);

	assert_int_equal(live_groups_inherit_check(groups, &high, 1), 0);
	assert_int_equal(live_groups_inherit_check(groups, NULL, 0), 0);
	assert_int_equal(live_groups_inherit_check(groups, &missing, 1), -ENOENT);
	assert_int_equal(live_groups_inherit_check(groups, &(uint64_t){ 256 }, 1), -EINVAL);

	id = 0;
	assert_int_equal(live_groups_next(groups, &id), 0);
	assert_int_equal(id, 256);
	assert_int_equal(live_groups_next(groups, &id), 0);
	assert_int_equal(id, high);
	assert_int_equal(live_groups_next(groups, &id), -ENOENT);
	id = UINT64_MAX;
	assert_int_equal(live_groups_next(groups, &id), -ENOENT);
	assert_int_equal(live_groups_drop(groups, 256, world.elements[0]), 0);
	assert_int_equal(live_groups_remove(groups, 256), -ENOENT);
	assert_int_equal(live_groups_remove(groups, high), 0);
	world_end(&world);
}

/* Groups that come and go leave nothing. */
static void memory_does_not_grow(void **state)
{
	static struct world world;
	struct live_groups *groups;
	uint64_t first = 0;
	unsigned round;
	unsigned at;

	(void)state;
	world_begin(&world);
	assert_int_equal(live_groups_create(&world.lineage, world.sets, &groups), 0);
	world.groups = groups;
	assert_int_equal(live_groups_root_add(groups, 256, world.elements[0]), 0);
	for (round = 0; round < 50; round++) {
		for (at = 0; at < 100; at++) {
			assert_int_equal(live_groups_create_group(groups, rs_group_id(1, at)), 0);
			assert_int_equal(live_groups_assign(groups, 256, rs_group_id(1, at)), 0);
		}
		assert_int_equal(live_groups_begin(groups), 0);
		assert_int_equal(live_groups_limit(groups), 101);
		assert_in_range(live_groups_memory(groups), 100 * sizeof(uint64_t), UINT32_MAX);
		for (at = 0; at < 100; at++) {
			assert_int_equal(live_groups_unassign(groups, 256, rs_group_id(1, at)), 0);
			assert_int_equal(live_groups_remove(groups, rs_group_id(1, at)), 0);
		}
		assert_int_equal(live_groups_begin(groups), 0);
		first = first ? first : live_groups_memory(groups);
	}
	assert_in_range(live_groups_memory(groups), 1, first + 8192);
	world_end(&world);
}

#define CROWD_UPPERS 5U

/* Readers beside the accounts, and beside somebody who changes the hierarchy. */

enum crowd_role {
	CROWD_ACCOUNTS, /* steps are commits */
	CROWD_READER,   /* of the root's group: steps are readings */
	CROWD_ABOVE,    /* of one that comes and goes: those where it had bytes */
	CROWD_CHANGER,  /* groups that it has made and removed */
	CROWD_ROLES,
};

/* At least. A reading that two commits overtake takes many of them. */
static const uint64_t crowd_steps[CROWD_ROLES] = { 50000, 1000, 1000, 50 };

struct crowd {
	struct world world;
	order_u32 ended;
	order_u64 wrong;
	order_u64 steps[CROWD_ROLES];
};

/* Threads get the CPU when they do: it ends when all have done enough. */
static bool crowd_ends(struct crowd *crowd)
{
	unsigned role;
	bool ends = true;

	for (role = 0; role < CROWD_ROLES; role++) /* Relaxed: late is fine. */
		ends &= order_load_relaxed(&crowd->steps[role]) >= crowd_steps[role];
	return ends;
}

static void crowd_step(struct crowd *crowd, enum crowd_role role, bool wrong)
{
	order_fetch_add_relaxed(&crowd->wrong, wrong);   /* relaxed: a sum */
	order_fetch_add_relaxed(&crowd->steps[role], 1); /* relaxed: a sum */
}

static void crowd_account(struct crowd *crowd)
{
	struct live_groups *groups = crowd->world.groups;
	struct live_set *set = live_set_at(crowd->world.sets, crowd->world.set);
	struct live_edge edge = { LIVE_SET_EMPTY, crowd->world.elements[0], 4096, 12288 };

	while (!crowd_ends(crowd)) {
		bool failed = live_groups_begin(groups) != 0;
		size_t recounted;

		set->data += 4096;
		set->metadata += 12288;
		failed |= live_groups_edges(groups, &edge, 1) != 0;
		failed |= live_groups_recount(groups, NULL, false, &recounted) != 0;
		live_groups_publish(groups);
		crowd_step(crowd, CROWD_ACCOUNTS, failed);
	}
	order_store_relaxed(&crowd->ended, 1); /* relaxed: a switch */
}

static void crowd_read(struct crowd *crowd, enum crowd_role role, uint64_t id)
{
	bool there = role == CROWD_READER;
	struct rs_group_usage usage = { 0 };
	uint64_t last = 0;

	while (!order_load_relaxed(&crowd->ended)) { /* relaxed: a switch */
		int ret = live_groups_read(crowd->world.groups, id, &usage);
		bool wrong;

		if (!there && (ret == -ENOENT || !usage.rfer)) {
			sched_yield();
			continue;
		}
		wrong = ret || usage.rfer != usage.excl || usage.data_rfer != usage.data_excl ||
			usage.rfer != 4 * usage.data_rfer || (there && usage.rfer < last);
		last = usage.rfer;
		crowd_step(crowd, role, wrong);
	}
}

/* Until two commits have ended, so that the group has bytes. */
static void crowd_await(struct crowd *crowd)
{
	/* Relaxed: numbers, no more. Ends with the accounts. */
	uint64_t from = order_load_relaxed(&crowd->steps[CROWD_ACCOUNTS]);

	while (order_load_relaxed(&crowd->steps[CROWD_ACCOUNTS]) < from + 2 &&
	       !order_load_relaxed(&crowd->ended))
		sched_yield();
}

static void crowd_change(struct crowd *crowd)
{
	struct live_groups *groups = crowd->world.groups;
	unsigned step;

	for (step = 0; !order_load_relaxed(&crowd->ended); step++) { /* relaxed: a switch */
		uint64_t id = rs_group_id((uint16_t)(1 + step % CROWD_UPPERS), 0);
		uint64_t next = 256;
		bool wrong = live_groups_create_group(groups, id) != 0;

		wrong |= live_groups_assign(groups, 256, id) != 0;
		wrong |= live_groups_next(groups, &next) != 0 || next != id;
		if (step % CROWD_UPPERS % 2 == 0)
			crowd_await(crowd);
		wrong |= live_groups_unassign(groups, 256, id) != 0;
		wrong |= live_groups_remove(groups, id) != 0;
		crowd_step(crowd, CROWD_CHANGER, wrong);
	}
}

static void crowd_thread(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;

	if (thread == CROWD_ACCOUNTS)
		crowd_account(crowd);
	else if (thread == CROWD_READER)
		crowd_read(crowd, CROWD_READER, 256);
	else if (thread == CROWD_ABOVE)
		crowd_read(crowd, CROWD_ABOVE, rs_group_id(1, 0));
	else
		crowd_change(crowd);
}

static void readers_see_whole_commits(void **state)
{
	static struct crowd crowd;
	struct world *world = &crowd.world;

	(void)state;
	world_begin(world);
	assert_int_equal(live_groups_create(&world->lineage, world->sets, &world->groups), 0);
	assert_int_equal(live_groups_begin(world->groups), 0);
	assert_int_equal(live_groups_root_add(world->groups, 256, world->elements[0]), 0);
	threads_run(CROWD_ROLES, crowd_thread, &crowd);
	assert_int_equal(order_load_relaxed(&crowd.wrong), 0); /* relaxed: threads were joined */
	world_end(world);
}

/* Each call again until it succeeds: what failed has changed nothing that the rest can see. */
static int refused(int ret, unsigned *failures)
{
	if (!ret)
		return 0;
	assert_int_equal(ret, -ENOMEM);
	(*failures)++;
	alloc_fail_arm(0, 0);
	return 1;
}

static void fail_rest(struct world *world, unsigned *failures)
{
	struct live_groups *groups = world->groups;
	size_t recounted;
	unsigned at;

	for (at = 0; at < 40; at++)
		while (refused(live_groups_create_group(groups, rs_group_id(1, at)), failures))
			;
	for (at = 0; at < 3; at++)
		while (refused(live_groups_assign(groups, 256 + at, rs_group_id(1, at)), failures))
			;
	while (refused(live_groups_assign(groups, 256, rs_group_id(1, 1)), failures))
		;
	while (refused(live_groups_begin(groups), failures))
		;
	while (refused(live_groups_recount(groups, NULL, false, &recounted), failures))
		;
	while (refused(live_groups_recount(groups, NULL, true, &recounted), failures))
		;
	assert_int_equal(recounted, 0);
	live_groups_publish(groups);
}

/* Takes a snapshot, with memory failing; then all is as if it had succeeded, or the root had never had a group. */
static void fail_snapshot(struct world *world, unsigned *failures)
{
	const uint64_t parents[2] = { rs_group_id(1, 1), rs_group_id(1, 2) };
	struct live_groups *groups = world->groups;
	struct rs_group_usage usage;
	uint32_t element;
	size_t wrong;

	alloc_fail_pause();
	assert_int_equal(lineage_add_snapshot(&world->lineage, world->elements[0], 300, &element),
			 0);
	alloc_fail_resume();
	refused(live_groups_snapshot(groups, 256, 300, element, parents, 2), failures);
	while (refused(live_groups_begin(groups), failures))
		;
	while (refused(live_groups_recount(groups, NULL, true, &wrong), failures))
		;
	live_groups_publish(groups);
	if (live_groups_read(groups, 300, &usage) == 0) {
		assert_int_equal(usage.rfer, 4096);
		assert_int_equal(usage.excl, 0);
	}
	assert_int_equal(live_groups_read(groups, rs_group_id(1, 0), &usage), 0);
	assert_int_equal(usage.rfer, 4096);
	assert_int_equal(usage.excl, 0);
	assert_int_equal(live_groups_drop(groups, 300, element), 0);
	lineage_remove(&world->lineage, element);
	while (refused(live_groups_recount(groups, NULL, true, &wrong), failures))
		;
	live_groups_publish(groups);
	assert_int_equal(live_groups_read(groups, 300, &usage), -ENOENT);
	assert_int_equal(live_groups_read(groups, rs_group_id(1, 0), &usage), 0);
	assert_int_equal(usage.rfer, 4096);
	assert_int_equal(usage.excl, 4096);
}

static bool fail_one(uint64_t nth)
{
	static struct world world;
	unsigned failures = 0;
	struct live_edge edge;
	unsigned at;

	world_begin(&world);
	alloc_fail_arm(nth, 0);
	while (refused(live_groups_create(&world.lineage, world.sets, &world.groups), &failures))
		;
	for (at = 0; at < FAMILIES; at++)
		while (refused(live_groups_root_add(world.groups, 256 + at, world.elements[at]),
			       &failures))
			;
	live_set_at(world.sets, world.set)->data = 4096;
	edge = (struct live_edge){ LIVE_SET_EMPTY, world.elements[0], 4096, 0 };
	assert_int_equal(live_groups_edges(world.groups, &edge, 1), 0);
	fail_rest(&world, &failures);
	fail_snapshot(&world, &failures);
	alloc_fail_arm(0, 0);
	world_end(&world);
	return failures;
}

static void each_allocation_may_fail(void **state)
{
	uint64_t nth = 1;

	(void)state;
	while (fail_one(nth))
		nth++;
	assert_in_range(nth, 50, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hierarchy_says_what_is_wrong),
		cmocka_unit_test(memory_does_not_grow),
		cmocka_unit_test(readers_see_whole_commits),
		cmocka_unit_test(each_allocation_may_fail),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
