/* SPDX-License-Identifier: MIT */
/* Rescans beside threads that write, snapshot and delete; and what a rescan finds wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/qgroup/live_accounts.h"
#include "refstorm/quota.h"
#include "tests/support/threads.h"
#include "tests/support/watched_forest.h"

#define RESCANS 20U
#define ROUNDS_MAX 64U

static void quotas_begin(enum rs_quota_engine engine)
{
	forest_begin(4096, false);
	assert_int_equal(rs_quota_enable(writer, engine), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
}

static struct rs_quota_status status_of(void)
{
	struct rs_quota_status status;

	rs_quota_status_read(forest, &status);
	return status;
}

/* Rescans until it is told to end: how many came to theirs, and whether all of them did. */
struct scanning {
	/* Relaxed, all of it: numbers; the thread is joined. */
	order_u32 end;
	order_u64 done;
	order_u32 errno_of; /* of one that failed */
};

static void *scan(void *argument)
{
	struct scanning *scanning = argument;

	while (!order_load_relaxed(&scanning->end) && !order_load_relaxed(&scanning->errno_of)) {
		int result = rs_rescan_start(forest);

		if (!result)
			result = rs_rescan_wait(forest);
		order_store_relaxed(&scanning->errno_of, (uint32_t)-result);
		order_fetch_add_relaxed(&scanning->done, 1);
	}
	return NULL;
}

static void crowd_beside_rescans(enum rs_quota_engine engine)
{
	struct forest_crowd_options options = {
		.threads = 4,
		.operations = 400,
		.blocks = 60,
		.commit_in = 25,
		.subvols_in = 20,
		.near = 5,
	};
	struct scanning scanning;
	unsigned rounds = 0;
	uint64_t done;
	pthread_t thread;

	memset(&scanning, 0, sizeof(scanning));
	options.seed = threads_data_seed("quota_rescan_test");
	quotas_begin(engine);
	threads_stalls_begin("rescan.", threads_timing_seed("quota_rescan_test"), 4, 2000);
	assert_int_equal(pthread_create(&thread, NULL, scan, &scanning), 0);
	do {
		options.seed++;
		forest_crowd_run(&crowd, forest, &options);
		/* While one runs groups are not compared; what it ends with is. */
		forest_crowd_check(&crowd);
	} while (order_load_relaxed(&scanning.done) < RESCANS &&
		 !order_load_relaxed(&scanning.errno_of) && ++rounds < ROUNDS_MAX);
	order_store_relaxed(&scanning.end, 1);
	pthread_join(thread, NULL);
	threads_stalls_end();
	done = order_load_relaxed(&scanning.done);
	print_message("%u rescans beside writers\n", (unsigned)done);
	assert_int_equal(order_load_relaxed(&scanning.errno_of), 0);
	assert_true(done >= RESCANS);
	assert_int_equal(status_of().differences, 0);
	assert_false(status_of().inconsistent);
	forest_end();
}

static void accounts_and_rescans_agree(void **state)
{
	(void)state;
	crowd_beside_rescans(RS_QUOTA_LEDGER);
}

static void walks_and_rescans_agree(void **state)
{
	(void)state;
	crowd_beside_rescans(RS_QUOTA_EXTENT);
}

struct pick {
	uint32_t not ;   /* a set */
	uint64_t bytenr; /* of data that others have */
	uint32_t word;
};

static int pick_shared(void *argument, const struct extent *extent)
{
	struct pick *pick = argument;

	if (extent->metadata || extent->account == pick->not )
		return 0;
	pick->bytenr = extent->bytenr;
	pick->word = extent->account;
	return 1;
}

/* What a planted error has done is found, and mended: an extent's word, the bytes of a set, a group's counter. */
static void wrong_accounts_are_mended(void **state)
{
	struct live_accounts *accounts;
	struct rs_subvol *source;
	struct rs_subvol *snapshot;
	struct live_group_counter *counter;
	const uint32_t *numbers;
	struct pick pick;
	uint32_t set;
	uint64_t before;
	unsigned kind;

	(void)state;
	quotas_begin(RS_QUOTA_LEDGER);
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	file_write(source, "f", 0, 60);
	assert_int_equal(rs_subvol_snapshot(writer, source, "s", false, &snapshot), 0);
	file_write(source, "f", 0, 20);
	for (kind = 0; kind < 3; kind++) {
		forest_crowd_check(&crowd);
		before = status_of().differences;
		lock_acquire(&forest->commit_lock);
		accounts = live_accounts_held(forest);
		assert_int_equal(live_ledger_set_of(accounts->ledger, rs_subvol_id(snapshot), &set),
				 0);
		pick.not = set;
		assert_int_equal(extent_index_each(forest->extents, pick_shared, &pick), 1);
		if (kind == 0) {
			/* As if the snapshot alone had it. */
			live_sets_hold(live_ledger_sets(accounts->ledger), set, 1);
			live_sets_hold(live_ledger_sets(accounts->ledger), pick.word, -1);
			assert_true(extent_index_account_set(forest->extents, pick.bytenr, set));
		} else if (kind == 1) {
			live_set_at(live_ledger_sets(accounts->ledger), pick.word)->data +=
				7 * BLOCK;
		} else {
			assert_true(live_groups_above(accounts->groups, rs_subvol_id(source),
						      &numbers) > 0);
			counter = live_groups_counter(accounts->groups, numbers[0]);
			counter->excl -= BLOCK;
			counter->data_excl -= BLOCK;
		}
		lock_release(&forest->commit_lock);
		assert_int_equal(rs_rescan_start(forest), 0);
		assert_int_equal(rs_rescan_wait(forest), 0);
		print_message("kind %u: %u differences\n", kind,
			      (unsigned)(status_of().differences - before));
		assert_true(status_of().differences > before);
		forest_crowd_check(&crowd);
	}
	forest_end();
}

static void rescans_are_told_what_to_do(void **state)
{
	struct rs_subvol *source;

	(void)state;
	quotas_begin(RS_QUOTA_LEDGER);
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	file_write(source, "f", 0, 60);
	assert_int_equal(rs_rescan_pause(forest), -EINVAL);
	assert_int_equal(rs_rescan_resume(forest), -EINVAL);
	assert_int_equal(rs_rescan_cancel(forest), -EINVAL);
	/* It may have come to its end before it is told to stop. */
	assert_int_equal(rs_rescan_start(forest), 0);
	if (!rs_rescan_pause(forest)) {
		assert_int_equal(status_of().rescan, RS_RESCAN_PAUSED);
		assert_int_equal(rs_rescan_start(forest), -EINPROGRESS);
		assert_int_equal(rs_rescan_wait(forest), -EAGAIN);
		file_write(source, "f", 10, 20);
		assert_int_equal(rs_forest_commit(writer), 0);
		assert_int_equal(rs_rescan_resume(forest), 0);
	}
	assert_int_equal(rs_rescan_wait(forest), 0);
	assert_int_equal(rs_rescan_start(forest), 0);
	if (!rs_rescan_cancel(forest)) {
		assert_int_equal(rs_rescan_wait(forest), -ECANCELED);
		assert_int_equal(status_of().rescan, RS_RESCAN_NONE);
	}
	assert_int_equal(status_of().differences, 0);
	assert_false(status_of().inconsistent);
	assert_int_equal(rs_quota_disable(writer), 0);
	assert_int_equal(rs_rescan_start(forest), -ENOTCONN);
	assert_int_equal(rs_rescan_wait(forest), -ENOTCONN);
	forest_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accounts_and_rescans_agree),
		cmocka_unit_test(walks_and_rescans_agree),
		cmocka_unit_test(wrong_accounts_are_mended),
		cmocka_unit_test(rescans_are_told_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
