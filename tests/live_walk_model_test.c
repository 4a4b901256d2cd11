/* SPDX-License-Identifier: MIT */
/* Walks along back references against what reading each root's whole tree gives, in random histories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "tests/support/threads.h"
#include "tests/support/walk_case.h"

#define BLOCK WALK_CASE_BLOCK
#define SUBVOLS_MAX 12U
#define FILES 3U
#define FILE_BLOCKS 200U
#define LARGE_BLOCKS 9000U /* of a file that makes trees of three levels */
#define ROUNDS 8U

static struct rs_observer observer;
static struct rs_subvol *subvols[SUBVOLS_MAX];
static unsigned subvol_count;

static struct rs_subvol *any_subvol(struct random_state *random)
{
	return subvols[random_state_below(random, subvol_count)];
}

static void change_file(struct random_state *random)
{
	struct rs_subvol *subvol = any_subvol(random);
	unsigned file = (unsigned)random_state_below(random, FILES + 1);
	unsigned span = file == FILES ? LARGE_BLOCKS : FILE_BLOCKS;
	unsigned first = (unsigned)random_state_below(random, span);
	unsigned count = 1 + (unsigned)random_state_below(random, 16);
	uint64_t inode = walk_case_inode(subvol, file);
	struct rs_file_range from = { any_subvol(random), 0, (uint64_t)first * BLOCK };
	struct rs_file_range to = { subvol, inode, random_state_below(random, span) * BLOCK };
	int result = 0;

	switch (random_state_below(random, 8)) {
	case 0:
	case 1:
	case 2:
		/* Past the end, or over itself: -EINVAL. */
		from.inode = walk_case_inode(from.subvol,
					     (unsigned)random_state_below(random, FILES + 1));
		result = rs_file_clone(walk_case.writer, &from, (uint64_t)count * BLOCK, &to);
		if (result == -EINVAL)
			result = 0;
		break;
	case 3:
		result = rs_file_punch(walk_case.writer, subvol, inode, (uint64_t)first * BLOCK,
				       (uint64_t)count * BLOCK);
		break;
	default:
		result = rs_file_write(walk_case.writer, subvol, inode, (uint64_t)first * BLOCK,
				       (uint64_t)count * BLOCK);
		break;
	}
	assert_int_equal(result, 0);
}

static void change_subvols(struct random_state *random)
{
	unsigned at;

	if (subvol_count < 2 || random_state_below(random, SUBVOLS_MAX) >= subvol_count) {
		struct rs_subvol *source = any_subvol(random);

		if (!random_state_below(random, 5))
			source = NULL;
		subvols[subvol_count] = walk_case_subvol(source);
		if (!source)
			walk_case_write(subvols[subvol_count], 0, 0, FILE_BLOCKS, 1);
		subvol_count++;
		return;
	}
	at = (unsigned)random_state_below(random, subvol_count);
	assert_int_equal(rs_subvol_delete(walk_case.writer, subvols[at]), 0);
	subvols[at] = subvols[--subvol_count];
}

/* `steps`: of how many blocks deleted trees are taken apart between; 0: at once. */
static void history(uint64_t seed, bool large, unsigned steps)
{
	struct random_state random;
	unsigned round;
	unsigned at;

	random_state_seed(&random, seed, 0);
	walk_case_begin(NULL);
	subvol_count = 0;
	subvols[subvol_count++] = walk_case_subvol(NULL);
	for (at = 0; at < FILES; at++)
		walk_case_write(subvols[0], at, 0, FILE_BLOCKS, 1);
	if (large)
		walk_case_write(subvols[0], FILES, 0, LARGE_BLOCKS, 1);
	assert_int_equal(subvols[0]->node->level, large ? 2 : 1);
	for (round = 0; round < ROUNDS * 3; round++) {
		change_subvols(&random);
		for (at = 0; at < 12; at++)
			change_file(&random);
		if (steps)
			assert_in_range(rs_forest_drop_step(walk_case.writer, steps), 0, 1);
		else
			assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
		assert_int_equal(rs_forest_commit(walk_case.writer), 0);
		assert_true(walk_case_check() > FILE_BLOCKS / 2);
	}
	assert_int_equal(rs_forest_drop_wait(walk_case.writer), 0);
	walk_case_check();
	walk_case_end();
}

static void walks_equal_recounts(void **state)
{
	uint64_t seed = threads_data_seed("walks_equal_recounts");
	unsigned at;

	(void)state;
	for (at = 0; at < 3; at++)
		history(seed + at, at % 2, 0);
}

/* Trees that are half taken apart are no roots, and what others share of them is found all the same. */
static void half_dropped_trees_are_left_out(void **state)
{
	uint64_t seed = threads_data_seed("half_dropped_trees_are_left_out");
	unsigned at;

	(void)state;
	for (at = 0; at < 4; at++) {
		walk_case.half_dropped = 0;
		history(seed + at, at % 2, 1 + at * 3);
		assert_true(walk_case.half_dropped > 0);
	}
}

static void shared_history(uint64_t seed)
{
	struct random_state random;
	unsigned at;

	random_state_seed(&random, seed, 0);
	subvols[subvol_count++] = walk_case_subvol(NULL);
	walk_case_write(subvols[0], 0, 0, FILE_BLOCKS, 1);
	for (at = 0; at < 5; at++) {
		subvols[subvol_count++] = walk_case_subvol(any_subvol(&random));
		change_file(&random);
	}
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
}

struct beside {
	struct walk_case_pairs expected;
	struct walk_case_tour tours[4];
	uint64_t seed;
	order_u32 changed;
};

static void beside_thread(void *argument, unsigned thread)
{
	struct beside *beside = argument;
	unsigned at;

	/* This thread is the writer's: it has joined as one. */
	if (thread) {
		walk_case_tour(&beside->tours[thread]);
		return;
	}
	for (at = 0; at < 200; at++) {
		struct rs_subvol *subvol = subvols[at % subvol_count];
		struct rs_writer *own;

		if (rs_writer_join(walk_case.forest, &own))
			return;
		if (!rs_file_write(own, subvol, 257, (uint64_t)(at % FILE_BLOCKS) * BLOCK, BLOCK))
			/* Relaxed: a sum, read when the threads have been joined. */
			order_fetch_add_relaxed(&beside->changed, 1);
		rs_writer_leave(own);
	}
}

/* What a transaction changes is not seen before its commit, by marks and counts in old blocks either. */
static void committed_trees_beside_writers(void **state)
{
	struct beside beside = { .seed = threads_data_seed("committed_trees_beside_writers") };
	struct rs_forest_statistics statistics;
	unsigned at;

	(void)state;
	walk_case_begin(NULL);
	subvol_count = 0;
	shared_history(beside.seed);
	beside.expected = walk_case_recount();
	for (at = 1; at < 4; at++)
		assert_int_equal(live_walk_create(walk_case.forest, &beside.tours[at].walk), 0);
	rs_forest_statistics_read(walk_case.forest, &statistics);
	threads_run(4, beside_thread, &beside);
	beside.tours[0].walk = walk_case.walk;
	walk_case_tour(&beside.tours[0]);
	assert_int_equal(walk_case.forest->commits, statistics.commits);
	assert_true(order_load_relaxed(&beside.changed) > 0);
	for (at = 0; at < 4; at++) {
		walk_case_assert_same(&beside.expected, &beside.tours[at]);
		free(beside.tours[at].pairs.pairs);
		if (at)
			live_walk_destroy(beside.tours[at].walk);
	}
	free(beside.expected.pairs);
	assert_int_equal(rs_forest_commit(walk_case.writer), 0);
	walk_case_check();
	walk_case_end();
}

static struct walk_case_tour inside; /* of the commit */

static int walk_inside(void *argument, uint64_t root)
{
	(void)argument;
	(void)root;
	free(inside.pairs.pairs);
	inside = (struct walk_case_tour){ .walk = walk_case.walk, .state = LIVE_WALK_CURRENT };
	walk_case_tour(&inside);
	return 0;
}

static int walk_inside_snapshot(void *argument, uint64_t source, uint64_t root)
{
	(void)source;
	return walk_inside(argument, root);
}

/* Behind the heads of a commit and before its trees are published. */
static void current_trees_in_a_commit(void **state)
{
	uint64_t seed = threads_data_seed("current_trees_in_a_commit");
	struct walk_case_pairs expected;
	struct random_state random;
	unsigned round;
	unsigned at;

	(void)state;
	observer = (struct rs_observer){ .snapshot = walk_inside_snapshot, .deleted = walk_inside };
	walk_case_begin(&observer);
	subvol_count = 0;
	random_state_seed(&random, seed, 0);
	shared_history(seed);
	for (round = 0; round < ROUNDS; round++) {
		for (at = 0; at < 20; at++)
			change_file(&random);
		if (round % 2)
			assert_in_range(rs_forest_drop_step(walk_case.writer, 2), 0, 1);
		if (round % 3 == 2) {
			assert_int_equal(rs_subvol_delete(walk_case.writer,
							  subvols[--subvol_count]),
					 0);
		} else {
			subvols[subvol_count] = walk_case_subvol(any_subvol(&random));
			subvol_count++;
		}
		expected = walk_case_recount();
		walk_case_assert_same(&expected, &inside);
		free(expected.pairs);
	}
	walk_case_end();
	free(inside.pairs.pairs);
	memset(&inside, 0, sizeof(inside));
}

/* Each allocation of a walk by itself: what it gives after is right. */
static void no_memory_fails_cleanly(void **state)
{
	const uint64_t *roots;
	uint64_t failed = 0;
	uint64_t refused;
	uint64_t extent;
	uint64_t nth;

	(void)state;
	walk_case_begin(NULL);
	subvol_count = 0;
	shared_history(threads_data_seed("no_memory_fails_cleanly"));
	/* An item that begins there, and shared as its leaf is. */
	walk_case_write(subvols[0], 0, FILE_BLOCKS - 1, 1, 1);
	walk_case_subvol(subvols[0]);
	extent = walk_case_extent(subvols[0], 0, FILE_BLOCKS - 1);
	for (nth = 1, refused = 1; refused; nth++) {
		struct live_walk *fresh;
		size_t count;
		int result;

		alloc_fail_arm(nth, 0);
		result = live_walk_create(walk_case.forest, &fresh);
		if (!result)
			result = live_walk_roots(fresh, LIVE_WALK_COMMITTED, extent, &roots, &count,
						 NULL);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		assert_int_equal(result, refused ? -ENOMEM : 0);
		failed += refused;
		if (fresh) {
			assert_int_equal(live_walk_roots(fresh, LIVE_WALK_COMMITTED, extent, &roots,
							 &count, NULL),
					 0);
			assert_true(count > 0 && roots[0] == 256);
		}
		live_walk_destroy(fresh);
	}
	assert_true(failed >= 5);
	walk_case_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_equal_recounts),
		cmocka_unit_test(half_dropped_trees_are_left_out),
		cmocka_unit_test(committed_trees_beside_writers),
		cmocka_unit_test(current_trees_in_a_commit),
		cmocka_unit_test(no_memory_fails_cleanly),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
