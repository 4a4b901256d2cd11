// SPDX-License-Identifier: MIT
#include "refstorm/reclaim.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/disk/image.h"
#include "core/qgroup/freed.h"
#include "core/qgroup/subvol_select.h"
#include "core/qgroup/survey.h"

/* Everything that one run holds. */
struct reclaim {
	struct survey survey;
	const struct rs_reclaim_options *options;
	const char *const *names;
	size_t name_count;
	bool *chosen; /* by index in the list of subvolumes */
	struct flat_sets flat;
	struct rs_reclaim_report *report;
};

static bool can_be_deleted(const struct subvol *subvol)
{
	return !subvol->deleted && subvol->root.id != BTRFS_FS_TREE_OBJECTID;
}

static bool is_listed(const struct reclaim *reclaim, size_t index)
{
	const struct subvol *subvol = &reclaim->survey.subvols.subvols[index];

	if (reclaim->name_count)
		return reclaim->chosen[index];
	return reclaim->options->each && can_be_deleted(subvol);
}

static bool is_candidate(const struct reclaim *reclaim, size_t index)
{
	const struct subvol *subvol = &reclaim->survey.subvols.subvols[index];
	uint8_t set = 0;
	size_t at;

	if (reclaim->name_count)
		return reclaim->chosen[index];
	for (at = 0; at < sizeof(subvol->parent_uuid); at++)
		set |= subvol->parent_uuid[at];
	return set && can_be_deleted(subvol);
}

static int read_lists(struct reclaim *reclaim, struct rs_image *image, struct rs_error *error)
{
	const struct rs_reclaim_options *options = reclaim->options;
	struct survey *survey = &reclaim->survey;
	int ret = survey_open(survey, image, options->progress, options->argument, error);

	if (ret)
		return ret;
	reclaim->chosen = alloc_zeroed(survey->subvols.count + 1, sizeof(*reclaim->chosen));
	if (!reclaim->chosen)
		return error_no_memory(error, "the list of subvolumes");
	return subvol_select(&survey->subvols, &survey->groups, reclaim->names, reclaim->name_count,
			     reclaim->chosen, error);
}

static int read_sets(struct reclaim *reclaim, struct rs_error *error)
{
	struct survey *survey = &reclaim->survey;
	struct account *account = &survey->account;
	int ret = survey_start(survey, reclaim->options->threads, error);

	if (ret)
		return ret;
	account->skip_deleted = true;
	ret = account_read_trees(account, survey_watch(survey), error);
	if (!ret)
		ret = account_settle(account, error);
	if (!ret &&
	    flat_sets_build(&reclaim->flat, account->tallies, &account->sets, &survey->subvols))
		ret = error_no_memory(error, "the root sets");
	return ret;
}

static int fill_entry(const struct subvol *subvol, struct rs_reclaim_entry *entry)
{
	entry->id = subvol->root.id;
	if (!subvol->path)
		return 0;
	entry->path = alloc_string(subvol->path);
	return entry->path ? 0 : -ENOMEM;
}

static int count_all(struct reclaim *reclaim)
{
	const struct subvol_list *list = &reclaim->survey.subvols;
	uint32_t *before = alloc_zeroed(list->positions + 1U, sizeof(*before));
	uint32_t position;
	size_t at;

	if (!before)
		return -ENOMEM;
	for (at = 0; at < list->count; at++)
		if (reclaim->chosen[at]) {
			before[list->subvols[at].position + 1] = 1;
			reclaim->report->given_count++;
		}
	for (position = 0; position < list->positions; position++)
		before[position + 1] += before[position];
	reclaim->report->given = reclaim->name_count;
	reclaim->report->bytes = freed_by_all(&reclaim->flat, before);
	alloc_free(before);
	return 0;
}

static int count_each(struct reclaim *reclaim)
{
	const struct subvol_list *list = &reclaim->survey.subvols;
	struct rs_reclaim_report *report = reclaim->report;
	uint64_t *bytes = alloc_zeroed(list->positions + 1U, sizeof(*bytes));
	struct rs_reclaim_entry *each = alloc_zeroed(list->count + 1, sizeof(*each));
	size_t at;
	int ret = bytes && each ? 0 : -ENOMEM;

	report->each = each;
	if (!ret)
		freed_by_each(&reclaim->flat, bytes);
	for (at = 0; !ret && at < list->count; at++) {
		if (!is_listed(reclaim, at))
			continue;
		each[report->each_count].bytes = bytes[list->subvols[at].position];
		ret = fill_entry(&list->subvols[at], &each[report->each_count++]);
	}
	alloc_free(bytes);
	return ret;
}

static uint32_t list_candidates(const struct reclaim *reclaim, struct freed_candidate *candidates)
{
	const struct subvol_list *list = &reclaim->survey.subvols;
	uint32_t count = 0;
	size_t at;

	for (at = 0; at < list->count; at++)
		if (is_candidate(reclaim, at))
			candidates[count++] = (struct freed_candidate){
				.id = list->subvols[at].root.id,
				.position = list->subvols[at].position,
			};
	return count;
}

static int report_steps(struct reclaim *reclaim, const struct freed_step *steps, uint32_t count)
{
	struct rs_reclaim_report *report = reclaim->report;
	struct rs_reclaim_entry *best = alloc_zeroed(count + 1U, sizeof(*best));
	uint32_t at;
	int ret = 0;

	if (!best)
		return -ENOMEM;
	report->best = best;
	report->best_count = count;
	for (at = 0; !ret && at < count; at++) {
		best[at].bytes = steps[at].bytes;
		best[at].total = steps[at].total;
		ret = fill_entry(subvol_list_find(&reclaim->survey.subvols, steps[at].root.id),
				 &best[at]);
	}
	return ret;
}

static int count_best(struct reclaim *reclaim)
{
	const struct subvol_list *list = &reclaim->survey.subvols;
	struct freed_candidate *candidates = alloc_array(list->count + 1, sizeof(*candidates));
	uint32_t most = reclaim->options->best;
	struct freed_step *steps = NULL;
	uint32_t count;
	int ret = -ENOMEM;

	if (!most || !candidates) {
		alloc_free(candidates);
		return most ? -ENOMEM : 0;
	}
	count = list_candidates(reclaim, candidates);
	if (most > count)
		most = count;
	steps = alloc_array(most + 1U, sizeof(*steps));
	if (steps)
		ret = freed_best(&reclaim->flat, candidates, count, steps, most);
	if (!ret)
		ret = report_steps(reclaim, steps, most);
	alloc_free(steps);
	alloc_free(candidates);
	return ret;
}

static int run(struct reclaim *reclaim, struct rs_image *image, struct rs_error *error)
{
	int ret = read_lists(reclaim, image, error);

	if (!ret)
		ret = read_sets(reclaim, error);
	if (ret)
		return ret;
	reclaim->report->generation = rs_image_generation(image);
	reclaim->report->threads = pool_threads(reclaim->survey.pool);
	ret = count_all(reclaim);
	if (!ret)
		ret = count_each(reclaim);
	if (!ret)
		ret = count_best(reclaim);
	return ret ? error_no_memory(error, "the report") : 0;
}

int rs_reclaim(struct rs_image *image, const char *const *names, size_t count,
	       const struct rs_reclaim_options *options, struct rs_reclaim_report **report,
	       struct rs_error *error)
{
	static const struct rs_reclaim_options defaults;
	struct reclaim reclaim = {
		.options = options ? options : &defaults,
		.names = names,
		.name_count = count,
	};
	double begin = survey_seconds();
	int ret;

	*report = NULL;
	if (!count && !reclaim.options->each && !reclaim.options->best)
		return error_set(error, -EINVAL, "no subvolume is given");
	reclaim.report = alloc_zeroed(1, sizeof(*reclaim.report));
	if (!reclaim.report)
		return error_no_memory(error, "the report");
	ret = run(&reclaim, image, error);
	flat_sets_free(&reclaim.flat);
	alloc_free(reclaim.chosen);
	survey_close(&reclaim.survey);
	reclaim.report->seconds = survey_seconds() - begin;
	if (ret) {
		error_add_place(error, "%s", image->name);
		rs_reclaim_report_free(reclaim.report);
		return ret;
	}
	*report = reclaim.report;
	return 0;
}

static void free_entries(const struct rs_reclaim_entry *entries, size_t count)
{
	size_t at;

	for (at = 0; entries && at < count; at++)
		alloc_free((void *)(uintptr_t)entries[at].path);
	alloc_free((void *)(uintptr_t)entries);
}

void rs_reclaim_report_free(struct rs_reclaim_report *report)
{
	if (!report)
		return;
	free_entries(report->each, report->each_count);
	free_entries(report->best, report->best_count);
	alloc_free(report);
}
