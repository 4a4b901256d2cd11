/* SPDX-License-Identifier: MIT */
/* The numbers of groups against a recount, which is bent to show that each number is looked at. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount_groups.h"
#include "stress/oracle/recount_impl.h"

#define NODE UINT64_C(16384)
#define DATA UINT64_C(65536)

static struct rs_forest *forest;
static struct rs_writer *writer;
static struct rs_subvol *first;
static struct rs_subvol *second;
static struct recount *counted;
static struct recount_groups_done done;

static uint64_t make_file(struct rs_subvol *subvol, const char *name)
{
	uint64_t inode;

	assert_int_equal(rs_file_find(writer, subvol, name, true, &inode), 0);
	assert_int_equal(rs_file_write(writer, subvol, inode, 0, DATA), 0);
	return inode;
}

/* One extent that two subvolumes have, and one more of each; both are in 2/1, the second by 1/1. */
static int set_up(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	rcu_thread_enroll();
	assert_int_equal(rs_forest_create(NULL, &forest, &error), 0);
	assert_int_equal(rs_writer_join(forest, &writer), 0);
	assert_int_equal(rs_subvol_create(writer, "first", &first), 0);
	make_file(first, "shared");
	assert_int_equal(rs_subvol_snapshot(writer, first, "second", false, &second), 0);
	make_file(first, "own");
	make_file(second, "own");
	assert_int_equal(rs_forest_commit(writer), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(rs_quota_disable(writer), 0);
	rs_writer_leave(writer);
	rs_forest_destroy(forest);
	rcu_thread_leave();
	return 0;
}

static void turn_on(enum rs_quota_engine engine)
{
	assert_int_equal(rs_quota_enable(writer, engine), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
	assert_int_equal(rs_group_create(forest, rs_group_id(1, 1)), 0);
	assert_int_equal(rs_group_create(forest, rs_group_id(2, 1)), 0);
	assert_int_equal(rs_group_assign(forest, rs_subvol_id(second), rs_group_id(1, 1)), 0);
	assert_int_equal(rs_group_assign(forest, rs_group_id(1, 1), rs_group_id(2, 1)), 0);
	assert_int_equal(rs_group_assign(forest, rs_subvol_id(first), rs_group_id(2, 1)), 0);
	assert_int_equal(rs_forest_commit(writer), 0);
}

static void count_all(void)
{
	const struct recount_options options = { .references = true, .holdings = true };

	assert_int_equal(recount_create(forest, &options, &counted), 0);
	assert_int_equal(recount_report(counted)->finding_count, 0);
}

/* How many findings there are; the recount goes. */
static uint64_t compare_all(void)
{
	const struct recount_report *report = recount_report(counted);
	uint64_t found;

	assert_int_equal(recount_groups_compare(counted, &done), 0);
	found = report->counts[RECOUNT_GROUP];
	assert_int_equal(found, report->finding_count);
	recount_destroy(counted);
	return found;
}

/* A holding of data that two roots have, or one alone. */
static struct recount_holding *find_data(const struct rs_subvol *subvol, bool shared)
{
	size_t at;
	size_t other;

	for (at = 0; at < counted->holding_count; at++) {
		struct recount_holding *holding = &counted->holdings[at];
		unsigned holders = 0;

		for (other = 0; other < counted->holding_count; other++)
			holders += counted->holdings[other].bytenr == holding->bytenr;
		if (holding->root == rs_subvol_id(subvol) && !holding->metadata &&
		    (holders == 2) == shared)
			return holding;
	}
	fail_msg("no such extent");
	return NULL;
}

static bool said(const char *text)
{
	const struct recount_report *report = recount_report(counted);
	uint64_t at;

	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		if (strstr(report->findings[at].text, text))
			return true;
	return false;
}

static void numbers_equal(void **state)
{
	struct rs_group_usage usage;

	(void)state;
	turn_on(RS_QUOTA_LEDGER);
	count_all();
	assert_int_equal(compare_all(), 0);
	/* The top level, two subvolumes, two groups. */
	assert_int_equal(done.groups, 5);
	assert_true(done.reclaims > 8);
	assert_int_equal(rs_group_read(forest, rs_group_id(2, 1), &usage), 0);
	assert_int_equal(usage.data_excl, 3 * DATA);
	assert_int_equal(usage.excl, 3 * DATA + 2 * NODE);
}

static void numbers_equal_extent(void **state)
{
	(void)state;
	turn_on(RS_QUOTA_EXTENT);
	count_all();
	assert_int_equal(compare_all(), 0);
	assert_int_equal(done.groups, 5);
	assert_int_equal(done.reclaims, 0);
}

static void nothing_compared_while_off(void **state)
{
	(void)state;
	count_all();
	assert_int_equal(compare_all(), 0);
	assert_int_equal(done.groups, 0);
	assert_int_equal(done.reclaims, 0);
}

/* All four numbers of the subvolume and of 1/1, and rfer and excl as on disk; of 2/1 likewise. */
static void finds_bytes(void **state)
{
	(void)state;
	turn_on(RS_QUOTA_EXTENT);
	count_all();
	find_data(second, false)->bytes += 4096;
	assert_int_equal(recount_groups_compare(counted, &done), 0);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_GROUP], 3 * 6);
	assert_true(said("group 1/1 has data_excl 65536, and its members come to 69632"));
	assert_true(said("group 2/1 has data_rfer 196608, and its members come to 200704"));
	recount_destroy(counted);
}

/* What only the ones are that are alone. */
static void finds_shared(void **state)
{
	(void)state;
	turn_on(RS_QUOTA_EXTENT);
	count_all();
	/* The first has it no longer: another extent in its place, below all others. */
	find_data(first, true)->bytenr = 4096;
	assert_int_equal(recount_groups_compare(counted, &done), 0);
	/* excl of the first, the second and 1/1, with data and on disk; 2/1 has one extent more. */
	assert_int_equal(recount_report(counted)->counts[RECOUNT_GROUP], 3 * 3 + 6);
	assert_true(said("group 1/1 has excl"));
	assert_false(said("group 1/1 has rfer"));
	recount_destroy(counted);
}

static void finds_metadata(void **state)
{
	(void)state;
	turn_on(RS_QUOTA_EXTENT);
	count_all();
	find_data(first, false)->metadata = true;
	assert_int_equal(recount_groups_compare(counted, &done), 0);
	assert_int_equal(recount_report(counted)->counts[RECOUNT_GROUP], 2 * 2);
	assert_true(said("group 2/1 has data_rfer"));
	assert_false(said("has rfer"));
	recount_destroy(counted);
}

static void finds_reclaim(void **state)
{
	uint64_t extent;

	(void)state;
	turn_on(RS_QUOTA_LEDGER);
	count_all();
	find_data(first, true)->bytenr = 4096;
	extent = 3 * 3 + 6;
	assert_int_equal(recount_groups_compare(counted, &done), 0);
	assert_true(recount_report(counted)->counts[RECOUNT_GROUP] > extent);
	recount_destroy(counted);
}

static void finds_missing_group(void **state)
{
	(void)state;
	turn_on(RS_QUOTA_EXTENT);
	count_all();
	counted->roots[counted->root_count - 1].root++;
	counted->holding_count = 0;
	assert_int_equal(recount_groups_compare(counted, &done), 0);
	assert_true(said("has no group"));
	recount_destroy(counted);
}

static void without_memory(void **state)
{
	uint64_t nth;
	int ret = -ENOMEM;

	(void)state;
	turn_on(RS_QUOTA_LEDGER);
	count_all();
	for (nth = 1; ret; nth++) {
		uint64_t refused;

		alloc_fail_arm(nth, false);
		ret = recount_groups_compare(counted, &done);
		refused = alloc_fail_count();
		alloc_fail_arm(0, 0);
		/* What the forest itself could not say for want of memory is a finding. */
		assert_true(!ret || ret == -ENOMEM);
		if (!ret && refused)
			ret = -ENOMEM;
	}
	assert_true(nth > 8);
	recount_destroy(counted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(numbers_equal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(numbers_equal_extent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_compared_while_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_shared, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_metadata, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_reclaim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(finds_missing_group, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
