/* SPDX-License-Identifier: MIT */
/*
 * One subvolume that all threads change and snapshot, as a backup that runs far too often: they meet on its
 * lock, in commits, and in taking apart what was deleted.
 */
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 50U

enum storm_operation {
	STORM_OVERWRITE,
	STORM_SNAPSHOT,
	STORM_DELETE,
};

static int storm_prepare(struct workload *workload, struct rs_writer *writer)
{
	return work_prepare(workload, writer, 1);
}

static int storm_step(struct workload_thread *thread)
{
	static const struct work_replace replace = { STORM_SNAPSHOT, STORM_DELETE, true };
	struct work *work = thread->workload->data;
	struct work_volume *volume = &work->volumes[0];
	unsigned at;
	int ret = 0;

	for (at = 0; at < STEP && !ret && work_goes_on(thread); at++)
		ret = work_overwrite(thread, volume, STORM_OVERWRITE);
	return ret ? ret :
		     work_snapshot_replace(thread, work, volume, work_oldest(volume), &replace);
}

const struct rs_workload workload_snapshot_storm = {
	.name = "snapshot-storm",
	.summary = "50 overwrites and a snapshot, over and over, all threads in one subvolume",
	.parameters = "threads    in one file of one subvolume\n"
		      "snapshots  that are kept: each new one takes the place of the oldest\n"
		      "blocks     of the file; 16384\n",
	.operations = { "overwrite", "snapshot", "delete" },
	.blocks = 16384,
	.prepare = storm_prepare,
	.step = storm_step,
	.check = work_data_check,
	.finish = work_data_finish,
};
