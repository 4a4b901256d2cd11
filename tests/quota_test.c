/* SPDX-License-Identifier: MIT */
/* Quotas of a forest under all its oracles: one subvolume's group at a time; check counts groups besides. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "refstorm/quota.h"
#include "tests/support/threads.h"
#include "tests/support/watched_forest.h"

static void quotas_on(void)
{
	struct rs_quota_status status;

	assert_int_equal(rs_quota_enable(writer, RS_QUOTA_LEDGER), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
	rs_quota_status_read(forest, &status);
	assert_true(status.enabled);
	assert_false(status.inconsistent);
}

static struct rs_group_usage usage_of(uint64_t id)
{
	struct rs_group_usage usage;

	assert_int_equal(rs_group_read(forest, id, &usage), 0);
	return usage;
}

static uint64_t own(const struct rs_subvol *subvol)
{
	return rs_group_id(0, rs_subvol_id(subvol));
}

static void groups_say_who_has_what(void **state)
{
	struct rs_subvol *source;
	struct rs_subvol *snapshot;
	uint64_t bytes;

	(void)state;
	forest_begin(4096, false);
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	file_write(source, "f", 0, 100);
	quotas_on();
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(own(source)).data_rfer, 100 * BLOCK);
	assert_int_equal(usage_of(own(source)).data_excl, 100 * BLOCK);
	assert_int_equal(rs_subvol_snapshot(writer, source, "s", true, &snapshot), 0);
	assert_int_equal(usage_of(own(source)).data_excl, 0);
	assert_int_equal(usage_of(own(snapshot)).data_rfer, 100 * BLOCK);
	assert_int_equal(usage_of(own(snapshot)).data_excl, 0);
	forest_crowd_check(&crowd);
	file_write(source, "f", 20, 30);
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(own(source)).data_excl, 30 * BLOCK);
	assert_int_equal(usage_of(own(snapshot)).data_excl, 30 * BLOCK);
	assert_int_equal(rs_reclaimable(forest, (uint64_t[]){ rs_subvol_id(snapshot) }, 1, &bytes),
			 0);
	assert_int_equal(bytes, usage_of(own(snapshot)).excl);
	assert_int_equal(rs_subvol_delete(writer, source), 0);
	assert_int_equal(usage_of(own(snapshot)).data_excl, 100 * BLOCK);
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(own(snapshot)).data_excl, 100 * BLOCK);
	forest_end();
}

static void groups_have_members(void **state)
{
	const uint64_t group = rs_group_id(1, 7);
	struct rs_subvol *source;
	struct rs_subvol *snapshot;
	struct rs_group_usage usage;

	(void)state;
	forest_begin(4096, false);
	assert_int_equal(rs_group_create(forest, group), -ENOTCONN);
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	file_write(source, "f", 0, 50);
	quotas_on();
	assert_int_equal(rs_group_create(forest, group), 0);
	assert_int_equal(rs_group_create(forest, group), -EEXIST);
	assert_int_equal(rs_group_assign(forest, group, own(source)), -EINVAL);
	assert_int_equal(rs_group_assign(forest, own(source), group), 0);
	assert_int_equal(rs_group_assign(forest, own(source), group), -EEXIST);
	assert_int_equal(rs_group_remove(forest, group), -EBUSY);
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(group).data_rfer, 50 * BLOCK);
	assert_int_equal(usage_of(group).data_excl, 50 * BLOCK);
	assert_int_equal(rs_subvol_snapshot_into(writer, source, "s", false, &group, 1, &snapshot),
			 0);
	assert_int_equal(usage_of(group).data_excl, 50 * BLOCK);
	file_write(snapshot, "f", 0, 10);
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(group).data_rfer, 60 * BLOCK);
	assert_int_equal(usage_of(group).data_excl, 60 * BLOCK);
	assert_int_equal(rs_group_unassign(forest, own(source), group), 0);
	forest_crowd_check(&crowd);
	assert_int_equal(usage_of(group).data_rfer, 50 * BLOCK);
	assert_int_equal(usage_of(group).data_excl, 10 * BLOCK);
	assert_int_equal(rs_quota_disable(writer), 0);
	assert_int_equal(rs_group_read(forest, group, &usage), -ENOTCONN);
	forest_end();
}

static void a_crowd_is_accounted(void **state)
{
	struct forest_crowd_options options = {
		.threads = 1,
		.operations = 300,
		.blocks = 40,
		.commit_in = 20,
		.subvols_in = 12,
		.near = 5,
	};
	unsigned round;

	(void)state;
	options.seed = threads_data_seed("quota_test");
	forest_begin(4096, false);
	quotas_on();
	for (round = 0; round < 12; round++) {
		options.threads = round % 3 == 2 ? 4 : 1;
		options.seed += 7;
		forest_crowd_run(&crowd, forest, &options);
		forest_crowd_check(&crowd);
		if (round % 4 == 3) {
			struct rs_quota_status status;

			assert_int_equal(rs_rescan_start(forest), 0);
			assert_int_equal(rs_rescan_wait(forest), 0);
			rs_quota_status_read(forest, &status);
			assert_int_equal(status.differences, 0);
		}
	}
	forest_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_say_who_has_what),
		cmocka_unit_test(groups_have_members),
		cmocka_unit_test(a_crowd_is_accounted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
