/* SPDX-License-Identifier: MIT */
/* The engine `extent`: what each commit makes of the counters of groups, against reading all trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/forest/commit.h"
#include "core/forest/trans.h"
#include "core/qgroup/live_extent.h"
#include "stress/oracle/recount_impl.h"
#include "tests/support/threads.h"

#define BLOCK 4096U
#define SUBVOLS_MAX 10U
#define ROOTS_MAX 256U
#define FILE_BLOCKS 300U
#define NAME_BYTES 16

static struct rs_forest *forest;
static struct rs_writer *writer;
static struct live_extent *engine;
static struct live_groups *groups;
static struct lineage lineage;
static struct rs_subvol *subvols[SUBVOLS_MAX];
static unsigned subvol_count;
static unsigned serial;
static unsigned deleting = 1; /* in the commit that deletes next */
static unsigned deleted;
/* By id of the root: its element, and the number of the group of level 1 that it is in. */
static uint32_t elements[ROOTS_MAX + 256];
static unsigned parents[ROOTS_MAX + 256];

static int watch_ref(void *argument, const struct rs_ref_action *action)
{
	(void)argument;
	if (engine)
		live_extent_trace(engine, action->bytenr, action->bytes, action->metadata);
	return 0;
}

static int account(uint64_t snapshot)
{
	struct rs_error error = RS_ERROR_INIT;
	int result = live_groups_begin(groups);

	if (!result)
		result = live_extent_account(engine, snapshot, &error);
	if (result)
		print_message("%s\n", error.what);
	return result;
}

static void finish(void)
{
	live_extent_finish(engine);
	live_groups_publish(groups);
}

static int watch_snapshot(void *argument, uint64_t source, uint64_t root)
{
	const uint64_t parent = rs_group_id(1, parents[source]);
	struct rs_error error = RS_ERROR_INIT;
	int result = account(root);

	(void)argument;
	parents[root] = parents[source];
	if (!result)
		result = lineage_add_snapshot(&lineage, elements[source], root, &elements[root]);
	if (!result)
		result = live_groups_snapshot(groups, source, root, elements[root], &parent, 1);
	if (!result)
		result = live_extent_account_snapshot(engine, source, root, &error);
	finish();
	return result;
}

/* Of several in one commit the first brings the accounts of the transaction, and the last their end. */
static int watch_deleted(void *argument, uint64_t root)
{
	struct rs_error error = RS_ERROR_INIT;
	int result = deleted++ ? 0 : account(0);

	(void)argument;
	if (!result)
		result = live_extent_drop(engine, root, &error);
	if (result)
		print_message("%s\n", error.what);
	if (!result)
		result = live_groups_drop(groups, root, elements[root]);
	lineage_remove(&lineage, elements[root]);
	elements[root] = 0;
	if (deleted == deleting) {
		deleted = 0;
		deleting = 1;
		finish();
	}
	return result;
}

static int account_then(struct rs_forest *unused, void *argument)
{
	int result = account(0);

	(void)unused;
	(void)argument;
	finish();
	return result;
}

static void commit(void)
{
	assert_int_equal(commit_then(writer, account_then, NULL), 0);
}

static void root_add(uint64_t root, unsigned parent)
{
	assert_true(root < ROOTS_MAX + 256);
	assert_int_equal(lineage_add_family(&lineage, root, &elements[root]), 0);
	assert_int_equal(live_groups_root_add(groups, root, elements[root]), 0);
	assert_int_equal(live_groups_assign(groups, root, rs_group_id(1, parent)), 0);
	assert_int_equal(live_groups_begin(groups), 0);
	parents[root] = parent;
}

static int count_one(void *argument, const struct extent *extent)
{
	(void)argument;
	return live_extent_count(engine, extent->bytenr, NULL);
}

static const struct rs_observer observer = {
	.ref = watch_ref,
	.snapshot = watch_snapshot,
	.deleted = watch_deleted,
};

/* What is there is counted: the top level, and its root node. */
static void begin(void)
{
	struct rs_forest_options options = {
		.node_bytes = 4096,
		.no_drop_thread = true,
		.observer = &observer,
	};
	struct rs_error error = RS_ERROR_INIT;

	engine = NULL;
	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	assert_int_equal(rs_writer_join(forest, &writer), 0);
	assert_int_equal(lineage_init(&lineage), 0);
	assert_int_equal(live_groups_create(&lineage, NULL, &groups), 0);
	assert_int_equal(live_groups_create_group(groups, rs_group_id(1, 0)), 0);
	assert_int_equal(live_groups_create_group(groups, rs_group_id(1, 1)), 0);
	assert_int_equal(live_groups_create_group(groups, rs_group_id(2, 0)), 0);
	assert_int_equal(live_groups_assign(groups, rs_group_id(1, 0), rs_group_id(2, 0)), 0);
	assert_int_equal(live_extent_create(forest, groups, &engine), 0);
	assert_int_equal(live_groups_begin(groups), 0);
	root_add(5, 0);
	assert_int_equal(extent_index_each(forest->extents, count_one, NULL), 0);
	live_groups_publish(groups);
	subvol_count = 0;
	serial = 0;
}

static void end(void)
{
	rs_writer_leave(writer);
	live_extent_destroy(engine);
	engine = NULL;
	rs_forest_destroy(forest);
	live_groups_destroy(groups);
	lineage_destroy(&lineage);
}

static struct rs_subvol *subvol_make(struct rs_subvol *source)
{
	char name[NAME_BYTES];
	struct rs_subvol *subvol;

	snprintf(name, sizeof(name), "v%u", serial++);
	if (source) {
		assert_int_equal(rs_subvol_snapshot(writer, source, name, false, &subvol), 0);
		return subvol;
	}
	assert_int_equal(rs_subvol_create(writer, name, &subvol), 0);
	root_add(rs_subvol_id(subvol), serial % 2);
	commit();
	return subvol;
}

static uint64_t inode_of(struct rs_subvol *subvol, unsigned file)
{
	char name[NAME_BYTES];
	uint64_t inode;

	snprintf(name, sizeof(name), "f%u", file);
	assert_int_equal(rs_file_find(writer, subvol, name, true, &inode), 0);
	return inode;
}

static int by_extent(const void *a, const void *b)
{
	const struct recount_holding *left = a;
	const struct recount_holding *right = b;

	if (left->bytenr != right->bytenr)
		return left->bytenr < right->bytenr ? -1 : 1;
	return left->root < right->root ? -1 : left->root > right->root;
}

static bool is_member(uint64_t root, uint64_t group)
{
	if (group >> 48 == 0)
		return root == group;
	if (group >> 48 == 1)
		return parents[root] == (unsigned)(group & UINT16_MAX);
	return parents[root] == 0;
}

/* The extent of holdings [first, end). */
static void add_extent(const struct recount_holding *holdings, size_t first, size_t end_at,
		       uint64_t group, struct rs_group_usage *usage)
{
	uint64_t bytes = holdings[first].bytes;
	uint64_t data = holdings[first].metadata ? 0 : bytes;
	size_t members = 0;
	size_t at;

	for (at = first; at < end_at; at++)
		members += is_member(holdings[at].root, group);
	usage->rfer += members ? bytes : 0;
	usage->data_rfer += members ? data : 0;
	usage->excl += members == end_at - first ? bytes : 0;
	usage->data_excl += members == end_at - first ? data : 0;
}

static void check_group(const struct recount *recount, uint64_t group)
{
	const struct recount_holding *holdings = recount->holdings;
	struct rs_group_usage expected = { 0 };
	struct rs_group_usage usage = { 0 };
	size_t first;
	size_t at;

	for (first = 0; first < recount->holding_count; first = at) {
		for (at = first;
		     at < recount->holding_count && holdings[at].bytenr == holdings[first].bytenr;
		     at++)
			;
		add_extent(holdings, first, at, group, &expected);
	}
	assert_int_equal(live_groups_read(groups, group, &usage), 0);
	if (usage.rfer != expected.rfer || usage.excl != expected.excl ||
	    usage.data_rfer != expected.data_rfer || usage.data_excl != expected.data_excl)
		fail_msg("group %" PRIx64 ": rfer %" PRIu64 ", excl %" PRIu64 "; recounted %" PRIu64
			 ", %" PRIu64 "; of data %" PRIu64 ", %" PRIu64 "; recounted %" PRIu64
			 ", %" PRIu64,
			 group, usage.rfer, usage.excl, expected.rfer, expected.excl,
			 usage.data_rfer, usage.data_excl, expected.data_rfer, expected.data_excl);
}

static void check(void)
{
	const struct recount_options options = { .holdings = true };
	struct recount *recount;
	size_t at;

	rcu_section_enter();
	assert_int_equal(recount_create(forest, &options, &recount), 0);
	rcu_section_exit();
	qsort(recount->holdings, recount->holding_count, sizeof(recount->holdings[0]), by_extent);
	assert_true(recount->holding_count > 0);
	for (at = 0; at < recount->root_count; at++)
		check_group(recount, recount->roots[at].root);
	check_group(recount, rs_group_id(1, 0));
	check_group(recount, rs_group_id(1, 1));
	check_group(recount, rs_group_id(2, 0));
	recount_destroy(recount);
}

static void known_changes_count(void **state)
{
	struct rs_group_usage usage;
	struct rs_subvol *v;
	struct rs_subvol *s;
	uint64_t inode;

	(void)state;
	begin();
	check();
	v = subvol_make(NULL);
	check();
	inode = inode_of(v, 0);
	assert_int_equal(rs_file_write(writer, v, inode, 0, 16 * BLOCK), 0);
	commit();
	assert_int_equal(live_groups_read(groups, 256, &usage), 0);
	assert_int_equal(usage.data_rfer, 16 * BLOCK);
	assert_int_equal(usage.data_excl, 16 * BLOCK);
	check();
	s = subvol_make(v);
	assert_int_equal(live_groups_read(groups, 256, &usage), 0);
	assert_int_equal(usage.data_rfer, 16 * BLOCK);
	assert_int_equal(usage.data_excl, 0);
	check();
	assert_int_equal(rs_file_write(writer, s, inode, 0, 16 * BLOCK), 0);
	commit();
	assert_int_equal(live_groups_read(groups, 256, &usage), 0);
	assert_int_equal(usage.data_excl, 16 * BLOCK);
	check();
	assert_int_equal(rs_subvol_delete(writer, v), 0);
	assert_int_equal(live_groups_read(groups, 256, &usage), -ENOENT);
	check();
	end();
}

/* As if another writer deleted it: the next commit shows that. */
static void delete_besides(struct rs_subvol *subvol)
{
	assert_int_equal(trans_join(writer, 0), 0);
	lock_acquire(&subvol->lock);
	/* Relaxed: under the lock of the root. */
	order_store_relaxed(&subvol->state, ROOT_DELETED);
	trans_dirty(subvol);
	lock_release(&subvol->lock);
	trans_end(writer);
	deleting++;
}

/* What two of the roots had becomes nobody's, and what three had becomes the third's. */
static void roots_go_together(void **state)
{
	struct rs_group_usage usage;
	struct rs_subvol *v;
	struct rs_subvol *s;
	struct rs_subvol *t;
	uint64_t inode;

	(void)state;
	begin();
	v = subvol_make(NULL);
	inode = inode_of(v, 0);
	assert_int_equal(rs_file_write(writer, v, inode, 0, 8 * BLOCK), 0);
	s = subvol_make(v);
	assert_int_equal(rs_file_write(writer, s, inode, 0, BLOCK), 0);
	t = subvol_make(s);
	assert_int_equal(rs_file_punch(writer, t, inode, 4 * BLOCK, 4 * BLOCK), 0);
	assert_int_equal(rs_file_write(writer, v, inode, 20 * BLOCK, BLOCK), 0);
	commit();
	check();
	assert_int_equal(rs_file_write(writer, v, inode, 2 * BLOCK, BLOCK), 0);
	assert_int_equal(rs_file_write(writer, s, inode, 3 * BLOCK, BLOCK), 0);
	delete_besides(v);
	assert_int_equal(rs_subvol_delete(writer, s), 0);
	assert_int_equal(live_groups_read(groups, 258, &usage), 0);
	assert_int_equal(usage.data_rfer, 9 * BLOCK);
	assert_int_equal(usage.data_excl, 9 * BLOCK);
	check();
	end();
}

static struct rs_subvol *any_subvol(struct random_state *random)
{
	return subvols[random_state_below(random, subvol_count)];
}

static void change_file(struct random_state *random)
{
	struct rs_subvol *subvol = any_subvol(random);
	struct rs_subvol *other = any_subvol(random);
	uint64_t length = (1 + random_state_below(random, 12)) * BLOCK;
	struct rs_file_range from = { other,
				      inode_of(other, (unsigned)random_state_below(random, 2)),
				      random_state_below(random, FILE_BLOCKS) * BLOCK };
	struct rs_file_range to = { subvol,
				    inode_of(subvol, (unsigned)random_state_below(random, 2)),
				    random_state_below(random, FILE_BLOCKS) * BLOCK };
	int result;

	switch (random_state_below(random, 6)) {
	case 0:
	case 1:
		result = rs_file_clone(writer, &from, length, &to);
		if (result == -EINVAL)
			result = 0;
		break;
	case 2:
		result = rs_file_punch(writer, subvol, to.inode, to.offset, length);
		break;
	default:
		result = rs_file_write(writer, subvol, to.inode, to.offset, length);
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
		subvols[subvol_count] = subvol_make(source);
		subvol_count++;
		return;
	}
	at = (unsigned)random_state_below(random, subvol_count);
	assert_int_equal(rs_subvol_delete(writer, subvols[at]), 0);
	subvols[at] = subvols[--subvol_count];
}

/* With changes of the transaction that a snapshot or a deletion ends, and trees half taken apart. */
static void history(uint64_t seed)
{
	struct random_state random;
	unsigned round;
	unsigned at;

	random_state_seed(&random, seed, 0);
	begin();
	subvols[subvol_count++] = subvol_make(NULL);
	for (at = 0; at < FILE_BLOCKS; at++)
		assert_int_equal(rs_file_write(writer, subvols[0], inode_of(subvols[0], at % 2),
					       (uint64_t)at * BLOCK, BLOCK),
				 0);
	commit();
	check();
	for (round = 0; round < 30; round++) {
		for (at = 0; at < 10; at++)
			change_file(&random);
		if (round % 2)
			change_subvols(&random);
		else
			commit();
		check();
		assert_in_range(rs_forest_drop_step(writer, 3), 0, 1);
	}
	assert_int_equal(rs_forest_drop_wait(writer), 0);
	commit();
	check();
	end();
}

static void histories_equal_recounts(void **state)
{
	uint64_t seed = threads_data_seed("histories_equal_recounts");
	unsigned at;

	(void)state;
	for (at = 0; at < 4; at++)
		history(seed + at);
}

static void trace_thread(void *argument, unsigned thread)
{
	struct rs_writer *own;
	unsigned at;

	(void)argument;
	if (rs_writer_join(forest, &own))
		return;
	for (at = 0; at < 100; at++)
		(void)!rs_file_write(own, subvols[(thread + at) % subvol_count], 257,
				     (uint64_t)(at * 7 % FILE_BLOCKS) * BLOCK, 2 * BLOCK);
	rs_writer_leave(own);
}

static void writers_trace_together(void **state)
{
	unsigned at;

	(void)state;
	begin();
	subvols[subvol_count++] = subvol_make(NULL);
	for (at = 0; at < FILE_BLOCKS; at++)
		assert_int_equal(rs_file_write(writer, subvols[0], inode_of(subvols[0], 0),
					       (uint64_t)at * BLOCK, BLOCK),
				 0);
	commit();
	for (at = 0; at < 4; at++) {
		subvols[subvol_count] = subvol_make(subvols[at / 2]);
		subvol_count++;
	}
	for (at = 0; at < 3; at++) {
		threads_run(4, trace_thread, NULL);
		commit();
		check();
	}
	end();
}

/* A note that could not be made is told by the commit, and not forgotten before its end. */
static void no_memory_is_told(void **state)
{
	uint64_t refused = 1;
	uint64_t nth;

	(void)state;
	begin();
	subvols[subvol_count++] = subvol_make(NULL);
	assert_int_equal(rs_file_write(writer, subvols[0], inode_of(subvols[0], 0), 0, BLOCK), 0);
	commit();
	for (nth = 1; refused; nth++) {
		struct live_extent *fresh;
		struct rs_error error = RS_ERROR_INIT;
		int result;

		alloc_fail_arm(nth, 0);
		result = live_extent_create(forest, groups, &fresh);
		if (!result) {
			live_extent_trace(fresh, subvols[0]->node->bytenr, 4096, true);
			result = live_extent_account(fresh, 0, &error);
		}
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		assert_int_equal(result, refused ? -ENOMEM : 0);
		live_extent_destroy(fresh);
		assert_true(nth > 5 || refused);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_changes_count),
		cmocka_unit_test(roots_go_together),
		cmocka_unit_test(histories_equal_recounts),
		cmocka_unit_test(writers_trace_together),
		cmocka_unit_test(no_memory_is_told),
	};

	rcu_thread_adopt();
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
