/* SPDX-License-Identifier: MIT */
/* Quotas where things go wrong, or go on at once: short of memory, turned off and on beside each other, half counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "core/base/alloc.h"
#include "core/base/order.h"
#include "core/base/rcu.h"
#include "core/qgroup/live_accounts.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount_groups.h"
#include "tests/support/forest_crowd.h"
#include "tests/support/threads.h"

#define BLOCK 4096U

static struct rs_forest *forest;
static struct rs_writer *writer;

static void forest_begin(void)
{
	struct rs_forest_options options = { .node_bytes = 4096, .no_drop_thread = true };
	struct rs_error error = RS_ERROR_INIT;

	if (rs_forest_create(&options, &forest, &error))
		fail_msg("%s", error.what);
	assert_int_equal(rs_writer_join(forest, &writer), 0);
}

static void forest_end(void)
{
	rs_writer_leave(writer);
	rs_forest_destroy(forest);
}

/* In any thread: 0 or the first error. */
static int file_write(struct rs_writer *by, struct rs_subvol *subvol, const char *name,
		      unsigned first, unsigned count)
{
	uint64_t inode;
	unsigned at;
	int ret = rs_file_find(by, subvol, name, true, &inode);

	for (at = first; !ret && at < first + count; at++)
		ret = rs_file_write(by, subvol, inode, (uint64_t)at * BLOCK, BLOCK);
	return ret;
}

/* At rest: what groups say is what is there. */
static void groups_check(const char *when)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount_groups_done groups;
	const struct recount_report *report;
	struct recount *recount;

	assert_int_equal(rs_forest_commit(writer), 0);
	assert_int_equal(recount_create(forest, &options, &recount), 0);
	assert_int_equal(recount_groups_compare(recount, &groups), 0);
	report = recount_report(recount);
	if (report->finding_count)
		fail_msg("%s: %s", when, report->findings[0].text);
	recount_destroy(recount);
	assert_true(groups.groups > 0);
}

/* The accounts are consistent, in the end of a rescan if need be. */
static void rescan_if_need_be(const char *when)
{
	struct rs_quota_status status;
	struct rs_error error = RS_ERROR_INIT;
	int ret;

	assert_int_equal(rs_forest_commit(writer), 0);
	rs_quota_status_read(forest, &status);
	if (status.inconsistent) {
		ret = rs_rescan_start(forest);
		if (ret && ret != -EINPROGRESS)
			fail_msg("%s: rescan start: %d", when, ret);
		ret = rs_rescan_wait(forest);
		if (ret) {
			(void)rs_quota_reason(forest, &error);
			fail_msg("%s: rescan: %d, %s", when, ret, error.what);
		}
		rs_quota_status_read(forest, &status);
	}
	assert_false(status.inconsistent);
}

static void quotas_on(enum rs_quota_engine engine)
{
	assert_int_equal(rs_quota_enable(writer, engine), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
}

enum lean_op {
	LEAN_CREATE,
	LEAN_SNAPSHOT,
	LEAN_DELETE,
	LEAN_WRITE,
	LEAN_DROP,
	LEAN_RESCAN,
	LEAN_ENABLE,
	LEAN_OPS
};

static const char *const lean_names[LEAN_OPS] = { "create", "snapshot", "delete", "write",
						  "drop",   "rescan",   "enable" };

static int lean_do(enum lean_op op, struct rs_subvol *source, struct rs_subvol *other)
{
	const uint64_t group = rs_group_id(1, 1);
	struct rs_subvol *made = NULL;
	int ret = 0;

	switch (op) {
	case LEAN_CREATE:
		return rs_subvol_create(writer, "made", &made);
	case LEAN_SNAPSHOT:
		return rs_subvol_snapshot_into(writer, source, "made", false, &group, 1, &made);
	case LEAN_DELETE:
		return rs_subvol_delete(writer, other);
	case LEAN_WRITE:
		ret = file_write(writer, other, "f", 5, 5);
		return ret ? ret : rs_forest_commit(writer);
	case LEAN_DROP:
		return rs_forest_drop_wait(writer);
	case LEAN_RESCAN:
		ret = rs_rescan_start(forest);
		return ret ? ret : rs_rescan_wait(forest);
	case LEAN_ENABLE:
		ret = rs_quota_disable(writer);
		if (!ret)
			ret = rs_quota_enable(writer, RS_QUOTA_LEDGER);
		return ret ? ret : rs_rescan_wait(forest);
	default:
		return 0;
	}
}

static void lean_after(enum lean_op op, struct rs_subvol *source, struct rs_subvol *other,
		       const char *when)
{
	struct rs_subvol *made = rs_subvol_find(forest, "made");
	struct rs_quota_status status;

	rs_quota_status_read(forest, &status);
	if (!status.enabled)
		quotas_on(RS_QUOTA_LEDGER);
	rescan_if_need_be(when);
	groups_check(when);
	/* What came meanwhile is known. */
	if (made)
		assert_int_equal(file_write(writer, made, "g", 0, 30), 0);
	if (op != LEAN_DELETE)
		assert_int_equal(file_write(writer, other, "g", 0, 3), 0);
	assert_int_equal(file_write(writer, source, "g", 0, 3), 0);
	groups_check(when);
	assert_int_equal(rs_forest_drop_wait(writer), 0);
	groups_check(when);
}

/* False: the allocation was not come to. */
static bool lean_trial(enum rs_quota_engine engine, enum lean_op op, uint64_t nth, int later)
{
	struct rs_subvol *source;
	struct rs_subvol *other;
	struct rs_subvol *old;
	uint64_t refused;
	char when[80];
	int ret;

	snprintf(when, sizeof(when), "engine %d, %s, allocation %u%s", engine, lean_names[op],
		 (unsigned)nth, later ? " and later" : "");
	forest_begin();
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	assert_int_equal(file_write(writer, source, "f", 0, 40), 0);
	assert_int_equal(rs_subvol_snapshot(writer, source, "o", false, &other), 0);
	assert_int_equal(rs_subvol_snapshot(writer, source, "old", false, &old), 0);
	quotas_on(engine);
	assert_int_equal(rs_group_create(forest, rs_group_id(1, 1)), 0);
	assert_int_equal(rs_group_assign(forest, rs_group_id(0, rs_subvol_id(other)),
					 rs_group_id(1, 1)),
			 0);
	assert_int_equal(file_write(writer, other, "f", 0, 10), 0);
	assert_int_equal(rs_subvol_delete(writer, old), 0);
	rescan_if_need_be(when);
	groups_check(when);
	/* Some of it is in the transaction, to be run with what follows. */
	assert_int_equal(file_write(writer, other, "f", 10, 3), 0);
	alloc_fail_arm(nth, later);
	ret = lean_do(op, source, other);
	refused = alloc_fail_count();
	alloc_fail_arm(0, 0);
	if (ret && ret != -ENOMEM && ret != -EROFS && ret != -EAGAIN)
		fail_msg("%s: %d", when, ret);
	if (!rs_forest_aborted(forest, NULL))
		lean_after(op == LEAN_DELETE && ret ? LEAN_WRITE : op, source, other, when);
	forest_end();
	return refused;
}

static void lean(enum rs_quota_engine engine)
{
	unsigned op;
	uint64_t nth;

	for (op = 0; op < LEAN_OPS; op++)
		/* quota_memory_test has those between. */
		for (nth = 1; nth < 300; nth += 1 + nth) {
			bool came = lean_trial(engine, (enum lean_op)op, nth, 0);

			if (nth % 4 == 3 || !came)
				came |= lean_trial(engine, (enum lean_op)op, nth, 1);
			if (!came)
				break;
		}
}

static void the_ledger_mends_itself(void **state)
{
	(void)state;
	lean(RS_QUOTA_LEDGER);
}

static void the_walks_mend_themselves(void **state)
{
	(void)state;
	lean(RS_QUOTA_EXTENT);
}

static order_u32 wrong;

static void wrong_if(bool is)
{
	if (is)
		order_fetch_add_relaxed(&wrong, 1); /* relaxed: read behind the threads */
}

struct switching {
	enum rs_quota_engine engine;
	struct rs_subvol *source;
	unsigned turns;
};

/* 0 and 1 turn on, 2 and 3 off, 4 writes, 5 asks. */
static void switching_run(void *argument, unsigned thread)
{
	const struct switching *switching = argument;
	struct rs_quota_status status;
	struct rs_group_usage usage;
	struct rs_writer *by;
	uint64_t bytes;
	unsigned turn;
	int ret = rs_writer_join(forest, &by);

	wrong_if(ret);
	if (ret)
		return;
	for (turn = 0; turn < switching->turns; turn++) {
		uint64_t id = rs_subvol_id(switching->source);

		switch (thread) {
		case 0:
		case 1:
			wrong_if(rs_quota_enable(by, switching->engine));
			ret = turn % 2 ? rs_rescan_wait(forest) : 0;
			wrong_if(ret && ret != -ENOTCONN && ret != -ECANCELED);
			break;
		case 2:
		case 3:
			wrong_if(rs_quota_disable(by));
			break;
		case 4:
			wrong_if(file_write(by, switching->source, "g", turn % 50, 3));
			break;
		default:
			ret = rs_rescan_wait(forest);
			wrong_if(ret && ret != -ENOTCONN && ret != -ECANCELED);
			rs_quota_status_read(forest, &status);
			ret = rs_group_create(forest, rs_group_id(1, turn));
			wrong_if(ret && ret != -ENOTCONN);
			ret = rs_group_read(forest, id, &usage);
			wrong_if(ret && ret != -ENOTCONN);
			ret = rs_reclaimable(forest, &id, 1, &bytes);
			wrong_if(ret && ret != -ENOTCONN && ret != -EAGAIN && ret != -EOPNOTSUPP);
		}
	}
	rs_writer_leave(by);
}

static void switching_check(enum rs_quota_engine engine)
{
	struct switching switching = { .engine = engine, .turns = 40 };
	struct rs_subvol *snapshot;

	forest_begin();
	assert_int_equal(rs_subvol_create(writer, "v", &switching.source), 0);
	assert_int_equal(file_write(writer, switching.source, "f", 0, 4000), 0);
	assert_int_equal(rs_subvol_snapshot(writer, switching.source, "s", false, &snapshot), 0);
	assert_int_equal(file_write(writer, switching.source, "f", 0, 500), 0);
	threads_stalls_begin("rescan.", threads_timing_seed("quota_beside_test"), 3, 2000);
	threads_run(6, switching_run, &switching);
	/* Relaxed: the threads have ended. */
	assert_int_equal(order_load_relaxed(&wrong), 0);
	quotas_on(engine);
	threads_stalls_end();
	groups_check("behind switching");
	assert_int_equal(rs_rescan_start(forest), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
	groups_check("behind switching");
	forest_end();
}

static void quotas_go_and_come_at_once(void **state)
{
	(void)state;
	switching_check(RS_QUOTA_LEDGER);
	switching_check(RS_QUOTA_EXTENT);
}

static void *quotas_off_run(void *argument)
{
	struct rs_writer *by;

	(void)argument;
	rcu_thread_adopt();
	wrong_if(rs_writer_join(forest, &by));
	wrong_if(rs_quota_disable(by));
	rs_writer_leave(by);
	return NULL;
}

static void *quotas_on_run(void *argument)
{
	const enum rs_quota_engine *engine = argument;
	struct rs_writer *by;

	rcu_thread_adopt();
	wrong_if(rs_writer_join(forest, &by));
	wrong_if(rs_quota_enable(by, *engine));
	wrong_if(rs_rescan_wait(forest));
	rs_writer_leave(by);
	return NULL;
}

/* The old accounts cannot go before we leave our section: their rescan must leave the new ones alone. */
static void replaced_check(enum rs_quota_engine engine)
{
	struct rs_quota_status status;
	struct rs_subvol *snapshot;
	struct rs_subvol *source;
	pthread_t off;
	pthread_t on;

	forest_begin();
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	quotas_on(engine);
	/* Sets come in another order than they stand in addresses. */
	assert_int_equal(file_write(writer, source, "f", 0, 20000), 0);
	assert_int_equal(rs_subvol_snapshot(writer, source, "s", false, &snapshot), 0);
	assert_int_equal(file_write(writer, source, "f", 12000, 6000), 0);
	assert_int_equal(rs_subvol_snapshot(writer, source, "t", false, &snapshot), 0);
	assert_int_equal(file_write(writer, source, "f", 6000, 6000), 0);
	rescan_if_need_be("before");
	/* Where there are windows, both have some steps left. */
	threads_stalls_begin("rescan.", threads_timing_seed("quota_beside_test"), 1, 20000);
	assert_int_equal(rs_rescan_start(forest), 0);
	rcu_section_enter();
	assert_int_equal(pthread_create(&off, NULL, quotas_off_run, NULL), 0);
	do
		rs_quota_status_read(forest, &status);
	while (status.enabled);
	assert_int_equal(pthread_create(&on, NULL, quotas_on_run, &engine), 0);
	assert_int_equal(pthread_join(on, NULL), 0);
	threads_stalls_end();
	rcu_section_exit();
	assert_int_equal(pthread_join(off, NULL), 0);
	/* Relaxed: the threads have ended. */
	assert_int_equal(order_load_relaxed(&wrong), 0);
	groups_check("in new accounts");
	assert_int_equal(file_write(writer, source, "f", 0, 3000), 0);
	groups_check("in new accounts");
	assert_int_equal(rs_rescan_start(forest), 0);
	assert_int_equal(rs_rescan_wait(forest), 0);
	rs_quota_status_read(forest, &status);
	assert_int_equal(status.differences, 0);
	forest_end();
}

static void an_old_rescan_leaves_new_accounts_alone(void **state)
{
	(void)state;
	replaced_check(RS_QUOTA_LEDGER);
	replaced_check(RS_QUOTA_EXTENT);
}

/* A count that is half done shows in no number, also where relations change meanwhile. */
static void what_is_half_counted_is_no_number(void **state)
{
	const uint64_t group = rs_group_id(1, 1);
	struct rs_group_usage usage;
	struct rs_quota_status status;
	struct rs_subvol *source;
	unsigned turn;

	(void)state;
	forest_begin();
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	assert_int_equal(file_write(writer, source, "f", 0, 20000), 0);
	for (turn = 0; turn < 20; turn++) {
		assert_int_equal(rs_quota_enable(writer, RS_QUOTA_LEDGER), 0);
		do
			rs_quota_status_read(forest, &status);
		while (!status.rescan_bytenr);
		if (rs_rescan_pause(forest) == -EINVAL) {
			/* It has come to its end. */
			assert_int_equal(rs_quota_disable(writer), 0);
			continue;
		}
		assert_int_equal(rs_rescan_wait(forest), -EAGAIN);
		assert_int_equal(rs_group_create(forest, group), 0);
		assert_int_equal(rs_group_assign(forest, rs_group_id(0, rs_subvol_id(source)),
						 group),
				 0);
		assert_int_equal(rs_forest_commit(writer), 0);
		assert_int_equal(rs_group_read(forest, group, &usage), 0);
		assert_int_equal(usage.rfer, 0);
		assert_int_equal(rs_group_read(forest, rs_subvol_id(source), &usage), 0);
		assert_int_equal(usage.rfer, 0);
		if (turn % 2) {
			assert_int_equal(rs_rescan_cancel(forest), 0);
			assert_int_equal(rs_rescan_wait(forest), -ECANCELED);
			assert_int_equal(file_write(writer, source, "f", turn * 10, 10), 0);
			assert_int_equal(rs_forest_commit(writer), 0);
			assert_int_equal(rs_rescan_start(forest), 0);
		} else {
			assert_int_equal(rs_rescan_resume(forest), 0);
		}
		assert_int_equal(rs_rescan_wait(forest), 0);
		groups_check("behind a pause");
		assert_int_equal(rs_quota_disable(writer), 0);
	}
	forest_end();
}

/* The first extent of data: no root has it, as the accounts know it from now on. */
static int extent_spoil(void *argument, const struct extent *extent)
{
	struct live_ledger *ledger = argument;
	uint32_t set = live_ledger_word_set(ledger, extent->account);
	size_t differ;

	if (extent->metadata)
		return 0;
	live_ledger_move(ledger, set, LIVE_SET_EMPTY, extent->bytes, false);
	(void)extent_index_account_set(forest->extents, extent->bytenr, LIVE_WORD_NONE);
	live_ledger_word_drop(ledger, extent->account);
	assert_int_equal(live_ledger_recount_all(ledger, &differ), 0);
	return 1;
}

/* Commits build on what a rescan has mended, which does not come to its end. */
static void what_is_mended_stays_so(void **state)
{
	struct rs_quota_status status;
	struct rs_subvol *source;
	struct live_accounts *accounts;

	(void)state;
	forest_begin();
	assert_int_equal(rs_subvol_create(writer, "v", &source), 0);
	assert_int_equal(file_write(writer, source, "f", 0, 20000), 0);
	quotas_on(RS_QUOTA_LEDGER);
	lock_acquire(&forest->commit_lock);
	accounts = live_accounts_held(forest);
	assert_int_equal(extent_index_each(forest->extents, extent_spoil, accounts->ledger), 1);
	lock_release(&forest->commit_lock);
	assert_int_equal(rs_rescan_start(forest), 0);
	do
		rs_quota_status_read(forest, &status);
	while (!status.differences);
	/* It may have come to its end. */
	(void)!rs_rescan_cancel(forest);
	groups_check("behind a cancelled rescan");
	assert_int_equal(file_write(writer, source, "f", 0, 20000), 0);
	groups_check("behind a cancelled rescan");
	forest_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ledger_mends_itself),
		cmocka_unit_test(the_walks_mend_themselves),
		cmocka_unit_test(quotas_go_and_come_at_once),
		cmocka_unit_test(an_old_rescan_leaves_new_accounts_alone),
		cmocka_unit_test(what_is_mended_stays_so),
		cmocka_unit_test(what_is_half_counted_is_no_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
