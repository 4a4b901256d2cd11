// SPDX-License-Identifier: MIT
#include "core/qgroup/survey.h"

#include <time.h>

#include "core/base/error.h"
#include "core/disk/image.h"

#define PROGRESS_PERIOD_NS 100000000ULL

double survey_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void tick(void *argument)
{
	struct survey *survey = argument;
	uint64_t done = reader_progress_approx(survey->reader);
	/* Relaxed: for the progress bar alone. */
	uint64_t known = order_load_relaxed(&survey->account.blocks_known);

	if (!survey->progress(survey->progress_argument, done, done > known ? done : known))
		reader_cancel(survey->reader);
}

/* Level-0 groups of subvolumes that the quota tree does not have. */
static int add_missing_groups(struct survey *survey, struct rs_error *error)
{
	size_t dangling;
	size_t at;

	for (at = 0; at < survey->subvols.count; at++)
		if (!group_table_add(&survey->groups, survey->subvols.subvols[at].root.id))
			return error_no_memory(error, "the groups");
	if (group_table_sort(&survey->groups, &dangling))
		return error_no_memory(error, "the groups");
	if (dangling)
		image_warn(survey->image,
			   "%zu relations of quota groups name a group that is not there",
			   dangling);
	return 0;
}

int survey_open(struct survey *survey, struct rs_image *image, rs_progress_fn *progress,
		void *argument, struct rs_error *error)
{
	int ret;

	*survey = (struct survey){
		.image = image,
		.progress = progress,
		.progress_argument = argument,
		.watch = { PROGRESS_PERIOD_NS, tick, survey },
	};
	ret = subvol_list_read(image, &survey->subvols, error);
	if (!ret)
		ret = subvol_list_read_paths(image, &survey->subvols, error);
	if (!ret)
		ret = quota_read(image, &survey->subvols.quota, &survey->status, &survey->groups,
				 error);
	if (!ret)
		ret = add_missing_groups(survey, error);
	return ret;
}

int survey_start(struct survey *survey, unsigned threads, struct rs_error *error)
{
	int ret = pool_create(threads, &survey->pool, error);

	if (ret)
		goto no_pool;
	ret = reader_create(survey->image, survey->pool, READER_IO_AUTO, &survey->reader, error);
	if (ret)
		goto destroy_pool;
	ret = account_init(&survey->account, survey->image, survey->reader, &survey->subvols,
			   error);
	if (ret)
		goto destroy_reader;
	return 0;

destroy_reader:
	reader_destroy(survey->reader);
destroy_pool:
	pool_destroy(survey->pool);
no_pool:
	survey->pool = NULL;
	return ret;
}

const struct pool_watch *survey_watch(const struct survey *survey)
{
	return survey->progress ? &survey->watch : NULL;
}

void survey_close(struct survey *survey)
{
	if (survey->pool) {
		account_destroy(&survey->account);
		reader_destroy(survey->reader);
		pool_destroy(survey->pool);
	}
	group_table_destroy(&survey->groups);
	subvol_list_destroy(&survey->subvols);
}
