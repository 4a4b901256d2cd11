/* SPDX-License-Identifier: MIT */
/*
 * Deleting snapshots out of the middle of a history: what it shared with its neighbours stays, what only it
 * had goes. Each thread has a subvolume and a history of its own; what is deleted is taken apart beside them,
 * and now and then one thread waits for that.
 */
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 64U
#define WAIT_EVERY 16U

enum drop_operation {
	DROP_OVERWRITE,
	DROP_SNAPSHOT,
	DROP_DELETE,
	DROP_WAIT,
};

static int drop_prepare(struct workload *workload, struct rs_writer *writer)
{
	return work_prepare(workload, writer, workload->options.threads);
}

static int drop_wait(struct workload_thread *thread)
{
	uint64_t begun = workload_begin(thread);
	int ret = rs_forest_drop_wait(thread->writer);

	if (!ret)
		workload_done(thread, DROP_WAIT, begun);
	return ret;
}

static int drop_step(struct workload_thread *thread)
{
	static const struct work_replace replace = { DROP_SNAPSHOT, DROP_DELETE, true };
	struct work *work = thread->workload->data;
	struct work_volume *volume = &work->volumes[thread->index];
	unsigned at;
	int ret = 0;

	for (at = 0; at < STEP && !ret && work_goes_on(thread); at++)
		ret = work_overwrite(thread, volume, DROP_OVERWRITE);
	if (!ret)
		ret = work_snapshot_replace(thread, work, volume, work_any(thread, volume),
					    &replace);
	if (!ret && thread->index == 0 && ++volume->count % WAIT_EVERY == 0)
		ret = drop_wait(thread);
	return ret;
}

const struct rs_workload workload_snapshot_drop = {
	.name = "snapshot-drop",
	.summary = "64 overwrites, a snapshot, and one out of the middle of the history is deleted",
	.parameters =
		"threads    as many subvolumes; the first thread waits for the dropping every 16 turns\n"
		"snapshots  that are kept, shared out to the subvolumes\n"
		"blocks     of all files together; 16384\n",
	.operations = { "overwrite", "snapshot", "delete", "drop-wait" },
	.blocks = 16384,
	.prepare = drop_prepare,
	.step = drop_step,
	.check = work_data_check,
	.finish = work_data_finish,
};
