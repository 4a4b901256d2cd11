/* SPDX-License-Identifier: MIT */
/* The public interface in one thread at its limits: numbers that are large, and what does not fit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/support/record_case.h"

#define MIB (UINT64_C(1) << 20)
#define ALL UINT64_MAX

static struct record_world world;

static void so_many_transactions_wait(void **state)
{
	uint64_t cut = 0;
	unsigned at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < 64; at++) {
		record_one(world.producer, record_ref(MIB, 5, at % 2 ? -1 : 1));
		assert_int_equal(rs_commit_cut(world.record, &cut), 0);
	}
	assert_int_equal(rs_commit_cut(world.record, &cut), -EAGAIN);
	assert_int_equal(rs_cut_wait(world.record, cut, 0, NULL), 0);
	/* Those of other transactions are no opposites. */
	assert_int_equal(record_run_to(&world, 1, 0), 0);
	record_assert_ran(&world, 1, 1, 1);
	assert_int_equal(rs_commit_cut(world.record, &cut), 0);
	assert_int_equal(rs_commit_cut(world.record, &cut), -EAGAIN);
	record_run_rest(&world, 63, 63);
	for (at = 0; at < 63; at++)
		assert_int_equal(world.heads.heads[at].transaction, at + 2);
	record_world_end(&world);
}

static void cuts_that_were_not_taken(void **state)
{
	record_world_begin(&world, state, NULL);
	assert_int_equal(rs_cut_wait(world.record, 0, 0, NULL), -EINVAL);
	assert_int_equal(rs_cut_wait(world.record, 1, 0, NULL), -EINVAL);
	assert_int_equal(rs_cut_take(world.record), 1);
	assert_int_equal(rs_cut_wait(world.record, 2, 0, NULL), -EINVAL);
	assert_int_equal(rs_cut_wait(world.record, ALL, 0, NULL), -EINVAL);
	assert_int_equal(rs_cut_wait(world.record, 1, 0, NULL), 0);
	record_world_end(&world);
}

#define MANY_CUTS 3000
#define MANY_VIEWS 300
/* More views than groups have room for, among more cuts. */
static void many_cuts_and_many_views(void **state)
{
	static struct rs_view *views[MANY_VIEWS];
	int64_t run = 0;
	unsigned at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < MANY_CUTS; at++) {
		record_one(world.producer, record_ref(MIB, 5, 1));
		if (at % 10)
			rs_cut_take(world.record);
		else
			assert_int_equal(rs_view_acquire(world.record, &views[at / 10]), 0);
		assert_int_equal(rs_record_merge(world.record), 0);
	}
	record_close(world.record);
	for (at = 0; at < MANY_VIEWS; at++) {
		uint64_t cut = rs_view_cut(views[at]);

		assert_int_equal(record_pending(world.record, MIB, cut), at * 10 + 1 - run);
		assert_int_equal(record_run_to(&world, ALL, 0), 0);
		assert_int_equal(world.result.cut, cut);
		assert_int_equal(world.result.heads, 1);
		assert_int_equal(world.heads.entries[0].count, at ? 10 : 1);
		run += world.heads.entries[0].count;
		assert_int_equal(rs_view_release(world.record, views[at]), 0);
	}
	record_run_rest(&world, 1, 1);
	assert_int_equal(world.heads.entries[0].count, MANY_CUTS - run);
	record_assert_sums(world.record, MANY_CUTS, MANY_VIEWS + 1);
	record_world_end(&world);
}

static void huge_counts_do_not_wrap(void **state)
{
	struct rs_head_pending pending;
	struct rs_delta entries[8];
	int64_t sum = 0;
	size_t at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < 5; at++) {
		record_one(world.producer, record_ref(MIB, 5, INT32_MAX));
		record_one(world.producer, record_ref(2 * MIB, 5, INT32_MIN));
		record_one(world.producer, record_root(3 * MIB, 5, 1, UINT64_MAX / 4));
		rs_cut_take(world.record);
		assert_int_equal(rs_record_merge(world.record), 0);
	}
	record_one(world.producer, record_ref(MIB, 5, -7));
	assert_int_equal(rs_record_merge(world.record), 0);
	assert_int_equal(rs_head_lookup(world.record, MIB, ALL, &pending, entries, 8), 0);
	assert_int_equal(pending.refs, 5 * (int64_t)INT32_MAX - 7);
	record_close(world.record);
	assert_int_equal(record_run_to(&world, ALL, 0), 0);
	assert_int_equal(world.result.heads, 3);
	for (at = 0; at < world.heads.heads[0].ref_count; at++)
		sum += world.heads.heads[0].refs[at].count;
	assert_int_equal(sum, 5 * (int64_t)INT32_MAX - 7);
	for (at = 0; at < world.heads.heads[1].ref_count; at++)
		sum += world.heads.heads[1].refs[at].count;
	assert_int_equal(sum, 5 * (int64_t)INT32_MAX - 7 + 5 * (int64_t)INT32_MIN);
	for (sum = 0, at = 0; at < world.heads.heads[2].root_count; at++)
		sum += world.heads.heads[2].roots[at].count;
	assert_int_equal(sum, 5);
	record_run_rest(&world, 0, 0);
	record_world_end(&world);
}

/* What a look-up from the runner says of its extent, of one that was run, and of one to come. */
struct looker {
	unsigned heads;
	unsigned wrong;
	int64_t sums[3];
	bool running[3];
};

static int look_from_runner(void *argument, const struct rs_head *head)
{
	struct looker *looker = argument;
	unsigned at;

	looker->wrong += head->bytenr != looker->heads * MIB;
	for (at = 0; looker->heads == 1 && at < 3; at++) {
		struct rs_head_pending pending;

		looker->wrong += rs_head_lookup(world.record, at * MIB, ALL, &pending, NULL, 0) !=
				 (pending.entries ? -E2BIG : 0);
		looker->sums[at] = pending.refs;
		looker->running[at] = pending.running;
	}
	looker->heads++;
	return 0;
}

static void the_running_head_is_known(void **state)
{
	struct looker looker = { 0 };
	struct rs_head_pending pending;
	unsigned at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < 3; at++)
		record_one(world.producer, record_ref(at * MIB, 5, 1));
	record_close(world.record);
	assert_int_equal(rs_record_run(world.record, ALL, look_from_runner, &looker, NULL), 0);
	assert_int_equal(looker.heads, 3);
	assert_int_equal(looker.wrong, 0);
	assert_int_equal(looker.sums[0], 0);
	assert_int_equal(looker.sums[2], 1);
	assert_false(looker.running[0]);
	assert_true(looker.running[1]);
	assert_false(looker.running[2]);
	assert_int_equal(rs_head_lookup(world.record, MIB, ALL, &pending, NULL, 0), 0);
	assert_false(pending.running);
	record_world_end(&world);
}

static void lookups_say_when_room_is_too_small(void **state)
{
	struct rs_head_pending pending;
	struct rs_delta entries[4];
	unsigned at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < 4; at++)
		record_one(world.producer, record_ref(MIB, 5 + at, 1));
	assert_int_equal(rs_record_merge(world.record), 0);
	assert_int_equal(rs_head_lookup(world.record, MIB, ALL, &pending, entries, 3), -E2BIG);
	assert_int_equal(pending.refs, 4);
	assert_int_equal(pending.entries, 4);
	assert_int_equal(rs_head_lookup(world.record, MIB, ALL, &pending, entries, 4), 0);
	assert_int_equal(rs_head_lookup(world.record, MIB + 4096, ALL, &pending, NULL, 0), 0);
	assert_int_equal(pending.entries, 0);
	record_world_end(&world);
}

static void bounds_are_checked(void **state)
{
	struct rs_record_options options = { .path = record_case_of(state)->path };
	struct rs_record *record;
	struct rs_error error;

	options.soft_deltas = 2;
	options.hard_deltas = 1;
	assert_int_equal(rs_record_create(&options, &record, &error), -EINVAL);
	options = (struct rs_record_options){ .soft_bytes = 2, .hard_bytes = 1 };
	assert_int_equal(rs_record_create(&options, &record, &error), -EINVAL);
	options = (struct rs_record_options){ .path = (enum rs_record_path)3 };
	assert_int_equal(rs_record_create(&options, &record, &error), -EINVAL);
	options = (struct rs_record_options){ .queue = (enum rs_record_queue)3 };
	assert_int_equal(rs_record_create(&options, &record, &error), -EINVAL);
	rs_record_destroy(NULL);
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "so many transactions wait", so_many_transactions_wait },
		{ "cuts that were not taken", cuts_that_were_not_taken },
		{ "many cuts and many views", many_cuts_and_many_views },
		{ "huge counts do not wrap", huge_counts_do_not_wrap },
		{ "the running head is known", the_running_head_is_known },
		{ "look-ups say when room is too small", lookups_say_when_room_is_too_small },
		{ "bounds are checked", bounds_are_checked },
	};

	return record_tests_run("record_limits_test", tests, sizeof(tests) / sizeof(tests[0]));
}
