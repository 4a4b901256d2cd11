// SPDX-License-Identifier: MIT
#include "cli/exec_oracle.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/rcu.h"
#include "core/forest/forest_impl.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_accounts.h"
#include "stress/oracle/recount_groups.h"
#include "stress/oracle/refverify.h"

struct exec_oracle {
	struct rs_forest *forest;
	struct refverify *verify; /* NULL: nothing is watched */
	struct recount_accounts *accounts;
	struct rs_observer observer;
	uint64_t groups; /* that all checks have compared */
};

static int oracle_ref(void *argument, const struct rs_ref_action *action)
{
	return refverify_ref(((struct exec_oracle *)argument)->verify, action);
}

static int oracle_head(void *argument, const struct rs_head *head)
{
	return recount_accounts_head(((struct exec_oracle *)argument)->accounts, head);
}

static int oracle_snapshot(void *argument, uint64_t source, uint64_t root)
{
	return recount_accounts_snapshot(((struct exec_oracle *)argument)->accounts, source, root);
}

static int oracle_deleted(void *argument, uint64_t root)
{
	return recount_accounts_deleted(((struct exec_oracle *)argument)->accounts, root);
}

int exec_oracle_create(const struct script *script, struct exec_oracle **out,
		       struct rs_error *error)
{
	struct exec_oracle *oracle = alloc_zeroed(1, sizeof(*oracle));
	bool checks = false;
	size_t at;

	*out = NULL;
	if (!oracle)
		return error_no_memory(error, "the oracles");
	for (at = 0; at < script->operation_count; at++)
		checks |= script->operations[at].kind == SCRIPT_CHECK;
	oracle->observer = (struct rs_observer){
		.argument = oracle,
		.ref = oracle_ref,
		.head = oracle_head,
		.snapshot = oracle_snapshot,
		.deleted = oracle_deleted,
	};
	if (checks && (recount_accounts_create(&oracle->accounts) ||
		       refverify_create(NULL, &oracle->verify))) {
		exec_oracle_destroy(oracle);
		return error_no_memory(error, "the oracles");
	}
	*out = oracle;
	return 0;
}

void exec_oracle_destroy(struct exec_oracle *oracle)
{
	if (!oracle)
		return;
	if (oracle->verify)
		refverify_destroy(oracle->verify);
	recount_accounts_destroy(oracle->accounts);
	alloc_free(oracle);
}

const struct rs_observer *exec_oracle_observer(const struct exec_oracle *oracle)
{
	return oracle->verify ? &oracle->observer : NULL;
}

static int load_extent(void *verify, const struct extent *extent)
{
	return refverify_load(verify, extent);
}

/* What each root has at the beginning. */
static int load_accounts(struct exec_oracle *oracle)
{
	const struct recount_options options = { .holdings = true };
	struct recount *recount;
	int ret;

	rcu_thread_enroll();
	rcu_section_enter();
	ret = recount_create(oracle->forest, &options, &recount);
	rcu_section_exit();
	if (!ret) {
		ret = recount_accounts_load(oracle->accounts, recount);
		recount_destroy(recount);
	}
	rcu_thread_leave();
	return ret;
}

int exec_oracle_begin(struct exec_oracle *oracle, struct rs_forest *forest, bool opened,
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

/* Messages for all that was found. */
static int judge_recount(const struct recount *recount, struct rs_error *error)
{
	const struct recount_report *report = recount_report(recount);
	uint64_t at;

	if (!report->finding_count)
		return 0;
	for (at = 0; at < report->finding_count && at < RECOUNT_FINDINGS_MAX; at++)
		cli_message("%s: %s", recount_kind_name(report->findings[at].kind),
			    report->findings[at].text);
	return error_set(error, -EUCLEAN, "check: %" PRIu64 " differences from a recount",
			 report->finding_count);
}

static int check_recount(struct exec_oracle *oracle, struct rs_error *error)
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
	oracle->groups += done.groups;
	if (ret)
		error_set(error, ret, "check: %s", strerror(-ret));
	else
		ret = judge_recount(recount, error);
	if (recount)
		recount_destroy(recount);
	rcu_thread_leave();
	return ret;
}

static int check_references(struct exec_oracle *oracle, struct rs_error *error)
{
	int ret = refverify_check(oracle->verify, oracle->forest->extents);
	uint64_t failures = refverify_failures(oracle->verify);
	char *text;

	if (!ret && !failures)
		return 0;
	text = alloc_array(REFVERIFY_TEXT_BYTES, 1);
	if (text)
		cli_message("%s", refverify_text(oracle->verify, text, REFVERIFY_TEXT_BYTES));
	alloc_free(text);
	return error_set(error, ret ? ret : -EUCLEAN,
			 "check: %" PRIu64 " changes of references were wrong", failures);
}

/* All that is pending becomes part of a commit, so that there is one state to look at. */
static int settle(struct exec_oracle *oracle, struct rs_error *error)
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

int exec_oracle_check(void *argument, struct rs_error *error)
{
	struct exec_oracle *oracle = argument;
	int ret = settle(oracle, error);

	if (!ret)
		ret = check_recount(oracle, error);
	return ret ? ret : check_references(oracle, error);
}

uint64_t exec_oracle_groups(const struct exec_oracle *oracle)
{
	return oracle->groups;
}
