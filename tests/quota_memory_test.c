/* SPDX-License-Identifier: MIT */
/*
 * Each allocation of a script of quotas fails in turn, alone or with all later ones, of the writer, the commits
 * and the rescans, whose order is not always the same. At the end the accounts are exact; or they
 * are inconsistent, which is told with a reason, and exact behind a rescan; or the transaction is aborted.
 * All n with REFSTORM_ALL=1, else every STRIDE-th.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/forest/buffer_pool.h"
#include "core/base/rcu.h"
#include "core/forest/forest_impl.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_groups.h"
#include "tests/support/threads.h"
#include "workloads/script_forest.h"

#define NODE_BYTES 4096U
#define STRIDE 4U
#define STRIDE_ALL_LATER 5U /* of those n, how many fail all later allocations besides */

/* Groups of three levels, one with two ways up; clones onto the same root; owners that go first. */
static const char text[] = "subvol a\n"
			   "write a f 0 256k\n"
			   "quota on\n"
			   "subvol b\n"
			   "group create 1/3\n"
			   "group assign b 1/3\n"
			   "write b x 0 64k\n"
			   "snapshot b c group 1/3\n"
			   "write c x 16k 16k\n"
			   "delete b\n"
			   "drop-wait\n"
			   "rescan wait\n"
			   "quota off\n"
			   "write c x 0 16k\n"
			   "snapshot c b\n"
			   "quota on\n"
			   "write b x 32k 4k\n"
			   "group create 2/3\n"
			   "group create 1/3\n"
			   "group assign 1/3 2/3\n"
			   "group assign b 1/3\n"
			   "rescan wait\n"
			   "rescan start\n"
			   "clone c x 0 64k c y 0\n"
			   "commit\n"
			   "delete c\n"
			   "drop-wait\n"
			   "rescan wait\n"
			   "group create 1/1\n"
			   "group create 1/2\n"
			   "group create 2/1\n"
			   "group create 3/1\n"
			   "group assign 1/1 2/1\n"
			   "group assign 2/1 3/1\n"
			   "group assign 1/1 3/1\n"
			   "group assign a 1/1\n"
			   "write b f 0 64k\n"
			   "clone a f 0 128k b g 0\n"
			   "clone a f 0 64k a g 0\n"
			   "clone a f 0 64k a h 0\n"
			   "commit\n"
			   "snapshot a s group 1/1\n"
			   "write s f 16k 32k\n"
			   "snapshot -r s t group 1/2 2/1\n"
			   "write a f 64k 4k\n"
			   "write b g 0 4k\n"
			   "punch a g 0 32k\n"
			   "commit\n"
			   "group assign 1/2 3/1\n"
			   "group assign b 1/2\n"
			   "write s h 0 128k\n"
			   "commit\n"
			   "delete s\n"
			   "write a h 0 128k\n"
			   "drop-wait\n"
			   "snapshot t u\n"
			   "group assign u 2/1\n"
			   "group unassign 1/1 2/1\n"
			   "clone u f 0 128k u f 1m\n"
			   "commit\n"
			   "unlink u f\n"
			   "truncate a f 100k\n"
			   "defrag a f\n"
			   "delete a\n"
			   "commit\n"
			   "drop-wait\n";

struct trial {
	enum rs_quota_engine engine;
	uint64_t nth; /* 0: nothing fails */
	bool all_later;
	struct rs_forest *forest;
	struct script_forest *back_end;
	void *seat;
	uint32_t line;     /* that runs */
	bool inconsistent; /* have been, behind a line, the accounts */
};

static struct script *script;

/* What the trials of an engine came to. */
static struct {
	unsigned runs;
	unsigned early;   /* forests not begun */
	unsigned retries; /* lines tried again */
	unsigned aborts;
	unsigned inconsistent;
	unsigned exact; /* all the time */
	uint64_t groups;
} outcomes;

static __attribute__((format(printf, 2, 3))) void trial_fail(const struct trial *trial,
							     const char *format, ...)
{
	char what[512];
	size_t length = 0;
	const char *line = "";
	va_list arguments;

	alloc_fail_arm(0, 0);
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (trial->line)
		line = script_line(script, trial->line, &length);
	fail_msg("engine %d, allocation %llu%s, line %u '%.*s': %s", (int)trial->engine,
		 (unsigned long long)trial->nth, trial->all_later ? " and all later" : "",
		 trial->line, (int)length, line, what);
}

/* -ENOMEM: not even begun. */
static int trial_begin(struct trial *trial)
{
	const struct rs_forest_options options = {
		.node_bytes = NODE_BYTES,
		.no_drop_thread = true,
	};
	struct rs_error error = RS_ERROR_INIT;
	int ret;

	alloc_fail_arm(trial->nth, trial->all_later);
	ret = rs_forest_create(&options, &trial->forest, &error);
	if (ret) {
		trial->forest = NULL;
		return ret;
	}
	ret = script_forest_create(script, trial->forest, &trial->back_end, &error);
	if (ret)
		return ret;
	script_forest_engine_set(trial->back_end, trial->engine);
	return script_forest_backend(trial->back_end)->join(trial->back_end, &trial->seat);
}

/* What a line may come to: a rescan ends where there is no memory, and who asks for it is told. */
static bool is_allowed(const struct trial *trial, const struct script_operation *operation, int ret)
{
	if (!ret)
		return true;
	if (operation->kind == SCRIPT_RESCAN_WAIT && ret == -ENOMEM)
		return true;
	/* The accounts meet a root later if the commit that shows it had no memory to tell them. */
	if (ret == -ENOENT && alloc_fail_count() &&
	    (operation->kind == SCRIPT_GROUP_ASSIGN || operation->kind == SCRIPT_GROUP_UNASSIGN))
		return true;
	/* Behind lines that have failed others find something else. */
	return trial->all_later && (ret == -ENOMEM || ret == -ENOENT || ret == -EEXIST ||
				    ret == -EINVAL || ret == -ENOTCONN);
}

/* Inconsistent accounts say why. */
static void check_reason(struct trial *trial)
{
	struct rs_error why = RS_ERROR_INIT;
	struct rs_quota_status status;
	int ended = rs_rescan_wait(trial->forest);
	int ret;

	rs_quota_status_read(trial->forest, &status);
	if (!status.inconsistent)
		return;
	trial->inconsistent = true;
	ret = rs_quota_reason(trial->forest, &why);
	if (!ret || ret != why.code || !why.what[0])
		trial_fail(trial, "inconsistent without a reason: %s", strerror(-ended));
}

/* False: aborted. */
static bool trial_line(struct trial *trial, const struct script_operation *operation)
{
	const struct script_backend *backend = script_forest_backend(trial->back_end);
	bool waits = operation->kind == SCRIPT_RESCAN_WAIT;
	int ret;

	trial->line = operation->line;
	ret = backend->run[operation->kind](trial->seat, operation);
	if (rs_forest_aborted(trial->forest, NULL)) {
		if (ret >= 0)
			trial_fail(trial, "aborted, and nobody is told");
		return false;
	}
	if (ret == -ENOMEM && !waits && !trial->all_later) {
		if (!alloc_fail_count())
			trial_fail(trial, "no memory, and nothing has failed");
		outcomes.retries++;
		ret = backend->run[operation->kind](trial->seat, operation);
	}
	if (!is_allowed(trial, operation, ret))
		trial_fail(trial, "%s", strerror(-ret));
	if (operation->kind == SCRIPT_RESCAN_WAIT || operation->kind == SCRIPT_DROP_WAIT)
		check_reason(trial);
	return true;
}

static bool trial_lines(struct trial *trial)
{
	size_t at;

	for (at = 0; at < script->operation_count; at++)
		if (!trial_line(trial, &script->operations[at]))
			return false;
	return true;
}

/* At rest, right behind a commit, with consistent accounts. */
static void compare_groups(const struct trial *trial)
{
	const struct recount_options options = { .references = true, .holdings = true };
	const struct recount_report *report;
	struct recount_groups_done done;
	struct recount *recount;

	assert_int_equal(recount_create(trial->forest, &options, &recount), 0);
	assert_int_equal(recount_groups_compare(recount, &done), 0);
	report = recount_report(recount);
	if (report->finding_count)
		trial_fail(trial, "%llu differences from a recount, the first: %s: %s",
			   (unsigned long long)report->finding_count,
			   recount_kind_name(report->findings[0].kind), report->findings[0].text);
	if (!done.groups)
		trial_fail(trial, "no group was compared");
	outcomes.groups += done.groups;
	recount_destroy(recount);
}

static void mend(const struct trial *trial)
{
	struct rs_error why = RS_ERROR_INIT;
	int ret = rs_rescan_start(trial->forest);

	if (!ret)
		ret = rs_rescan_wait(trial->forest);
	if (ret)
		trial_fail(trial, "a rescan: %s", strerror(-ret));
	if (rs_quota_reason(trial->forest, &why))
		trial_fail(trial, "a reason behind a rescan: %s", why.what);
}

/* All lines have run, and memory is there again. */
static void end_whole(struct trial *trial)
{
	struct rs_quota_status status;
	struct rs_writer *writer;

	assert_int_equal(rs_writer_join(trial->forest, &writer), 0);
	if (rs_forest_drop_wait(writer) || rs_forest_commit(writer))
		trial_fail(trial, "the end cannot be committed");
	rs_quota_status_read(trial->forest, &status);
	if (!status.enabled && (!trial->all_later || rs_quota_enable(writer, trial->engine)))
		trial_fail(trial, "quotas are off");
	rs_writer_leave(writer);
	check_reason(trial);
	rs_quota_status_read(trial->forest, &status);
	if (status.inconsistent)
		mend(trial);
	outcomes.inconsistent += trial->inconsistent;
	outcomes.exact += !trial->inconsistent;
	compare_groups(trial);
}

/* What is committed stays, and groups can be read, and quotas go with the forest. */
static void end_aborted(struct trial *trial)
{
	struct rs_group_usage usage;
	uint64_t id = 0;
	int ret;

	outcomes.aborts++;
	(void)!rs_rescan_wait(trial->forest);
	while (!(ret = rs_group_next(trial->forest, &id)))
		assert_int_equal(rs_group_read(trial->forest, id, &usage), 0);
	assert_true(ret == -ENOENT || ret == -ENOTCONN);
}

/* Whether an allocation has failed. */
static bool trial_run(enum rs_quota_engine engine, uint64_t nth, bool all_later)
{
	struct trial trial = { .engine = engine, .nth = nth, .all_later = all_later };
	bool whole = true;
	int ret = trial_begin(&trial);
	uint64_t refused;

	outcomes.runs++;
	if (!ret)
		whole = trial_lines(&trial);
	refused = alloc_fail_count();
	alloc_fail_arm(0, 0);
	trial.line = 0;
	if (ret) {
		outcomes.early++;
		if (ret != -ENOMEM || !refused)
			trial_fail(&trial, "cannot begin: %s", strerror(-ret));
	} else if (whole) {
		end_whole(&trial);
	} else {
		end_aborted(&trial);
	}
	if (trial.seat)
		script_forest_backend(trial.back_end)->leave(trial.seat);
	script_forest_destroy(trial.back_end);
	rs_forest_destroy(trial.forest);
	return refused != 0;
}

static void fail_each(enum rs_quota_engine engine)
{
	bool all = getenv("REFSTORM_ALL") != NULL;
	uint64_t stride = all ? 1 : STRIDE;
	uint64_t first = 1 + (all ? 0 : threads_data_seed("quota_memory") % STRIDE);
	uint64_t nth;

	memset(&outcomes, 0, sizeof(outcomes));
	assert_false(trial_run(engine, 0, false));
	assert_int_equal(outcomes.exact, 1);
	for (nth = first; trial_run(engine, nth, false); nth += stride)
		if (outcomes.runs % STRIDE_ALL_LATER == 0)
			(void)trial_run(engine, nth, true);
	print_message("%llu allocations, every %llu. from %llu: %u runs, %u lines tried again, "
		      "%u exact, %u inconsistent, %u aborts, %u forests not begun, %llu groups\n",
		      (unsigned long long)nth, (unsigned long long)stride,
		      (unsigned long long)first, outcomes.runs, outcomes.retries, outcomes.exact,
		      outcomes.inconsistent, outcomes.aborts, outcomes.early,
		      (unsigned long long)outcomes.groups);
	assert_true(outcomes.runs >= 50 && outcomes.retries && outcomes.inconsistent &&
		    outcomes.groups);
}

static void each_allocation_fails_ledger(void **state)
{
	(void)state;
	fail_each(RS_QUOTA_LEDGER);
}

static void each_allocation_fails_extent(void **state)
{
	(void)state;
	fail_each(RS_QUOTA_EXTENT);
}

static int set_up(void **state)
{
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	/* Each tree block is an allocation that can fail. */
	buffer_pool_keep_apart(true);
	rcu_thread_enroll();
	return script_parse("quotas", text, sizeof(text) - 1, &script, &error);
}

static int tear_down(void **state)
{
	(void)state;
	script_free(script);
	rcu_thread_leave();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_fails_ledger),
		cmocka_unit_test(each_allocation_fails_extent),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down) ? 1 : 0;
}
