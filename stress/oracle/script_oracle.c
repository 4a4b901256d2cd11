/* SPDX-License-Identifier: MIT */
#include "stress/oracle/script_oracle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/rcu.h"
#include "core/forest/forest_impl.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "stress/oracle/recount_groups.h"
#include "stress/oracle/refverify.h"

struct script_oracle {
	struct script_oracle_options options;
	struct rs_forest *forest;
	struct refverify *verify; /* NULL: nothing is watched */
	struct recount_accounts *accounts;
	struct rs_observer observer;
	struct script_oracle_counts counts; /* but for the actions */
};

static int oracle_ref(void *argument, const struct rs_ref_action *action)
{
	int ret;

	alloc_fail_pause();
	ret = refverify_ref(((struct script_oracle *)argument)->verify, action);
	alloc_fail_resume();
	return ret;
}

static int oracle_head(void *argument, const struct rs_head *head)
{
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_head(((struct script_oracle *)argument)->accounts, head);
	alloc_fail_resume();
	return ret;
}

static int oracle_snapshot(void *argument, uint64_t source, uint64_t root)
{
	struct script_oracle *oracle = argument;
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_snapshot(oracle->accounts, source, root);
	alloc_fail_resume();
	return ret;
}

static int oracle_deleted(void *argument, uint64_t root)
{
	int ret;

	alloc_fail_pause();
	ret = recount_accounts_deleted(((struct script_oracle *)argument)->accounts, root);
	alloc_fail_resume();
	return ret;
}

int script_oracle_create(const struct script_oracle_options *options, struct script_oracle **out,
			 struct rs_error *error)
{
	struct script_oracle *oracle = alloc_zeroed(1, sizeof(*oracle));

	*out = NULL;
	if (!oracle)
		return error_no_memory(error, "the oracles");
	oracle->observer = (struct rs_observer){
		.argument = oracle,
		.ref = oracle_ref,
		.head = oracle_head,
		.snapshot = oracle_snapshot,
		.deleted = oracle_deleted,
	};
	if (options)
		oracle->options = *options;
	if (options && (recount_accounts_create(&oracle->accounts) ||
			refverify_create(NULL, &oracle->verify))) {
		script_oracle_destroy(oracle);
		return error_no_memory(error, "the oracles");
	}
	*out = oracle;
	return 0;
}

void script_oracle_destroy(struct script_oracle *oracle)
{
	if (!oracle)
		return;
	if (oracle->verify)
		refverify_destroy(oracle->verify);
	recount_accounts_destroy(oracle->accounts);
	alloc_free(oracle);
}

const struct rs_observer *script_oracle_observer(const struct script_oracle *oracle)
{
	return oracle->verify ? &oracle->observer : NULL;
}

static int load_extent(void *verify, const struct extent *extent)
{
	return refverify_load(verify, extent);
}

/* What is committed, whatever goes on. */
static int recount_committed(struct script_oracle *oracle, struct recount **recount)
{
	const struct recount_options options = { .holdings = true };
	int ret;

	rcu_section_enter();
	ret = recount_create(oracle->forest, &options, recount);
	rcu_section_exit();
	return ret;
}

/* What each root has at the beginning. */
static int load_accounts(struct script_oracle *oracle)
{
	struct recount *recount;
	int ret;

	rcu_thread_enroll();
	ret = recount_committed(oracle, &recount);
	if (!ret) {
		ret = recount_accounts_load(oracle->accounts, recount);
		recount_destroy(recount);
	}
	rcu_thread_leave();
	return ret;
}

int script_oracle_begin(struct script_oracle *oracle, struct rs_forest *forest, bool opened,
			struct rs_error *error)
{
	int ret = 0;

	oracle->forest = forest;
	if (oracle->verify && opened)
		ret = extent_index_each(forest->extents, load_extent, oracle->verify);
	if (!ret && oracle->verify && opened)
		ret = load_accounts(oracle);
	if (ret)
		error_set(error, ret, "what is there cannot be watched: %s", strerror(-ret));
	return ret;
}

static void tell(const struct script_oracle *oracle, const char *text)
{
	if (oracle->options.finding)
		oracle->options.finding(oracle->options.argument, text);
}

/* What is known of an extent, or the first failure, whose text has that in it. */
static void tell_text(const struct script_oracle *oracle, uint64_t bytenr,
		      void (*to)(void *argument, const char *text))
{
	char *text = to ? alloc_array(REFVERIFY_TEXT_BYTES, 1) : NULL;

	if (!text)
		return;
	if (bytenr)
		refverify_describe(oracle->verify, bytenr, text, REFVERIFY_TEXT_BYTES);
	else
		refverify_text(oracle->verify, text, REFVERIFY_TEXT_BYTES);
	if (text[0])
		to(oracle->options.argument, text);
	alloc_free(text);
}

/* Tells all that was found. */
static int judge_recount(struct script_oracle *oracle, const struct recount *recount,
			 struct rs_error *error)
{
	const struct recount_report *report = recount_report(recount);
	const struct recount_finding *first = &report->findings[0];
	char text[RECOUNT_TEXT_BYTES + 64];
	uint64_t at;

	oracle->counts.recounts++;
	if (!report->finding_count) {
		if (oracle->options.counted)
			oracle->options.counted(oracle->options.argument, recount);
		return 0;
	}
	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++) {
		snprintf(text, sizeof(text), "%s: %s", recount_kind_name(report->findings[at].kind),
			 report->findings[at].text);
		tell(oracle, text);
	}
	if (first->kind != RECOUNT_GROUP && first->kind != RECOUNT_ACCOUNT && first->bytenr)
		tell_text(oracle, first->bytenr, oracle->options.history);
	return error_set(error, -EUCLEAN, "check: %" PRIu64 " differences from a recount",
			 report->finding_count);
}

static int check_recount(struct script_oracle *oracle, struct rs_error *error)
{
	const struct recount_options options = { .references = true, .holdings = true };
	struct recount_groups_done done = { 0 };
	struct recount *recount;
	int ret;

	/* Groups are compared when they are counted; one that is paused stays so. */
	(void)!rs_rescan_wait(oracle->forest);
	rcu_thread_enroll();
	ret = recount_create(oracle->forest, &options, &recount);
	if (!ret)
		ret = recount_accounts_compare(oracle->accounts, recount);
	if (!ret)
		ret = recount_groups_compare(recount, &done);
	oracle->counts.groups += done.groups;
	if (ret)
		error_set(error, ret, "check: %s", strerror(-ret));
	else
		ret = judge_recount(oracle, recount, error);
	if (recount)
		recount_destroy(recount);
	rcu_thread_leave();
	return ret;
}

/* Those that were wrong as they happened, or, with `ret`, lie beside the index now. */
static int judge_references(const struct script_oracle *oracle, int ret, struct rs_error *error)
{
	uint64_t failures = refverify_failures(oracle->verify);

	if (!ret && !failures)
		return 0;
	tell_text(oracle, 0, oracle->options.finding);
	return error_set(error, ret ? ret : -EUCLEAN,
			 "check: %" PRIu64 " changes of references were wrong", failures);
}

static int check_references(struct script_oracle *oracle, struct rs_error *error)
{
	oracle->counts.references++;
	return judge_references(oracle, refverify_check(oracle->verify, oracle->forest->extents),
				error);
}

/* All that is pending becomes part of a commit, so that there is one state to look at. */
static int settle(struct script_oracle *oracle, struct rs_error *error)
{
	struct rs_writer *writer;
	int ret = rs_writer_join(oracle->forest, &writer);

	if (ret)
		return error_set(error, ret, "check: %s", strerror(-ret));
	ret = rs_forest_drop_wait(writer);
	if (!ret)
		ret = rs_forest_commit(writer);
	rs_writer_leave(writer);
	if (ret && !rs_forest_aborted(oracle->forest, error))
		error_set(error, ret, "check: cannot commit: %s", strerror(-ret));
	return ret;
}

int script_oracle_check(void *argument, struct rs_error *error)
{
	struct script_oracle *oracle = argument;
	int ret = settle(oracle, error);

	if (ret) {
		/* Why, where it is a change of a reference that was wrong. */
		if (refverify_failures(oracle->verify))
			tell_text(oracle, 0, oracle->options.finding);
		return ret;
	}
	ret = check_recount(oracle, error);
	return ret ? ret : check_references(oracle, error);
}

int script_oracle_check_committed(struct script_oracle *oracle, struct rs_error *error)
{
	struct recount *recount;
	int ret;

	rcu_thread_enroll();
	ret = recount_committed(oracle, &recount);
	if (ret) {
		error_set(error, ret, "check: %s", strerror(-ret));
	} else {
		ret = judge_recount(oracle, recount, error);
		recount_destroy(recount);
	}
	rcu_thread_leave();
	return ret ? ret : judge_references(oracle, 0, error);
}

void script_oracle_counts_read(const struct script_oracle *oracle,
			       struct script_oracle_counts *counts)
{
	struct refverify_statistics statistics = { 0 };

	if (oracle->verify)
		refverify_statistics_read(oracle->verify, &statistics);
	*counts = oracle->counts;
	counts->actions = statistics.actions;
}
