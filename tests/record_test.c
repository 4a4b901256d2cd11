/* SPDX-License-Identifier: MIT */
/* The public interface in one thread, in each configuration: what must hold, told by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/order.h"
#include "core/base/plant.h"
#include "tests/support/delta_model.h"
#include "tests/support/record_case.h"

#define TOP UINT64_C(0xfffffffffffff000)
#define MIB (UINT64_C(1) << 20)
#define ALL UINT64_MAX

static struct record_world world;

static void heads_and_entries_are_in_order(void **state)
{
	const struct rs_delta deltas[] = {
		record_ref(70 * MIB, 5, -1),
		record_ref(70 * MIB, 6, 1),
		record_root(70 * MIB, 300, 1, 0),
		record_root(70 * MIB, 256, -1, 0),
		record_ref(3 * MIB, 9, -2),
		record_ref(6 * MIB, 5, 3),
		record_ref(4096, 5, 1),
		record_ref(70 * MIB, 4, -1),
		record_ref(0, 5, 1),
	};
	static const uint64_t bytenrs[] = { 0, 4096, 3 * MIB, 6 * MIB, 70 * MIB };
	const struct rs_head *last = &world.heads.heads[4];
	size_t at;

	record_world_begin(&world, state, NULL);
	record_many(world.producer, deltas, 9);
	record_run_rest(&world, 5, 9);
	for (at = 0; at < 5; at++) {
		assert_int_equal(world.heads.heads[at].bytenr, bytenrs[at]);
		assert_int_equal(world.heads.heads[at].transaction, 1);
		assert_true(delta_head_is_well_formed(&world.heads.heads[at]));
	}
	assert_int_equal(last->ref_count, 3);
	assert_int_equal(last->refs[0].root, 6);
	assert_int_equal(last->refs[0].count, 1);
	assert_int_equal(last->refs[1].root, 4);
	assert_int_equal(last->refs[2].root, 5);
	assert_int_equal(last->roots[0].root, 256);
	assert_int_equal(last->roots[1].root, 300);
	assert_int_equal(last->refs[0].length_4k, 4);
	record_run_rest(&world, 0, 0);
	record_world_end(&world);
}

/* Types and keys of one extent, each of which differs in one member from another. */
static void keys_stay_apart(void **state)
{
	static const enum rs_delta_type types[] = {
		RS_DELTA_TREE_BLOCK_REF,
		RS_DELTA_EXTENT_DATA_REF,
		RS_DELTA_SHARED_BLOCK_REF,
		RS_DELTA_SHARED_DATA_REF,
	};
	size_t made = 0;
	size_t at;

	record_world_begin(&world, state, NULL);
	for (at = 0; at < 4; at++) {
		struct rs_delta delta = record_ref(MIB, 1, 1);

		delta.seq_type = types[at];
		record_one(world.producer, delta);
		delta.root = 2;
		record_one(world.producer, delta);
		delta.owner = 1;
		record_one(world.producer, delta);
		made += 3;
		if (types[at] != RS_DELTA_EXTENT_DATA_REF)
			continue;
		delta.offset = 4096;
		record_one(world.producer, delta);
		made++;
	}
	record_run_rest(&world, 1, made);
	assert_true(delta_head_is_well_formed(&world.heads.heads[0]));
	record_world_end(&world);
}

static void opposites_cancel(void **state)
{
	struct rs_record_statistics statistics;

	record_world_begin(&world, state, NULL);
	record_one(world.producer, record_ref(MIB, 5, 2));
	record_one(world.producer, record_ref(MIB, 5, -1));
	assert_int_equal(record_pending(world.record, MIB, ALL), 1);
	record_one(world.producer, record_ref(MIB, 5, -1));
	record_one(world.producer, record_ref(MIB, 6, 0));
	assert_int_equal(record_pending(world.record, MIB, ALL), 0);
	record_close(world.record);
	/* A cut that nobody holds does not keep them apart. */
	record_one(world.producer, record_ref(2 * MIB, 5, 1));
	rs_cut_take(world.record);
	record_one(world.producer, record_ref(2 * MIB, 5, -1));
	record_run_rest(&world, 0, 0);
	record_assert_sums(world.record, 6, 0);
	rs_record_statistics_read(world.record, &statistics);
	assert_int_equal(statistics.merged, 6);
	assert_int_equal(statistics.pending_deltas, 0);
	record_world_end(&world);
}

static void a_reservation_stays(void **state)
{
	struct rs_head_pending pending;
	struct rs_delta entry;

	record_world_begin(&world, state, NULL);
	record_one(world.producer, record_root(MIB, 5, 1, 4096));
	record_one(world.producer, record_root(MIB, 5, -1, 8192));
	record_one(world.producer, record_root(MIB, 6, 1, 0));
	record_one(world.producer, record_root(MIB, 6, -1, 0));
	assert_int_equal(rs_record_merge(world.record), 0);
	assert_int_equal(rs_head_lookup(world.record, MIB, ALL, &pending, &entry, 1), 0);
	assert_int_equal(pending.entries, 1);
	assert_int_equal(pending.items, 0);
	assert_int_equal(pending.reserved, 12288);
	record_run_rest(&world, 1, 1);
	assert_int_equal(world.heads.heads[0].root_count, 1);
	assert_int_equal(world.heads.heads[0].roots[0].count, 0);
	assert_int_equal(world.heads.heads[0].roots[0].reserved, 12288);
	record_world_end(&world);
}

/* What stands before a view neither changes nor goes, whatever comes after it. */
static void a_view_keeps_its_state(void **state)
{
	struct rs_view *view;
	uint64_t cut;

	record_world_begin(&world, state, NULL);
	record_one(world.producer, record_ref(MIB, 5, 1));
	record_one(world.producer, record_ref(2 * MIB, 5, 1));
	assert_int_equal(rs_view_acquire(world.record, &view), 0);
	record_one(world.producer, record_ref(MIB, 5, -1));
	record_close(world.record);
	assert_int_equal(record_pending(world.record, MIB, rs_view_cut(view)), 1);
	assert_int_equal(record_pending(world.record, MIB, ALL), 0);
	record_one(world.producer, record_ref(2 * MIB, 5, -1));
	cut = record_close(world.record);
	assert_int_equal(record_pending(world.record, 2 * MIB, rs_view_cut(view)), 1);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	record_assert_ran(&world, rs_view_cut(view), 2, 2);
	assert_int_equal(world.heads.heads[0].refs[0].count, 1);
	assert_int_equal(record_pending(world.record, MIB, rs_view_cut(view)), 0);
	assert_int_equal(record_pending(world.record, MIB, ALL), -1);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	record_assert_ran(&world, rs_view_cut(view), 0, 0);
	assert_int_equal(rs_view_check(view), 0);
	assert_int_equal(rs_view_release(world.record, view), 0);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	record_assert_ran(&world, cut, 2, 2);
	assert_int_equal(world.heads.heads[1].refs[0].count, -1);
	record_assert_sums(world.record, 4, 4);
	record_world_end(&world);
}

/* An operation that goes on is not run, neither what it has recorded nor what it will. */
static void an_operation_is_run_as_a_whole(void **state)
{
	struct rs_cut_waiting waiting;
	struct rs_producer *other;
	const struct rs_delta drop = record_ref(MIB, 5, -1);
	const struct rs_delta addition = record_ref(MIB, 6, 1);
	uint64_t cut;

	record_world_begin(&world, state, NULL);
	assert_int_equal(rs_producer_join(world.record, &other), 0);
	assert_int_equal(rs_operation_begin(other), 0);
	assert_int_equal(rs_operation_record(other, &drop), 0);
	cut = rs_cut_take(world.record);
	record_one(world.producer, record_ref(2 * MIB, 5, 1));
	assert_int_equal(rs_cut_wait(world.record, cut, 0, &waiting), -ETIMEDOUT);
	assert_int_equal(waiting.producers, 1);
	assert_int_equal(waiting.thread, gettid());
	assert_int_equal(waiting.seq, cut);
	assert_int_equal(rs_cut_wait(world.record, cut, 1000000, NULL), -ETIMEDOUT);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	record_assert_ran(&world, 0, 0, 0);
	assert_int_equal(rs_operation_record(other, &addition), 0);
	rs_operation_end(other);
	rs_producer_leave(other);
	assert_int_equal(rs_cut_wait(world.record, cut, 0, &waiting), 0);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	record_assert_ran(&world, cut, 1, 2);
	record_run_rest(&world, 1, 1);
	record_world_end(&world);
}

/* The number is that of the operation's beginning, for all that it records. */
static void a_cut_does_not_tear_an_operation(void **state)
{
	const struct rs_delta drop = record_ref(MIB, 5, -1);
	const struct rs_delta addition = record_ref(MIB, 6, 1);
	struct rs_view *view;

	record_world_begin(&world, state, NULL);
	assert_int_equal(rs_operation_begin(world.producer), 0);
	assert_int_equal(rs_operation_record(world.producer, &drop), 0);
	assert_int_equal(rs_view_acquire(world.record, &view), 0);
	assert_int_equal(rs_operation_record(world.producer, &addition), 0);
	rs_operation_end(world.producer);
	record_one(world.producer, record_ref(MIB, 6, 1));
	record_close(world.record);
	assert_int_equal(record_pending(world.record, MIB, rs_view_cut(view)), 0);
	assert_int_equal(record_run_to(&world, rs_view_cut(view), 0), 0);
	record_assert_ran(&world, rs_view_cut(view), 1, 2);
	assert_int_equal(rs_delta_seq(&world.heads.heads[0].refs[0]), rs_view_cut(view));
	assert_int_equal(rs_view_release(world.record, view), 0);
	record_run_rest(&world, 1, 1);
	record_world_end(&world);
}

#ifdef RS_WINDOWS
/* In a run, before it knows what may be merged: one more cut is taken, and closed. */
static void close_during_run(const char *name, void *argument)
{
	bool *closed = argument;

	if (*closed || (strcmp(name, "queue.taken") != 0 && strcmp(name, "queue.claiming") != 0))
		return;
	*closed = true;
	record_close(world.record);
}

/* What belongs to the run is not merged with what comes after its cut. */
static void a_cut_that_closes_during_a_run(void **state)
{
	const struct rs_delta drop = record_ref(MIB, 5, -1);
	const struct rs_delta addition = record_ref(MIB, 6, 1);
	bool closed = false;
	uint64_t cut;

	record_world_begin(&world, state, NULL);
	assert_int_equal(rs_operation_begin(world.producer), 0);
	assert_int_equal(rs_operation_record(world.producer, &drop), 0);
	assert_int_equal(rs_record_merge(world.record), 0);
	assert_int_equal(rs_operation_record(world.producer, &addition), 0);
	rs_operation_end(world.producer);
	cut = record_close(world.record);
	window_hook_set(close_during_run, &closed);
	assert_int_equal(record_run_to(&world, cut, 0), 0);
	window_hook_set(NULL, NULL);
	assert_int_equal(closed, record_case_of(state)->path == RS_RECORD_PERCPU);
	record_assert_ran(&world, cut, 1, 2);
	record_run_rest(&world, 0, 0);
	record_world_end(&world);
}
#endif

static void transactions_are_run_in_order(void **state)
{
	uint64_t first;
	uint64_t second;
	size_t at;

	record_world_begin(&world, state, NULL);
	record_one(world.producer, record_ref(5 * MIB, 5, 1));
	record_one(world.producer, record_ref(MIB, 5, 1));
	assert_int_equal(rs_commit_cut(world.record, &first), 0);
	record_one(world.producer, record_ref(MIB, 5, -1));
	record_one(world.producer, record_ref(2 * MIB, 5, 1));
	assert_int_equal(rs_commit_cut(world.record, &second), 0);
	record_one(world.producer, record_ref(0, 5, 1));
	record_close(world.record);
	/* Up to the end of the first one only, for any cut in it. */
	assert_int_equal(record_run_to(&world, 1, 0), 0);
	record_assert_ran(&world, first, 2, 2);
	record_one(world.producer, record_ref(MIB, 7, 1));
	record_run_rest(&world, 4, 4);
	for (at = 0; at < 4; at++)
		assert_int_equal(world.heads.heads[at].transaction, at < 2 ? 2 : 3);
	assert_int_equal(world.heads.heads[0].bytenr, MIB);
	assert_int_equal(world.heads.heads[1].bytenr, 2 * MIB);
	assert_int_equal(world.heads.heads[2].bytenr, 0);
	record_world_end(&world);
}

/* Two transactions of four extents; the runner fails at each head, and the rest is still there. */
static void a_failed_run_is_continued(void **state)
{
	static const uint64_t bytenrs[] = { 0, MIB, MIB + 4096, TOP };
	size_t fail_at;

	for (fail_at = 1; fail_at <= 8; fail_at++) {
		struct rs_view *view;
		uint64_t end;
		size_t at;

		record_world_begin(&world, state, NULL);
		for (at = 0; at < 4; at++)
			record_one(world.producer, record_ref(bytenrs[at], 5, 1));
		assert_int_equal(rs_commit_cut(world.record, &end), 0);
		for (at = 0; at < 4; at++)
			record_one(world.producer, record_ref(bytenrs[at], 5, 2));
		assert_int_equal(rs_view_acquire(world.record, &view), 0);
		record_one(world.producer, record_ref(0, 5, 4));
		record_close(world.record);
		assert_int_equal(record_run_to(&world, ALL, fail_at), -EIO);
		record_assert_ran(&world, fail_at > 4 ? end : 0, fail_at - 1, fail_at - 1);
		for (at = 0; at < 4; at++) {
			int64_t left = (at + 1 >= fail_at) + 2 * (at + 5 >= fail_at);

			assert_int_equal(record_pending(world.record, bytenrs[at],
							rs_view_cut(view)),
					 left);
			assert_int_equal(record_pending(world.record, bytenrs[at], ALL),
					 left + (at ? 0 : 4));
		}
		assert_int_equal(record_run_to(&world, ALL, 1), -EIO);
		assert_int_equal(record_run_to(&world, ALL, 0), 0);
		record_assert_ran(&world, rs_view_cut(view), 9 - fail_at, 9 - fail_at);
		for (at = 0; at < 9 - fail_at; at++) {
			size_t nth = fail_at - 1 + at;

			assert_int_equal(world.heads.heads[at].bytenr, bytenrs[nth % 4]);
			assert_int_equal(world.heads.heads[at].refs[0].count, nth < 4 ? 1 : 2);
			assert_int_equal(world.heads.heads[at].transaction, nth < 4 ? 1 : 2);
		}
		assert_int_equal(rs_view_release(world.record, view), 0);
		record_run_rest(&world, 1, 1);
		record_assert_sums(world.record, 9, 9);
		record_world_end(&world);
	}
}

static void statistics_add_up(void **state)
{
	const char *name = record_case_of(state)->name;
	struct rs_record_statistics statistics;
	struct rs_view *view;
	unsigned at;

	record_world_begin(&world, state, NULL);
	record_assert_sums(world.record, 0, 0);
	for (at = 0; at < 2000; at++)
		record_one(world.producer, record_ref(at % 100 * MIB, at % 3, at % 2 ? 1 : -1));
	record_assert_sums(world.record, 2000, 0);
	assert_int_equal(rs_view_acquire(world.record, &view), 0);
	assert_int_equal(rs_record_merge(world.record), 0);
	record_assert_sums(world.record, 2000, 0);
	record_close(world.record);
	assert_int_equal(record_run_to(&world, ALL, 7), -EIO);
	record_assert_sums(world.record, 2000, world.heads.entry_count);
	assert_int_equal(rs_view_release(world.record, view), 0);
	at = (unsigned)world.heads.entry_count;
	assert_int_equal(record_run_to(&world, ALL, 0), 0);
	record_assert_sums(world.record, 2000, at + world.heads.entry_count);
	rs_record_statistics_read(world.record, &statistics);
	assert_int_equal(strncmp(statistics.path, name, strlen(statistics.path)), 0);
	assert_int_equal(statistics.pending_deltas, 0);
	assert_int_equal(statistics.oldest_ns, 0);
	assert_int_equal(statistics.cuts, 2);
	assert_int_equal(statistics.views, 0);
	record_world_end(&world);
}

/* One that waits for room, and gets it, or does not in time. It is left alone then, as is its record. */
static struct {
	order_u32 begun; /* relaxed: looked at until it is set */
	struct rs_record *record;
} waiter;

static void *waiter_main(void *unused)
{
	struct rs_producer *producer;

	(void)unused;
	if (rs_producer_join(waiter.record, &producer) || rs_operation_begin(producer))
		return NULL;
	order_store_relaxed(&waiter.begun, 1);
	rs_operation_end(producer);
	rs_producer_leave(producer);
	return NULL;
}

static void who_waits_for_room_is_let_go_on(void **state)
{
	const struct rs_record_options options = { .soft_deltas = 5000, .hard_deltas = 5000 };
	const struct timespec look = { .tv_nsec = 1000000 };
	struct rs_record_statistics statistics = { 0 };
	/* Of the first that waits in vain; the others of the program wait so long no more. */
	static uint64_t patience_ns = UINT64_C(3000000000);
	struct rs_producer *producer;
	uint64_t limit;
	pthread_t thread;
	unsigned at;

	record_world_begin(&world, state, &options);
	producer = world.producer;
	waiter.record = world.record;
	order_store_relaxed(&waiter.begun, 0);
	assert_int_equal(rs_operation_begin(producer), 0);
	for (at = 0; at < 20000; at++) {
		const struct rs_delta delta = record_ref(at % 1000 * MIB, 1 + at, 1);

		assert_int_equal(rs_operation_record(producer, &delta), 0);
	}
	rs_operation_end(producer);
	assert_int_equal(pthread_create(&thread, NULL, waiter_main, NULL), 0);
	nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
	assert_int_equal(order_load_relaxed(&waiter.begun), 0);
	record_close(world.record);
	while (record_run_to(&world, ALL, 0) == -ENOSPC)
		;
	limit = clock_now_ns() + patience_ns;
	while (!order_load_relaxed(&waiter.begun) && clock_now_ns() < limit)
		nanosleep(&look, NULL);
	if (!order_load_relaxed(&waiter.begun)) {
		patience_ns = 0;
		fail_msg("an operation does not begin although there is room");
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	rs_record_statistics_read(world.record, &statistics);
	assert_in_range(statistics.waits, 0, 1);
	record_world_end(&world);
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "heads and entries are in order", heads_and_entries_are_in_order },
		{ "keys stay apart", keys_stay_apart },
		{ "opposites cancel", opposites_cancel },
		{ "a reservation stays", a_reservation_stays },
		{ "a view keeps its state", a_view_keeps_its_state },
		{ "an operation is run as a whole", an_operation_is_run_as_a_whole },
		{ "a cut does not tear an operation", a_cut_does_not_tear_an_operation },
#ifdef RS_WINDOWS
		{ "a cut that closes during a run", a_cut_that_closes_during_a_run },
#endif
		{ "transactions are run in order", transactions_are_run_in_order },
		{ "a failed run is continued", a_failed_run_is_continued },
		{ "statistics add up", statistics_add_up },
		{ "who waits for room is let go on", who_waits_for_room_is_let_go_on },
	};

	return record_tests_run("record_test", tests, sizeof(tests) / sizeof(tests[0]));
}
