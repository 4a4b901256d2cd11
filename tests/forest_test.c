/* SPDX-License-Identifier: MIT */
/* The forest as a whole, under all its oracles. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/plant.h"
#include "core/base/rcu.h"
#include "tests/support/threads.h"
#include "tests/support/watched_forest.h"

static struct rs_subvol *subvol_create(const char *name)
{
	struct rs_subvol *subvol;

	assert_int_equal(rs_subvol_create(writer, name, &subvol), 0);
	return subvol;
}

static struct rs_subvol *subvol_snapshot(struct rs_subvol *source, const char *name)
{
	struct rs_subvol *subvol;

	assert_int_equal(rs_subvol_snapshot(writer, source, name, false, &subvol), 0);
	return subvol;
}

static void drop_all(unsigned blocks)
{
	int result;

	do {
		result = rs_forest_drop_step(writer, blocks);
		assert_in_range(result, 0, 1);
		forest_crowd_check(&crowd);
	} while (result);
}

static void an_empty_forest_is_whole(void **state)
{
	(void)state;
	forest_begin(0, false);
	assert_non_null(rs_subvol_find_id(forest, 5));
	assert_null(rs_subvol_find(forest, "v"));
	forest_end();
}

static void what_is_written_is_counted(void **state)
{
	struct rs_forest_statistics statistics;

	(void)state;
	forest_begin(4096, false);
	file_write(subvol_create("v"), "f", 0, 500);
	forest_crowd_check(&crowd);
	file_write(rs_subvol_find(forest, "v"), "f", 100, 300);
	forest_crowd_check(&crowd);
	rs_forest_statistics_read(forest, &statistics);
	assert_int_equal(statistics.subvols, 2);
	forest_end();
}

static void snapshots_share(void **state)
{
	struct rs_subvol *subvol;
	struct rs_subvol *snapshots[8];
	char name[16];
	unsigned at;

	(void)state;
	forest_begin(4096, false);
	subvol = subvol_create("v");
	file_write(subvol, "f", 0, 400);
	for (at = 0; at < 8; at++) {
		snprintf(name, sizeof(name), "s%u", at);
		snapshots[at] = subvol_snapshot(at % 3 == 2 ? snapshots[at - 1] : subvol, name);
		forest_crowd_check(&crowd);
		file_write(subvol, "f", at * 40, 30);
		file_write(snapshots[at], "f", at * 20 + 100, 60);
		forest_crowd_check(&crowd);
	}
	forest_end();
}

/* The owner of shared blocks goes: its references become full. In steps of all sizes. */
static void deleted_trees_are_taken_apart(void **state)
{
	static const unsigned steps[] = { 1, 3, 50, 10000 };
	unsigned at;

	(void)state;
	for (at = 0; at < 4; at++) {
		struct rs_subvol *subvol;
		struct rs_subvol *snapshot;

		forest_begin(4096, true);
		subvol = subvol_create("v");
		file_write(subvol, "f", 0, 700);
		snapshot = subvol_snapshot(subvol, "s");
		file_write(subvol, "f", 20, 200);
		subvol_snapshot(snapshot, "t");
		file_write(snapshot, "f", 300, 50);
		assert_int_equal(rs_subvol_delete(writer, subvol), 0);
		assert_null(rs_subvol_find(forest, "v"));
		forest_crowd_check(&crowd);
		drop_all(steps[at]);
		file_write(snapshot, "f", 0, 100);
		assert_int_equal(rs_subvol_delete(writer, snapshot), 0);
		drop_all(steps[at]);
		file_write(rs_subvol_find(forest, "t"), "f", 0, 30);
		assert_int_equal(rs_subvol_delete(writer, rs_subvol_find(forest, "t")), 0);
		drop_all(steps[at]);
		forest_end();
	}
}

/* While a tree is half taken apart, others that share it go on. */
static void others_write_meanwhile(void **state)
{
	struct rs_subvol *subvol;
	struct rs_subvol *snapshot;
	unsigned round = 0;
	int result;

	(void)state;
	forest_begin(4096, true);
	subvol = subvol_create("v");
	file_write(subvol, "f", 0, 900);
	snapshot = subvol_snapshot(subvol, "s");
	assert_int_equal(rs_subvol_delete(writer, subvol), 0);
	do {
		result = rs_forest_drop_step(writer, 2);
		assert_in_range(result, 0, 1);
		file_write(snapshot, "f", round * 37 % 900, 3);
		if (round++ % 3 == 0)
			forest_crowd_check(&crowd);
	} while (result);
	assert_true(round > 3);
	forest_end();
}

/* Until the next commit, and while others write. */
static void what_is_committed_stays(void **state)
{
	const struct recount_options options = { .holdings = true };
	const struct recount_root *roots;
	struct recount *recount;
	struct rs_subvol *subvol;
	uint64_t rfer;
	size_t count;
	unsigned at;

	(void)state;
	forest_begin(4096, false);
	subvol = subvol_create("v");
	file_write(subvol, "f", 0, 300);
	forest_crowd_check(&crowd);
	for (at = 0; at < 10; at++) {
		/* All of it anew, and more. */
		file_write(subvol, "f", 0, 300 + at * 10);
		rcu_thread_adopt();
		rcu_section_enter();
		assert_int_equal(recount_create(forest, &options, &recount), 0);
		rcu_section_exit();
		assert_int_equal(recount_report(recount)->finding_count, 0);
		roots = recount_roots(recount, &count);
		assert_int_equal(count, 2);
		rfer = at ? rfer : roots[1].rfer;
		assert_int_equal(roots[1].rfer, rfer);
		recount_destroy(recount);
	}
	forest_end();
}

/* Who overwrites the source of a clone as soon as it can. */
static struct {
	struct rs_subvol *source;
	uint64_t inode;
	order_u32 go;
	order_u32 done;
	int result;
} moving;

static void *move_source(void *unused)
{
	const struct timespec nap = { .tv_nsec = 100000 };
	struct rs_writer *other;

	(void)unused;
	moving.result = rs_writer_join(forest, &other);
	if (moving.result)
		return NULL;
	/* Relaxed, here and below: nothing but the moment. */
	while (!order_load_relaxed(&moving.go))
		nanosleep(&nap, NULL);
	moving.result = rs_file_write(other, moving.source, moving.inode, 0, BLOCK);
	order_store_relaxed(&moving.done, 1);
	rs_writer_leave(other);
	return NULL;
}

/* In the clone: gives the other thread 100 ms, which do not suffice. */
static void source_read(const char *name, void *unused)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	unsigned left = 100;

	(void)unused;
	if (strcmp(name, "file.source-read") != 0 || order_load_relaxed(&moving.go))
		return;
	order_store_relaxed(&moving.go, 1);
	while (left-- && !order_load_relaxed(&moving.done))
		nanosleep(&nap, NULL);
}

static void a_clone_holds_its_source_still(void **state)
{
	struct rs_file_range from;
	struct rs_file_range to;
	pthread_t thread;

	(void)state;
	forest_begin(0, false);
	from = (struct rs_file_range){ .subvol = subvol_create("v") };
	to = (struct rs_file_range){ .subvol = subvol_create("w") };
	file_write(from.subvol, "f", 0, 1);
	assert_int_equal(rs_file_find(writer, from.subvol, "f", false, &from.inode), 0);
	assert_int_equal(rs_file_find(writer, to.subvol, "f", true, &to.inode), 0);
	memset(&moving, 0, sizeof(moving));
	moving.source = from.subvol;
	moving.inode = from.inode;
	assert_int_equal(pthread_create(&thread, NULL, move_source, NULL), 0);
	window_hook_set(source_read, NULL);
	assert_int_equal(rs_file_clone(writer, &from, BLOCK, &to), 0);
	window_hook_set(NULL, NULL);
	/* Builds without windows: as if it had come later. */
	order_store_relaxed(&moving.go, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(moving.result, 0);
	forest_end();
}

static void errors_change_nothing(void **state)
{
	struct rs_subvol *subvol;
	struct rs_subvol *other;
	uint64_t inode;

	(void)state;
	forest_begin(0, false);
	subvol = subvol_create("v");
	assert_int_equal(rs_subvol_create(writer, "v", &other), -EEXIST);
	assert_int_equal(rs_subvol_create(writer, "", &other), -EINVAL);
	assert_int_equal(rs_subvol_delete(writer, rs_subvol_find_id(forest, 5)), -EPERM);
	assert_int_equal(rs_file_find(writer, subvol, "f", false, &inode), -ENOENT);
	assert_int_equal(rs_subvol_snapshot(writer, subvol, "r", true, &other), 0);
	assert_int_equal(rs_file_find(writer, other, "f", true, &inode), -EROFS);
	assert_int_equal(rs_subvol_delete(writer, other), 0);
	assert_int_equal(rs_subvol_delete(writer, other), -ENOENT);
	assert_int_equal(rs_subvol_snapshot(writer, other, "q", false, &other), -ENOENT);
	assert_int_equal(rs_file_find(writer, subvol, "f", true, &inode), 0);
	assert_int_equal(rs_file_write(writer, subvol, inode, 1, BLOCK), -EINVAL);
	assert_int_equal(rs_forest_drop_wait(writer), 0);
	forest_end();
}

static void crowds_do_random_things(void **state)
{
	static const uint32_t sizes[] = { 4096, 16384, 65536 };
	static const char *const windows[] = { "cow.", "drop.", "commit." };
	struct forest_crowd_options options = {
		.operations = 3000,
		.seed = threads_data_seed("crowds_do_random_things"),
		.blocks = 200,
		.commit_in = 300,
		.subvols_in = 60,
	};
	unsigned at;

	(void)state;
	for (at = 0; at < 6; at++) {
		forest_begin(sizes[at % 3], false);
		options.threads = at < 3 ? 1 : 8;
		options.seed += at;
		threads_stalls_begin(windows[at % 3],
				     threads_timing_seed("crowds_do_random_things"), 100, 500);
		forest_crowd_run(&crowd, forest, &options);
		threads_stalls_end();
		forest_crowd_check(&crowd);
		assert_int_equal(rs_forest_drop_wait(writer), 0);
		forest_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_forest_is_whole),
		cmocka_unit_test(what_is_written_is_counted),
		cmocka_unit_test(snapshots_share),
		cmocka_unit_test(deleted_trees_are_taken_apart),
		cmocka_unit_test(others_write_meanwhile),
		cmocka_unit_test(what_is_committed_stays),
		cmocka_unit_test(a_clone_holds_its_source_still),
		cmocka_unit_test(errors_change_nothing),
		cmocka_unit_test(crowds_do_random_things),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
