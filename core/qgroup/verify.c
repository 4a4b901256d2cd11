// SPDX-License-Identifier: MIT
#include "refstorm/verify.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/owner.h"
#include "core/qgroup/survey.h"

/* Everything that one run holds. */
struct verify {
	struct survey survey;
	const struct rs_verify_options *options;
	struct owner_account owner;
	struct rs_verify_report *report;
};

static bool is_simple(const struct verify *verify)
{
	return verify->survey.status.on && verify->survey.status.simple;
}

static int read_trees(struct verify *verify, struct rs_error *error)
{
	const struct pool_watch *watch = survey_watch(&verify->survey);
	int ret;

	if (is_simple(verify)) {
		if (owner_account_init(&verify->owner, &verify->survey.groups,
				       verify->survey.status.enable_gen,
				       verify->survey.image->rules.node_bytes,
				       pool_threads(verify->survey.pool)))
			return error_no_memory(error, "the groups");
		verify->survey.account.on_block = owner_block;
		verify->survey.account.on_block_argument = &verify->owner;
	}
	ret = account_read_trees(&verify->survey.account, watch, error);
	if (!ret && is_simple(verify))
		ret = owner_read_extents(&verify->owner, verify->survey.reader,
					 &verify->survey.subvols.extents, watch, error);
	return ret;
}

static int count_groups(struct verify *verify, struct rs_error *error)
{
	struct account *account = &verify->survey.account;
	int ret = account_settle(account, error);

	if (ret)
		return ret;
	if (is_simple(verify))
		ret = owner_count_groups(&verify->owner, &verify->survey.groups);
	else
		ret = ledger_count_groups(account->tallies, &account->sets, &verify->survey.subvols,
					  &verify->survey.groups, verify->survey.pool);
	return ret ? error_no_memory(error, "the groups") : 0;
}

static enum rs_match match(const struct verify *verify, const struct group *group)
{
	if (!verify->survey.status.on || verify->survey.status.inconsistent ||
	    verify->survey.status.rescan || !group->has_stored)
		return RS_MATCH_UNKNOWN;
	return group->count.rfer == group->stored_rfer && group->count.excl == group->stored_excl ?
		       RS_MATCH_YES :
		       RS_MATCH_NO;
}

static int report_group(const struct verify *verify, const struct group *group,
			struct rs_group *out)
{
	const struct subvol *subvol = subvol_list_find(&verify->survey.subvols, group->id);

	*out = (struct rs_group){
		.level = group_level(group->id),
		.number = group_number(group->id),
		.rfer = group->count.rfer,
		.excl = group->count.excl,
		.data_rfer = group->count.data_rfer,
		.data_excl = group->count.data_excl,
		.has_stored = group->has_stored,
		.stored_rfer = group->stored_rfer,
		.stored_excl = group->stored_excl,
		.match = match(verify, group),
	};
	if (!subvol || !subvol->path)
		return 0;
	out->path = alloc_string(subvol->path);
	return out->path ? 0 : -ENOMEM;
}

static int report_groups(struct verify *verify)
{
	struct rs_verify_report *report = verify->report;
	struct rs_group *groups = alloc_zeroed(verify->survey.groups.count + 1, sizeof(*groups));
	size_t at;
	int ret = 0;

	if (!groups)
		return -ENOMEM;
	report->groups = groups;
	report->group_count = verify->survey.groups.count;
	for (at = 0; !ret && at < verify->survey.groups.count; at++) {
		ret = report_group(verify, &verify->survey.groups.groups[at], &groups[at]);
		report->mismatches += groups[at].match == RS_MATCH_NO;
	}
	return ret;
}

static void report_sets(struct verify *verify)
{
	const struct rootset_table *sets = &verify->survey.account.sets;
	struct rs_verify_report *report = verify->report;
	uint32_t limit = rootset_limit(sets);
	uint32_t id;

	report->root_sets = limit - 1;
	for (id = 1; id < limit; id++) {
		const struct rootset *set = rootset_at(sets, id);

		report->root_set_runs += set->count / 2;
		/* The set, the word that points to it, and two entries of the id table. */
		report->root_set_bytes += sizeof(*set) + set->count * sizeof(uint32_t) +
					  sizeof(order_ptr) + 2 * sizeof(order_u64);
	}
}

static int fill_report(struct verify *verify, struct rs_error *error)
{
	struct rs_verify_report *report = verify->report;
	const struct quota_status *status = &verify->survey.status;
	struct account *account = &verify->survey.account;

	report->mode = !status->on    ? RS_QUOTA_OFF :
		       status->simple ? RS_QUOTA_SIMPLE :
					RS_QUOTA_FULL;
	report->generation = rs_image_generation(verify->survey.image);
	report->inconsistent = status->inconsistent;
	report->rescanning = status->rescan;
	report->rescan_at = status->rescan_at;
	report->referenced_bytes = ledger_total(account->tallies, rootset_limit(&account->sets));
	report->tree_blocks = account->tree_blocks;
	report->data_extents = extent_table_limit(&account->extents) - 1;
	report->threads = pool_threads(verify->survey.pool);
	report_sets(verify);
	return report_groups(verify) ? error_no_memory(error, "the report") : 0;
}

/* The run itself, with everything set up. */
static int run(struct verify *verify, struct rs_error *error)
{
	double begin = survey_seconds();
	double middle;
	int ret;

	ret = read_trees(verify, error);
	middle = survey_seconds();
	if (!ret)
		ret = count_groups(verify, error);
	if (!ret)
		ret = fill_report(verify, error);
	verify->report->read_seconds = middle - begin;
	verify->report->sets_seconds = survey_seconds() - middle;
	return ret;
}

static int set_up_and_run(struct verify *verify, struct rs_image *image, struct rs_error *error)
{
	const struct rs_verify_options *options = verify->options;
	int ret = survey_open(&verify->survey, image, options->progress, options->argument, error);

	if (!ret)
		ret = survey_start(&verify->survey, options->threads, error);
	if (!ret)
		ret = run(verify, error);
	owner_account_destroy(&verify->owner);
	survey_close(&verify->survey);
	return ret;
}

int rs_verify(struct rs_image *image, const struct rs_verify_options *options,
	      struct rs_verify_report **report, struct rs_error *error)
{
	static const struct rs_verify_options defaults;
	struct verify verify = { .options = options ? options : &defaults };
	double begin = survey_seconds();
	int ret;

	*report = NULL;
	verify.report = alloc_zeroed(1, sizeof(*verify.report));
	if (!verify.report)
		return error_no_memory(error, "the report");
	ret = set_up_and_run(&verify, image, error);
	verify.report->total_seconds = survey_seconds() - begin;
	if (ret) {
		error_add_place(error, "%s", image->name);
		rs_verify_report_free(verify.report);
		return ret;
	}
	*report = verify.report;
	return 0;
}

void rs_verify_report_free(struct rs_verify_report *report)
{
	size_t at;

	if (!report)
		return;
	for (at = 0; report->groups && at < report->group_count; at++)
		alloc_free((void *)(uintptr_t)report->groups[at].path);
	alloc_free((void *)(uintptr_t)report->groups);
	alloc_free(report);
}
