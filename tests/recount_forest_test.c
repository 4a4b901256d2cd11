/* SPDX-License-Identifier: MIT */
/* A forest that is changed through its public functions, and all oracles behind each round. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/forest/forest_impl.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "stress/oracle/refverify.h"
#include "tests/support/threads.h"

#define SECTOR UINT64_C(4096)
#define FILE_SECTORS 2048U
#define FILES 6U
#define SUBVOLS 8U

static struct refverify *verify;
static struct recount_accounts *accounts;
static struct rs_forest *forest;
static struct rs_writer *main_writer;      /* of the thread of the test */
static struct rs_subvol *subvols[SUBVOLS]; /* NULL: none */
static unsigned names;
static uint64_t seed;
static unsigned rounds_run;
static order_u32 wrong;
static order_u32 done;

static int on_ref(void *argument, const struct rs_ref_action *action)
{
	(void)argument;
	return refverify_ref(verify, action);
}

static int on_head(void *argument, const struct rs_head *head)
{
	(void)argument;
	return recount_accounts_head(accounts, head);
}

static int on_snapshot(void *argument, uint64_t source, uint64_t root)
{
	(void)argument;
	return recount_accounts_snapshot(accounts, source, root);
}

static int on_deleted(void *argument, uint64_t root)
{
	(void)argument;
	return recount_accounts_deleted(accounts, root);
}

static const struct rs_observer observer = {
	.ref = on_ref,
	.head = on_head,
	.snapshot = on_snapshot,
	.deleted = on_deleted,
};

static int set_up(void **state)
{
	const struct refverify_options trace = { .trace_depth = 8 };
	const struct rs_forest_options options = {
		.node_bytes = 4096,
		.no_drop_thread = true,
		.observer = &observer,
	};
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	rcu_thread_enroll();
	memset(subvols, 0, sizeof(subvols));
	names = 0;
	assert_int_equal(refverify_create(&trace, &verify), 0);
	assert_int_equal(recount_accounts_create(&accounts), 0);
	assert_int_equal(rs_forest_create(&options, &forest, &error), 0);
	subvols[0] = rs_subvol_find_id(forest, 5);
	assert_non_null(subvols[0]);
	return rs_writer_join(forest, &main_writer);
}

static int tear_down(void **state)
{
	(void)state;
	rs_writer_leave(main_writer);
	rs_forest_destroy(forest);
	recount_accounts_destroy(accounts);
	refverify_destroy(verify);
	rcu_thread_leave();
	return 0;
}

static void say_refverify(void)
{
	static char text[REFVERIFY_TEXT_BYTES];

	if (refverify_failures(verify))
		fail_msg("%s", refverify_text(verify, text, sizeof(text)));
}

/* Behind a commit. */
static void check_all(void)
{
	const struct recount_options all = { .references = true, .holdings = true };
	const struct recount_report *report;
	struct recount *recount;
	uint64_t at;
	int outcome;

	outcome = refverify_check(verify, forest->extents);
	say_refverify();
	assert_int_equal(outcome, 0);
	assert_int_equal(recount_create(forest, &all, &recount), 0);
	assert_int_equal(recount_accounts_compare(accounts, recount), 0);
	report = recount_report(recount);
	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		print_message("%s %llu: %s\n", recount_kind_name(report->findings[at].kind),
			      (unsigned long long)report->findings[at].bytenr,
			      report->findings[at].text);
	assert_int_equal(report->finding_count, 0);
	assert_true(report->blocks > 0 && report->extents >= report->blocks);
	recount_destroy(recount);
}

/* What may be refused for what the forest is like just now. */
static void expect_outcome(int outcome)
{
	if (outcome && outcome != -ENOENT && outcome != -EINVAL && outcome != -EROFS)
		order_fetch_add_relaxed(&wrong, 1); /* relaxed: read behind the join */
	if (!outcome)
		order_fetch_add_relaxed(&done, 1); /* likewise */
}

static void change_file(struct rs_writer *writer, struct random_state *random,
			struct rs_subvol *subvol, struct rs_subvol *other)
{
	uint64_t offset = random_state_below(random, FILE_SECTORS) * SECTOR;
	uint64_t length = (1 + random_state_below(random, 4)) * SECTOR;
	struct rs_file_range source = { .subvol = other };
	struct rs_file_range target = { .subvol = subvol, .offset = offset };
	char name[16];

	snprintf(name, sizeof(name), "f%u", (unsigned)random_state_below(random, FILES));
	if (rs_file_find(writer, subvol, name, true, &target.inode))
		return;
	switch (random_state_below(random, 10)) {
	case 0:
		source.offset = random_state_below(random, FILE_SECTORS) * SECTOR;
		if (!rs_file_find(writer, other, name, false, &source.inode))
			expect_outcome(rs_file_clone(writer, &source, length, &target));
		break;
	case 1:
		if (random_state_chance(random, 1, 8))
			expect_outcome(rs_file_truncate(writer, subvol, target.inode, offset));
		break;
	case 2:
		expect_outcome(rs_file_punch(writer, subvol, target.inode, offset, length));
		break;
	case 3:
		expect_outcome(rs_file_fallocate(writer, subvol, target.inode, offset, length));
		break;
	case 4:
		if (random_state_chance(random, 1, 8))
			expect_outcome(rs_file_unlink(writer, subvol, name));
		break;
	case 5:
		if (random_state_chance(random, 1, 16))
			expect_outcome(rs_file_defrag(writer, subvol, target.inode));
		break;
	default:
		expect_outcome(rs_file_write(writer, subvol, target.inode, offset, length));
	}
}

/* Subvolumes come and go between rounds only, so that threads have theirs. */
static void change_subvols(struct rs_writer *writer, struct random_state *random)
{
	unsigned at = 1 + (unsigned)random_state_below(random, SUBVOLS - 1);
	struct rs_subvol *source = subvols[random_state_below(random, SUBVOLS)];
	char name[16];

	snprintf(name, sizeof(name), "s%u", names++);
	if (subvols[at]) {
		assert_int_equal(rs_subvol_delete(writer, subvols[at]), 0);
		subvols[at] = NULL;
	} else if (source) {
		assert_int_equal(rs_subvol_snapshot(writer, source, name,
						    random_state_chance(random, 1, 4),
						    &subvols[at]),
				 0);
	} else {
		assert_int_equal(rs_subvol_create(writer, name, &subvols[at]), 0);
	}
}

static void change_some(struct rs_writer *writer, struct random_state *random, unsigned steps)
{
	unsigned step;

	for (step = 0; step < steps; step++) {
		struct rs_subvol *subvol = subvols[random_state_below(random, SUBVOLS)];
		struct rs_subvol *other = subvols[random_state_below(random, SUBVOLS)];

		if (subvol && other)
			change_file(writer, random, subvol, other);
	}
}

/* With an argument: commits too. */
static void crowd_main(void *argument, unsigned thread)
{
	struct random_state random;
	struct rs_writer *writer;

	random_state_seed(&random, seed, 1000 * (rounds_run + 1) + thread);
	if (rs_writer_join(forest, &writer)) {
		order_fetch_add_relaxed(&wrong, 1); /* relaxed: read behind the join */
		return;
	}
	change_some(writer, &random, 300);
	if (argument) {
		expect_outcome(rs_forest_commit(writer));
		change_some(writer, &random, 50);
		expect_outcome(rs_forest_commit(writer));
	}
	rs_writer_leave(writer);
}

/* Extents of one sector, with holes between them: at most 51 of them fill a leaf. */
static void fill(struct rs_writer *writer, struct rs_subvol *subvol, const char *name,
		 unsigned extents)
{
	uint64_t inode;
	unsigned at;

	assert_int_equal(rs_file_find(writer, subvol, name, true, &inode), 0);
	for (at = 0; at < extents; at++)
		assert_int_equal(rs_file_write(writer, subvol, inode, 2 * at * SECTOR, SECTOR), 0);
}

static void run_rounds(unsigned threads, unsigned rounds, unsigned subvol_changes)
{
	struct random_state random;
	unsigned change;

	order_store_relaxed(&wrong, 0); /* relaxed, both: no thread runs */
	order_store_relaxed(&done, 0);
	random_state_seed(&random, seed, 0);
	fill(main_writer, subvols[0], "f0", FILE_SECTORS / 2);
	fill(main_writer, subvols[0], "f1", FILE_SECTORS / 2);
	for (rounds_run = 0; rounds_run < rounds; rounds_run++) {
		threads_run(threads, crowd_main, NULL);
		say_refverify();
		assert_int_equal(order_load_relaxed(&wrong), 0);
		assert_int_equal(rs_forest_commit(main_writer), 0);
		check_all();
		for (change = 0; change < subvol_changes; change++)
			change_subvols(main_writer, &random);
		assert_true(rs_forest_drop_step(main_writer, 5) >= 0);
		assert_int_equal(rs_forest_commit(main_writer), 0);
		check_all();
	}
	assert_int_equal(rs_forest_drop_wait(main_writer), 0);
	check_all();
	assert_in_range(order_load_relaxed(&done), rounds, UINT32_MAX);
}

static void one_thread_keeps_all_in_order(void **state)
{
	(void)state;
	run_rounds(1, 12, 2);
}

static void threads_keep_all_in_order(void **state)
{
	(void)state;
	run_rounds(4, 6, 3);
}

/* Of three levels, so that a path has a middle: two snapshots, of which one goes step by step. */
static void deep_trees_are_taken_apart(void **state)
{
	const struct root_commit *commit;
	struct random_state random;
	unsigned steps = 0;
	int left = 1;

	(void)state;
	random_state_seed(&random, seed, 1);
	fill(main_writer, subvols[0], "f0", 7000);
	assert_int_equal(rs_subvol_snapshot(main_writer, subvols[0], "a", false, &subvols[1]), 0);
	assert_int_equal(rs_subvol_snapshot(main_writer, subvols[0], "b", false, &subvols[2]), 0);
	fill(main_writer, subvols[1], "f0", 3000);
	assert_int_equal(rs_subvol_delete(main_writer, subvols[1]), 0);
	/* Relaxed: one thread. Before others change what it shares, which may make trees lower. */
	commit = order_load_relaxed(&subvols[1]->commit);
	assert_in_range(commit->node->level, 2, FORMAT_LEVELS);
	subvols[1] = NULL;
	check_all();
	/* Ends: each step takes something apart. */
	for (; left; steps++) {
		left = rs_forest_drop_step(main_writer, 7);
		assert_in_range(left, 0, 1);
		change_some(main_writer, &random, 5);
		assert_int_equal(rs_forest_commit(main_writer), 0);
		if (steps % 4 == 0)
			check_all();
	}
	check_all();
	assert_in_range(steps, 4, 10000);
}

/* Trees are read again and again while writers change and commit them. */
static order_u32 reading;

static void read_main(void *argument, unsigned thread)
{
	const struct recount_options trees = { .holdings = true };

	if (thread) {
		crowd_main(argument, thread);
		order_fetch_sub_relaxed(&reading, 1); /* relaxed: it only tells when to stop */
		return;
	}
	do {
		struct recount *recount = NULL;

		rcu_section_enter();
		if (recount_create(forest, &trees, &recount) ||
		    recount_report(recount)->finding_count)
			order_fetch_add_relaxed(&wrong, 1); /* relaxed: read behind the join */
		rcu_section_exit();
		recount_destroy(recount);
	} while (order_load_relaxed(&reading)); /* relaxed: see above */
}

static void trees_can_be_read_beside_writers(void **state)
{
	unsigned round;

	(void)state;
	run_rounds(2, 3, 3);
	for (round = 0; round < 5; round++) {
		rounds_run = 100 + round;
		order_store_relaxed(&reading, 2); /* relaxed: no thread runs */
		threads_run(3, read_main, &reading);
		assert_int_equal(order_load_relaxed(&wrong), 0);
		assert_int_equal(rs_forest_commit(main_writer), 0);
		check_all();
	}
}

#define CHECK(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHECK(one_thread_keeps_all_in_order),
		CHECK(threads_keep_all_in_order),
		CHECK(deep_trees_are_taken_apart),
		CHECK(trees_can_be_read_beside_writers),
	};

	seed = threads_data_seed("recount_forest_test");
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
