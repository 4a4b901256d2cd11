/* SPDX-License-Identifier: MIT */
/*
 * Each allocation of a script of 200 random lines fails in turn, from the making of the forest on.
 * An operation that fails for it has changed nothing, so that it does what it should when it is
 * tried again, and the end is the one of a run without failures; or the transaction is aborted, and
 * what was committed last is whole. All n with REFSTORM_ALL=1, else every STRIDE-th.
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
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "stress/oracle/refverify.h"
#include "tests/support/threads.h"
#include "workloads/script_forest.h"
#include "workloads/script_random.h"

#define LINES 200U
#define SCRIPT_SEED 11U
#define NODE_BYTES 4096U
#define COMMITS_MAX 512U
#define STRIDE 4U
#define STRIDE_ALL_LATER 5U /* of those n, how many fail all later allocations besides */

/* What a run without failures came to. */
struct course {
	uint64_t at_commit[COMMITS_MAX]; /* digests, by the number of commits; 0: not known */
	uint64_t end;
};

struct trial {
	uint64_t nth; /* 0: nothing fails */
	bool all_later;
	struct refverify *verify;
	struct recount_accounts *accounts;
	struct rs_observer observer;
	struct rs_forest *forest;
	struct script_forest *back_end;
	void *seat;
	uint32_t line;    /* that runs */
	uint32_t retried; /* the first line that was tried again; 0: none */
	bool diverged;    /* a line has failed, and was not tried again */
};

static struct script *script;
static struct course course;
static unsigned aborts;
static unsigned retries;
static unsigned early;

static __attribute__((format(printf, 2, 3))) void trial_fail(const struct trial *trial,
							     const char *format, ...)
{
	char text[512];
	size_t length = 0;
	const char *line = "";
	va_list arguments;

	alloc_fail_arm(0, 0);
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (trial->line)
		line = script_line(script, trial->line, &length);
	fail_msg("allocation %llu%s, line %u '%.*s', tried again from %u: %s",
		 (unsigned long long)trial->nth, trial->all_later ? " and all later" : "",
		 trial->line, (int)length, line, trial->retried, text);
}

static int trial_ref(void *argument, const struct rs_ref_action *action)
{
	struct trial *trial = argument;
	int ret;

	alloc_fail_pause();
	ret = refverify_ref(trial->verify, action);
	alloc_fail_resume();
	return ret;
}

static int trial_head(void *argument, const struct rs_head *head)
{
	struct trial *trial = argument;
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_head(trial->accounts, head);
	alloc_fail_resume();
	return ret;
}

static int trial_snapshot(void *argument, uint64_t source, uint64_t root)
{
	struct trial *trial = argument;
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_snapshot(trial->accounts, source, root);
	alloc_fail_resume();
	return ret;
}

static int trial_deleted(void *argument, uint64_t root)
{
	struct trial *trial = argument;
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_deleted(trial->accounts, root);
	alloc_fail_resume();
	return ret;
}

static uint64_t digest_add(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (digest >> 29) + 1;
}

/* What the roots have, without addresses and ids: these move when something is tried again. */
static uint64_t digest_of(const struct recount *recount)
{
	uint64_t digest = 1;
	size_t count;
	size_t at;
	const struct recount_root *roots = recount_roots(recount, &count);
	const struct recount_size *sizes;

	for (at = 0; at < count; at++) {
		digest = digest_add(digest, roots[at].data_rfer);
		digest = digest_add(digest, roots[at].data_excl);
	}
	sizes = recount_sizes(recount, &count);
	for (at = 0; at < count; at++) {
		digest = digest_add(digest, sizes[at].bytes);
		digest = digest_add(digest, sizes[at].count);
	}
	return digest;
}

static void judge_recount(const struct trial *trial, const struct recount *recount)
{
	const struct recount_report *report = recount_report(recount);

	if (report->finding_count)
		trial_fail(trial, "%llu differences from a recount, the first: %s: %s",
			   (unsigned long long)report->finding_count,
			   recount_kind_name(report->findings[0].kind), report->findings[0].text);
	assert_true(report->blocks > 0);
}

/* Of what is committed, whatever goes on. */
static uint64_t committed_digest(const struct trial *trial)
{
	const struct recount_options options = { .holdings = true };
	struct recount *recount;
	uint64_t digest;

	alloc_fail_pause();
	rcu_section_enter();
	assert_int_equal(recount_create(trial->forest, &options, &recount), 0);
	rcu_section_exit();
	judge_recount(trial, recount);
	digest = digest_of(recount);
	recount_destroy(recount);
	alloc_fail_resume();
	return digest;
}

/* At rest, right behind a commit. */
static uint64_t whole_digest(const struct trial *trial)
{
	const struct recount_options options = { .references = true, .holdings = true };
	char text[REFVERIFY_TEXT_BYTES];
	struct recount *recount;
	uint64_t digest;

	if (refverify_check(trial->verify, trial->forest->extents) ||
	    refverify_failures(trial->verify))
		trial_fail(trial, "%s", refverify_text(trial->verify, text, sizeof(text)));
	assert_int_equal(recount_create(trial->forest, &options, &recount), 0);
	assert_int_equal(recount_accounts_compare(trial->accounts, recount), 0);
	judge_recount(trial, recount);
	digest = digest_of(recount);
	recount_destroy(recount);
	return digest;
}

static uint64_t commits(const struct trial *trial)
{
	struct rs_forest_statistics statistics;

	rs_forest_statistics_read(trial->forest, &statistics);
	return statistics.commits;
}

static bool is_allowed_later(int ret)
{
	return !ret || ret == -ENOMEM || ret == -ENOENT || ret == -EEXIST || ret == -EINVAL ||
	       ret == -EROFS;
}

/* False: aborted. */
static bool trial_line(struct trial *trial, const struct script_operation *operation)
{
	const struct script_backend *backend = script_forest_backend(trial->back_end);
	uint64_t refused = alloc_fail_count();
	int ret;

	trial->line = operation->line;
	ret = backend->run[operation->kind](trial->seat, operation);
	if (rs_forest_aborted(trial->forest, NULL)) {
		if (ret >= 0)
			trial_fail(trial, "aborted, and nobody is told");
		return false;
	}
	if (ret == -ENOMEM && alloc_fail_count() > refused && !trial->all_later) {
		trial->retried = trial->line;
		retries++;
		ret = backend->run[operation->kind](trial->seat, operation);
	}
	if (ret == -(int)operation->fails)
		return true;
	if (trial->all_later && (ret == -ENOMEM || trial->diverged) && is_allowed_later(ret))
		trial->diverged = true;
	else
		trial_fail(trial, "%s, wanted %s", strerror(-ret), strerror(operation->fails));
	return true;
}

static void course_record(const struct trial *trial)
{
	uint64_t at = commits(trial);

	assert_true(at < COMMITS_MAX);
	if (!course.at_commit[at])
		course.at_commit[at] = committed_digest(trial);
}

/* False: aborted. */
static bool trial_lines(struct trial *trial)
{
	size_t at;

	for (at = 0; at < script->operation_count; at++) {
		if (!trial_line(trial, &script->operations[at]))
			return false;
		if (!trial->nth)
			course_record(trial);
	}
	return true;
}

static void end_whole(struct trial *trial)
{
	struct rs_writer *writer;
	uint64_t digest;

	assert_int_equal(rs_writer_join(trial->forest, &writer), 0);
	if (rs_forest_drop_wait(writer) || rs_forest_commit(writer))
		trial_fail(trial, "the end cannot be committed");
	rs_writer_leave(writer);
	digest = whole_digest(trial);
	if (!trial->nth)
		course.end = digest;
	else if (!trial->diverged && digest != course.end)
		trial_fail(trial, "the end is another one than without the failure");
}

static void end_aborted(struct trial *trial)
{
	struct rs_subvol *subvol;
	struct rs_writer *writer;
	uint64_t at = commits(trial);
	uint64_t digest = committed_digest(trial);

	aborts++;
	if (trial->retried)
		trial_fail(trial, "aborted for what another line has failed for");
	assert_int_equal(rs_writer_join(trial->forest, &writer), 0);
	assert_int_equal(rs_forest_commit(writer), -EROFS);
	assert_int_equal(rs_subvol_create(writer, "late", &subvol), -EROFS);
	rs_writer_leave(writer);
	assert_int_equal(committed_digest(trial), digest);
	if (refverify_failures(trial->verify))
		trial_fail(trial, "a wrong change of a reference before the transaction aborted");
	if (!trial->retried && !trial->diverged && course.at_commit[at] &&
	    course.at_commit[at] != digest)
		trial_fail(trial, "another state is committed than without the failure");
}

/* -ENOMEM: not even begun. */
static int trial_begin(struct trial *trial)
{
	const struct rs_forest_options options = {
		.node_bytes = NODE_BYTES,
		.no_drop_thread = true,
		.observer = &trial->observer,
	};
	struct rs_error error = RS_ERROR_INIT;
	int ret;

	trial->observer = (struct rs_observer){
		.argument = trial,
		.ref = trial_ref,
		.head = trial_head,
		.snapshot = trial_snapshot,
		.deleted = trial_deleted,
	};
	assert_int_equal(refverify_create(NULL, &trial->verify), 0);
	assert_int_equal(recount_accounts_create(&trial->accounts), 0);
	alloc_fail_arm(trial->nth, trial->all_later);
	ret = rs_forest_create(&options, &trial->forest, &error);
	if (ret) {
		trial->forest = NULL;
		assert_int_equal(error.code, ret);
		return ret;
	}
	ret = script_forest_create(script, trial->forest, &trial->back_end, &error);
	if (ret)
		return ret;
	return script_forest_backend(trial->back_end)->join(trial->back_end, &trial->seat);
}

/* Whether an allocation has failed. */
static bool trial_run(uint64_t nth, bool all_later)
{
	struct trial trial = { .nth = nth, .all_later = all_later };
	bool whole = true;
	int ret = trial_begin(&trial);
	uint64_t refused;

	if (!ret)
		whole = trial_lines(&trial);
	refused = alloc_fail_count();
	alloc_fail_arm(0, 0);
	if (ret) {
		early++;
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
	recount_accounts_destroy(trial.accounts);
	refverify_destroy(trial.verify);
	return refused != 0;
}

static void each_allocation_fails(void **state)
{
	bool all = getenv("REFSTORM_ALL") != NULL;
	uint64_t stride = all ? 1 : STRIDE;
	uint64_t first = 1 + (all ? 0 : threads_data_seed("forest_memory") % STRIDE);
	unsigned runs = 0;
	uint64_t nth;

	(void)state;
	assert_false(trial_run(0, false));
	for (nth = first; trial_run(nth, false); nth += stride)
		if (runs++ % STRIDE_ALL_LATER == 0)
			trial_run(nth, true);
	print_message("%llu allocations, every %llu. from %llu: %u lines tried again, %u aborts, "
		      "%u forests not begun\n",
		      (unsigned long long)nth, (unsigned long long)stride,
		      (unsigned long long)first, retries, aborts, early);
	assert_true(runs >= 50 && retries && aborts);
}

static int set_up(void **state)
{
	const struct script_random_options options = {
		.seed = SCRIPT_SEED,
		.operations = LINES,
		.profile = "mixed",
	};
	struct rs_error error = RS_ERROR_INIT;
	char *text;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	int ret;

	(void)state;
	/* Each tree block is an allocation that can fail. */
	buffer_pool_keep_apart(true);
	rcu_thread_enroll();
	assert_non_null(to);
	assert_int_equal(script_random_write(&options, to, &error), 0);
	assert_int_equal(fclose(to), 0);
	ret = script_parse("random", text, bytes, &script, &error);
	free(text);
	return ret;
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
		cmocka_unit_test_setup_teardown(each_allocation_fails, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
