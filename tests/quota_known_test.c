/* SPDX-License-Identifier: MIT */
/* A first count that has stopped in the middle: what it has not come to yet is not accounted for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "refstorm/quota.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_groups.h"

#define BLOCK 4096U
#define BLOCKS 12000U /* more than a step of a rescan counts */
#define TURNS 30U
#define TURNS_STOPPED 3U /* of them, how many have to be in the middle */

static struct rs_forest *forest;
static struct rs_writer *writer;

static void file_write(struct rs_subvol *subvol)
{
	uint64_t inode;
	uint64_t at;

	assert_int_equal(rs_file_find(writer, subvol, "f", true, &inode), 0);
	for (at = 0; at < BLOCKS; at++)
		assert_int_equal(rs_file_write(writer, subvol, inode, at * BLOCK, BLOCK), 0);
}

static struct rs_quota_status status_of(void)
{
	struct rs_quota_status status;

	rs_quota_status_read(forest, &status);
	return status;
}

/* True: it is paused, and has counted something, and not all. */
static bool stop_in_the_middle(void)
{
	struct rs_quota_status status;

	/* Ends: the count goes on, or is over. */
	do
		status = status_of();
	while (status.rescan == RS_RESCAN_RUNS && !status.rescan_bytenr);
	if (rs_rescan_pause(forest))
		return false;
	assert_int_equal(rs_rescan_wait(forest), -EAGAIN);
	return true;
}

static void groups_check(void)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount_groups_done groups;
	const struct recount_report *report;
	struct recount *recount;

	assert_int_equal(recount_create(forest, &options, &recount), 0);
	assert_int_equal(recount_groups_compare(recount, &groups), 0);
	report = recount_report(recount);
	if (report->finding_count)
		fail_msg("%s", report->findings[0].text);
	recount_destroy(recount);
	assert_true(groups.groups > 0);
}

/* Every extent changes, also the one that is to be counted next: the accounts go on from there. */
static void changes_ahead_of_the_count(void **state)
{
	struct rs_forest_options options = { .node_bytes = 4096, .no_drop_thread = true };
	struct rs_error error = RS_ERROR_INIT;
	struct rs_subvol *subvol;
	unsigned stopped = 0;
	unsigned turn;

	(void)state;
	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	assert_int_equal(rs_writer_join(forest, &writer), 0);
	assert_int_equal(rs_subvol_create(writer, "v", &subvol), 0);
	file_write(subvol);
	for (turn = 0; turn < TURNS && stopped < TURNS_STOPPED; turn++) {
		assert_int_equal(rs_quota_enable(writer, RS_QUOTA_LEDGER), 0);
		if (stop_in_the_middle()) {
			uint64_t known = status_of().rescan_bytenr;

			stopped++;
			file_write(subvol);
			assert_int_equal(rs_forest_commit(writer), 0);
			/* What it knows has not come to a loss that it could not explain. */
			assert_int_equal(status_of().rescan_bytenr, known);
			assert_int_equal(rs_rescan_resume(forest), 0);
		}
		assert_int_equal(rs_rescan_wait(forest), 0);
		assert_int_equal(status_of().differences, 0);
		assert_false(status_of().inconsistent);
		groups_check();
		assert_int_equal(rs_quota_disable(writer), 0);
	}
	assert_int_equal(stopped, TURNS_STOPPED);
	rs_writer_leave(writer);
	rs_forest_destroy(forest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_ahead_of_the_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
