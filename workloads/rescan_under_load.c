/* SPDX-License-Identifier: MIT */
/*
 * Counting all accounts again while writers go on: how long it takes beside them, and what they lose by it.
 * Each rescan of accounts that were consistent must find nothing to mend, whatever happened meanwhile.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 64U
#define SNAPSHOT_EVERY 32U /* steps of a writer */
#define LOOK_NS 1000000    /* how often the thread that has nothing else to do looks for its end */

enum rescan_operation {
	RESCAN_OVERWRITE,
	RESCAN_SNAPSHOT,
	RESCAN_DELETE,
	RESCAN_COMMIT,
	RESCAN_RESCAN,
};

/* What only the thread uses that starts them. */
struct rescan {
	struct work *work;
	bool runs;       /* one that was started here */
	bool consistent; /* the accounts, when it was */
	uint64_t begun;
	uint64_t differences; /* that there had been before it */
	uint64_t found;       /* of all that began with consistent accounts */
};

/* The first thread only starts them, unless it is alone. */
static unsigned rescan_writers(const struct workload *workload)
{
	return workload->options.threads > 1 ? workload->options.threads - 1 : 1;
}

static int rescan_prepare(struct workload *workload, struct rs_writer *writer)
{
	struct rescan *rescan = alloc_zeroed(1, sizeof(*rescan));
	int ret;

	if (!rescan)
		return -ENOMEM;
	ret = work_prepare(workload, writer, rescan_writers(workload));
	rescan->work = workload->data;
	workload->data = rescan;
	if (rescan->work)
		rescan->work->committer = workload->options.threads > 1;
	return ret;
}

/* Of the one that ended: 0, also where it was cancelled; -EAGAIN: it has not ended. */
static int rescan_ended(struct workload *workload, struct rescan *rescan, bool *whole)
{
	struct rs_quota_status status;
	int ret = rs_rescan_wait(workload->forest);

	*whole = !ret;
	if (ret == -EAGAIN) {
		/* Whoever paused it: nobody else would let it go on. */
		ret = rs_rescan_resume(workload->forest);
		return ret && ret != -EINVAL ? ret : -EAGAIN;
	}
	rescan->runs = false;
	if (ret)
		return ret == -ECANCELED ? 0 : ret;
	rs_quota_status_read(workload->forest, &status);
	if (rescan->consistent && !status.inconsistent)
		rescan->found += status.differences - rescan->differences;
	return 0;
}

static int rescan_begin(struct workload *workload, struct rescan *rescan,
			const struct rs_quota_status *status)
{
	int ret;

	rescan->consistent = !status->inconsistent;
	rescan->differences = status->differences;
	ret = rs_rescan_start(workload->forest);
	rescan->runs = !ret;
	/* Another one runs: its end is waited for, and it is none of ours. */
	return ret == -EINPROGRESS ? 0 : ret;
}

/* Waits for nothing: a rescan may take longer than a step should. */
static int rescan_look(struct workload_thread *thread, struct rescan *rescan)
{
	struct workload *workload = thread->workload;
	struct rs_quota_status status;
	bool whole;
	int ret;

	rs_quota_status_read(workload->forest, &status);
	if (!status.enabled)
		return -ENOTCONN;
	if (status.rescan == RS_RESCAN_RUNS)
		return 0;
	if (rescan->runs || status.rescan == RS_RESCAN_PAUSED) {
		bool ours = rescan->runs;

		ret = rescan_ended(workload, rescan, &whole);
		if (ret)
			return ret == -EAGAIN ? 0 : ret;
		if (ours && whole)
			workload_done(thread, RESCAN_RESCAN, rescan->begun);
		rs_quota_status_read(workload->forest, &status);
	}
	if (!work_goes_on(thread))
		return 0;
	rescan->begun = workload_begin(thread);
	return rescan_begin(workload, rescan, &status);
}

static int rescan_write(struct workload_thread *thread, struct work *work,
			struct work_volume *volume)
{
	static const struct work_replace replace = { RESCAN_SNAPSHOT, RESCAN_DELETE, true };
	unsigned at;
	int ret = 0;

	for (at = 0; at < STEP && !ret && work_goes_on(thread); at++)
		ret = work_overwrite(thread, volume, RESCAN_OVERWRITE);
	if (!ret && ++volume->count % SNAPSHOT_EVERY == 0)
		ret = work_snapshot_replace(thread, work, volume, work_oldest(volume), &replace);
	return ret ? ret : work_commit(thread, work, STEP, RESCAN_COMMIT);
}

static int rescan_step(struct workload_thread *thread)
{
	const struct timespec rest = { .tv_nsec = LOOK_NS };
	struct rescan *rescan = thread->workload->data;
	unsigned threads = thread->workload->options.threads;
	int ret = 0;

	if (thread->index == 0) {
		ret = rescan_look(thread, rescan);
		if (!ret && threads > 1)
			nanosleep(&rest, NULL);
	}
	if (!ret && (thread->index || threads == 1))
		ret = rescan_write(thread, rescan->work,
				   &rescan->work->volumes[thread->index - (threads > 1)]);
	return ret;
}

static int rescan_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
{
	struct rescan *rescan = workload->data;
	bool whole;
	int ret = rescan->runs ? rescan_ended(workload, rescan, &whole) : 0;

	if (ret)
		return error_set(error, ret, "%s: the last rescan failed: %s", workload->kind->name,
				 strerror(-ret));
	if (rescan->found)
		return error_set(error, -EUCLEAN,
				 "%s: rescans of consistent accounts found %" PRIu64 " differences",
				 workload->kind->name, rescan->found);
	return work_check(rescan->work, writer, error);
}

static void rescan_finish(struct workload *workload)
{
	struct rescan *rescan = workload->data;

	if (!rescan)
		return;
	work_destroy(rescan->work);
	alloc_free(rescan);
	workload->data = NULL;
}

const struct rs_workload workload_rescan_under_load = {
	.name = "rescan-under-load",
	.summary = "rescans, one behind the other, while others overwrite and take snapshots",
	.parameters =
		"threads    the first starts rescans and waits for them; each other one has a subvolume\n"
		"           of its own; one alone does both, and its rescans run beside it\n"
		"snapshots  that are kept, shared out to the subvolumes: each 2048 overwrites a new one\n"
		"           takes the place of the oldest\n"
		"blocks     of all files together; 65536\n"
		"Quotas must be on. How long rescans take is known to a millisecond.\n",
	.operations = { "overwrite", "snapshot", "delete", "commit", "rescan" },
	.needs_quotas = true,
	.blocks = 65536,
	.prepare = rescan_prepare,
	.step = rescan_step,
	.check = rescan_check,
	.finish = rescan_finish,
};
