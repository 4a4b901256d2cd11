/* SPDX-License-Identifier: MIT */
/*
 * What every run over an image needs: the lists of subvolumes and groups, the
 * worker pool with its reader, and the accounting over them.
 *
 * Who may call: one thread, that of the run; it waits while the workers read.
 */
#ifndef REFSTORM_QGROUP_SURVEY_H
#define REFSTORM_QGROUP_SURVEY_H

#include "core/qgroup/account.h"
#include "core/qgroup/group.h"
#include "core/qgroup/quota.h"
#include "core/qgroup/subvol.h"
#include "refstorm/progress.h"

struct survey {
	struct rs_image *image;
	struct subvol_list subvols;
	struct group_table groups; /* sorted; each subvolume has its level-0 group there */
	struct quota_status status;
	struct pool *pool; /* NULL up to survey_start */
	struct reader *reader;
	struct account account;
	rs_progress_fn *progress; /* may be NULL */
	void *progress_argument;
	struct pool_watch watch;
};

/*
 * Reads the lists. `progress` may be NULL; it is called by this thread, later. 0,
 * -EUCLEAN, -EIO, -ENOMEM. Also on failure survey_close is to be called.
 */
int survey_open(struct survey *survey, struct rs_image *image, rs_progress_fn *progress,
		void *argument, struct rs_error *error) __attribute__((warn_unused_result));

/* Starts `threads` workers (0: one for each CPU allowed) and sets up the accounting. 0 or as pool_create. */
int survey_start(struct survey *survey, unsigned threads, struct rs_error *error)
	__attribute__((warn_unused_result));

/* What the caller does while the workers read; NULL if there is nothing. */
const struct pool_watch *survey_watch(const struct survey *survey);

/* Frees all of it. Outgrown tables are given back before it returns. */
void survey_close(struct survey *survey);

/* On the monotonic clock. */
double survey_seconds(void);

#endif /* REFSTORM_QGROUP_SURVEY_H */
