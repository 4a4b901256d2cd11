/* SPDX-License-Identifier: MIT */
/*
 * The plainest load of copy-on-write storage: each thread overwrites random blocks of a file of its own, in a
 * subvolume of its own, so that threads meet on the record path and in commits only. Snapshots that were
 * taken before hold old extents, in a history: from then on an overwrite also gives up a shared reference.
 */
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 64U

enum overwrite_operation {
	OVERWRITE_WRITE,
	OVERWRITE_COMMIT,
};

static int overwrite_prepare(struct workload *workload, struct rs_writer *writer)
{
	return work_prepare(workload, writer, workload->options.threads);
}

static int overwrite_step(struct workload_thread *thread)
{
	struct work *work = thread->workload->data;
	const struct work_volume *volume = &work->volumes[thread->index];
	unsigned at;
	int ret = 0;

	for (at = 0; at < STEP && !ret && work_goes_on(thread); at++)
		ret = work_overwrite(thread, volume, OVERWRITE_WRITE);
	return ret ? ret : work_commit(thread, work, STEP, OVERWRITE_COMMIT);
}

const struct rs_workload workload_overwrite = {
	.name = "overwrite",
	.summary = "random 4 KiB overwrites, each thread in a subvolume of its own",
	.parameters =
		"threads    as many subvolumes, with a file each; the first thread commits, about\n"
		"           every 8192 operations of all\n"
		"snapshots  taken beforehand, shared out to the subvolumes, 64 overwrites before each\n"
		"blocks     of all files together; 65536\n",
	.operations = { "overwrite", "commit" },
	.blocks = 65536,
	.prepare = overwrite_prepare,
	.step = overwrite_step,
	.check = work_data_check,
	.finish = work_data_finish,
};
