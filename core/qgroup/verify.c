// SPDX-License-Identifier: MIT
#include "refstorm/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/account.h"
#include "core/qgroup/owner.h"
#include "core/qgroup/quota.h"

#define PROGRESS_PERIOD_NS 100000000ULL

/* Everything that one run holds. */
struct verify {
	struct rs_image *image;
	const struct rs_verify_options *options;
	struct pool *pool;
	struct reader *reader;
	struct subvol_list subvols;
	struct group_table groups;
	struct quota_status status;
	struct account account;
	struct owner_account owner;
	struct pool_watch watch;
	struct rs_verify_report *report;
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void tick(void *argument)
{
	struct verify *verify = argument;
	uint64_t done = reader_progress_approx(verify->reader);
	/* Relaxed: for the progress bar alone. */
	uint64_t known = order_load_relaxed(&verify->account.blocks_known);

	if (!verify->options->progress(verify->options->argument, done,
				       done > known ? done : known))
		reader_cancel(verify->reader);
}

/* Level-0 groups of subvolumes that the quota tree does not have. */
static int add_missing_groups(struct verify *verify, struct rs_error *error)
{
	size_t dangling;
	size_t at;

	for (at = 0; at < verify->subvols.count; at++)
		if (!group_table_add(&verify->groups, verify->subvols.subvols[at].root.id))
			return error_no_memory(error, "the groups");
	if (group_table_sort(&verify->groups, &dangling))
		return error_no_memory(error, "the groups");
	if (dangling)
		image_warn(verify->image,
			   "%zu relations of quota groups name a group that is not there",
			   dangling);
	return 0;
}

static int read_lists(struct verify *verify, struct rs_error *error)
{
	int ret = subvol_list_read(verify->image, &verify->subvols, error);

	if (!ret)
		ret = subvol_list_read_paths(verify->image, &verify->subvols, error);
	if (!ret)
		ret = quota_read(verify->image, &verify->subvols.quota, &verify->status,
				 &verify->groups, error);
	if (!ret)
		ret = add_missing_groups(verify, error);
	return ret;
}

static bool is_simple(const struct verify *verify)
{
	return verify->status.on && verify->status.simple;
}

static int read_trees(struct verify *verify, struct rs_error *error)
{
	const struct pool_watch *watch = verify->options->progress ? &verify->watch : NULL;
	int ret;

	if (is_simple(verify)) {
		if (owner_account_init(&verify->owner, &verify->groups, verify->status.enable_gen,
				       verify->image->rules.node_bytes, pool_threads(verify->pool)))
			return error_no_memory(error, "the groups");
		verify->account.on_block = owner_block;
		verify->account.on_block_argument = &verify->owner;
	}
	ret = account_read_trees(&verify->account, watch, error);
	if (!ret && is_simple(verify))
		ret = owner_read_extents(&verify->owner, verify->reader, &verify->subvols.extents,
					 watch, error);
	return ret;
}

static int count_groups(struct verify *verify, struct rs_error *error)
{
	struct account *account = &verify->account;
	int ret = account_settle(account, error);

	if (ret)
		return ret;
	if (is_simple(verify))
		ret = owner_count_groups(&verify->owner, &verify->groups);
	else
		ret = ledger_count_groups(account->tallies, &account->sets, &verify->subvols,
					  &verify->groups, verify->pool);
	return ret ? error_no_memory(error, "the groups") : 0;
}

static enum rs_match match(const struct verify *verify, const struct group *group)
{
	if (!verify->status.on || verify->status.inconsistent || verify->status.rescan ||
	    !group->has_stored)
		return RS_MATCH_UNKNOWN;
	return group->count.rfer == group->stored_rfer && group->count.excl == group->stored_excl ?
		       RS_MATCH_YES :
		       RS_MATCH_NO;
}

static int report_group(const struct verify *verify, const struct group *group,
			struct rs_group *out)
{
	const struct subvol *subvol = subvol_list_find(&verify->subvols, group->id);

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
	struct rs_group *groups = alloc_zeroed(verify->groups.count + 1, sizeof(*groups));
	size_t at;
	int ret = 0;

	if (!groups)
		return -ENOMEM;
	report->groups = groups;
	report->group_count = verify->groups.count;
	for (at = 0; !ret && at < verify->groups.count; at++) {
		ret = report_group(verify, &verify->groups.groups[at], &groups[at]);
		report->mismatches += groups[at].match == RS_MATCH_NO;
	}
	return ret;
}

static void report_sets(struct verify *verify)
{
	const struct rootset_table *sets = &verify->account.sets;
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
	const struct quota_status *status = &verify->status;
	struct account *account = &verify->account;

	report->mode = !status->on    ? RS_QUOTA_OFF :
		       status->simple ? RS_QUOTA_SIMPLE :
					RS_QUOTA_FULL;
	report->generation = rs_image_generation(verify->image);
	report->inconsistent = status->inconsistent;
	report->rescanning = status->rescan;
	report->rescan_at = status->rescan_at;
	report->referenced_bytes = ledger_total(account->tallies, rootset_limit(&account->sets));
	report->tree_blocks = account->tree_blocks;
	report->data_extents = extent_table_limit(&account->extents) - 1;
	report->threads = pool_threads(verify->pool);
	report_sets(verify);
	return report_groups(verify) ? error_no_memory(error, "the report") : 0;
}

/* The run itself, with everything set up. */
static int run(struct verify *verify, struct rs_error *error)
{
	double begin = seconds_now();
	double middle;
	int ret;

	ret = read_trees(verify, error);
	middle = seconds_now();
	if (!ret)
		ret = count_groups(verify, error);
	if (!ret)
		ret = fill_report(verify, error);
	verify->report->read_seconds = middle - begin;
	verify->report->sets_seconds = seconds_now() - middle;
	return ret;
}

static int set_up_and_run(struct verify *verify, struct rs_error *error)
{
	unsigned threads = verify->options->threads;
	int ret;

	verify->watch = (struct pool_watch){ PROGRESS_PERIOD_NS, tick, verify };
	ret = read_lists(verify, error);
	if (ret)
		goto free_lists;
	ret = pool_create(threads, &verify->pool, error);
	if (ret)
		goto free_lists;
	ret = reader_create(verify->image, verify->pool, READER_IO_AUTO, &verify->reader, error);
	if (ret)
		goto destroy_pool;
	ret = account_init(&verify->account, verify->image, verify->reader, &verify->subvols,
			   error);
	if (ret)
		goto destroy_reader;
	ret = run(verify, error);
	owner_account_destroy(&verify->owner);
	account_destroy(&verify->account);
destroy_reader:
	reader_destroy(verify->reader);
destroy_pool:
	pool_destroy(verify->pool);
free_lists:
	group_table_destroy(&verify->groups);
	subvol_list_destroy(&verify->subvols);
	/* Outgrown tables are given back before the caller counts its memory. */
	rcu_defer_barrier();
	return ret;
}

int rs_verify(struct rs_image *image, const struct rs_verify_options *options,
	      struct rs_verify_report **report, struct rs_error *error)
{
	static const struct rs_verify_options defaults;
	struct verify verify = { .image = image, .options = options ? options : &defaults };
	double begin = seconds_now();
	int ret;

	*report = NULL;
	verify.report = alloc_zeroed(1, sizeof(*verify.report));
	if (!verify.report)
		return error_no_memory(error, "the report");
	ret = set_up_and_run(&verify, error);
	verify.report->total_seconds = seconds_now() - begin;
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
