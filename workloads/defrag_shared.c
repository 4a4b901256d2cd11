/* SPDX-License-Identifier: MIT */
/*
 * Defragmenting files whose fragments many snapshots share. Each fragment loses one of its references, and
 * who accounts for them must find out which roots still have it: the more snapshots, the more there are.
 *
 * Files come to be block by block in random order, and in the snapshots they have a history of overwrites.
 * After each defrag a file becomes as fragmented and as shared again as it was: what the newest snapshot has
 * of it is cloned back, and some of it is overwritten. Without snapshots all of it is overwritten.
 */
#include <errno.h>
#include <stdio.h>

#include "core/base/alloc.h"
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define FILE_BLOCKS 256U /* 1 MiB: four extents when it is defragmented */
#define OVERWRITE_IN 16U /* one block in so many, after it was cloned back */
#define STEP_COST 64U    /* operations that one counts for in the commits' rhythm */
#define FILES_MAX UINT64_C(0x1000000)

enum defrag_operation {
	DEFRAG_DEFRAG,
	DEFRAG_FRAGMENT,
	DEFRAG_COMMIT,
};

struct defrag {
	struct work *work;
	uint64_t *inodes;
	unsigned files;  /* file f is of thread f % threads */
	unsigned blocks; /* of each */
};

static int defrag_overwrite(const struct defrag *defrag, struct rs_writer *writer, uint64_t inode,
			    uint64_t block)
{
	return rs_file_write(writer, defrag->work->volumes[0].subvol, inode, block * WORK_BLOCK,
			     WORK_BLOCK);
}

/* Each block, in random order. */
static int defrag_scatter(const struct defrag *defrag, struct rs_writer *writer, uint64_t inode,
			  struct random_state *random)
{
	uint16_t order[FILE_BLOCKS];
	unsigned at;
	int ret = 0;

	for (at = 0; at < defrag->blocks; at++) {
		unsigned other = (unsigned)random_state_below(random, at + 1);

		order[at] = order[other];
		order[other] = (uint16_t)at;
	}
	for (at = 0; at < defrag->blocks && !ret; at++)
		ret = defrag_overwrite(defrag, writer, inode, order[at]);
	return ret;
}

/* An overwrite before a snapshot, in any of the files. */
static int defrag_change(struct work *work, struct rs_writer *writer, struct work_volume *volume,
			 struct random_state *random)
{
	const struct defrag *defrag = work->workload->data;
	uint64_t inode = defrag->inodes[random_state_below(random, defrag->files)];

	(void)volume;
	return defrag_overwrite(defrag, writer, inode, random_state_below(random, defrag->blocks));
}

static int defrag_fill(struct defrag *defrag, struct rs_writer *writer, uint64_t seed)
{
	struct work_volume *volume = &defrag->work->volumes[0];
	struct random_state random;
	char name[16];
	unsigned at;
	int ret = 0;

	random_state_seed(&random, seed, WORK_PREPARE_STREAM + 1);
	for (at = 0; at < defrag->files && !ret; at++) {
		snprintf(name, sizeof(name), "f%u", at);
		ret = rs_file_find(writer, volume->subvol, name, true, &defrag->inodes[at]);
		if (!ret)
			ret = defrag_scatter(defrag, writer, defrag->inodes[at], &random);
	}
	volume->data_bytes = WORK_BLOCK * defrag->files * defrag->blocks;
	volume->snapshot_bytes = volume->data_bytes;
	return ret ? ret : rs_forest_commit(writer);
}

static int defrag_prepare(struct workload *workload, struct rs_writer *writer)
{
	uint64_t share = work_blocks(workload) / workload->options.threads;
	struct defrag *defrag = alloc_zeroed(1, sizeof(*defrag));
	uint64_t files;
	int ret;

	workload->data = defrag;
	if (!defrag)
		return -ENOMEM;
	/* At least one file for each thread; smaller ones where there are few blocks. */
	defrag->blocks = share < FILE_BLOCKS ? (unsigned)(share > 2 ? share : 2) : FILE_BLOCKS;
	files = share < FILE_BLOCKS ? 1 : share / FILE_BLOCKS;
	if (files * workload->options.threads > FILES_MAX)
		return -EINVAL;
	defrag->files = (unsigned)files * workload->options.threads;
	defrag->inodes = alloc_zeroed(defrag->files, sizeof(*defrag->inodes));
	if (!defrag->inodes)
		return -ENOMEM;
	ret = work_create(workload, writer, 1, 0, &defrag->work);
	if (!ret)
		ret = defrag_fill(defrag, writer, workload->options.seed);
	return ret ? ret : work_snapshots_take(defrag->work, writer, defrag_change);
}

static int defrag_fragment(struct workload_thread *thread, struct defrag *defrag, uint64_t inode)
{
	struct work_volume *volume = &defrag->work->volumes[0];
	struct rs_file_range source = { .inode = inode };
	struct rs_file_range target = { .subvol = volume->subvol, .inode = inode };
	unsigned left = defrag->blocks / OVERWRITE_IN;
	int ret;

	if (!volume->snapshots)
		return defrag_scatter(defrag, thread->writer, inode, &thread->random);
	/* They stay as they were prepared: the last slot has the newest. */
	source.subvol = work_snapshot_at(volume, volume->snapshots - 1);
	ret = rs_file_clone(thread->writer, &source, defrag->blocks * WORK_BLOCK, &target);
	for (; left && !ret; left--)
		ret = defrag_overwrite(defrag, thread->writer, inode,
				       random_state_below(&thread->random, defrag->blocks));
	return ret;
}

static int defrag_step(struct workload_thread *thread)
{
	struct defrag *defrag = thread->workload->data;
	unsigned threads = thread->workload->options.threads;
	uint64_t mine = random_state_below(&thread->random, defrag->files / threads);
	uint64_t inode = defrag->inodes[mine * threads + thread->index];
	uint64_t begun = workload_begin(thread);
	int ret = rs_file_defrag(thread->writer, defrag->work->volumes[0].subvol, inode);

	if (ret)
		return ret;
	workload_done(thread, DEFRAG_DEFRAG, begun);
	begun = workload_begin(thread);
	ret = defrag_fragment(thread, defrag, inode);
	if (ret)
		return ret;
	workload_done(thread, DEFRAG_FRAGMENT, begun);
	return work_commit(thread, defrag->work, STEP_COST, DEFRAG_COMMIT);
}

static int defrag_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
{
	struct defrag *defrag = workload->data;

	return work_check(defrag->work, writer, error);
}

static void defrag_finish(struct workload *workload)
{
	struct defrag *defrag = workload->data;

	if (!defrag)
		return;
	work_destroy(defrag->work);
	alloc_free(defrag->inodes);
	alloc_free(defrag);
	workload->data = NULL;
}

const struct rs_workload workload_defrag_shared = {
	.name = "defrag-shared",
	.summary = "defragmenting files of 1 MiB whose 4 KiB fragments snapshots share",
	.parameters =
		"threads    each with files of its own, all in one subvolume\n"
		"snapshots  of that subvolume, taken beforehand, 64 overwrites before each\n"
		"blocks     of all files together; 16384\n"
		"One operation is a defrag of one file, or making it fragmented again: by cloning it\n"
		"back from the newest snapshot and overwriting a 16th of it; without snapshots by\n"
		"overwriting all of it, which is not the same work.\n",
	.operations = { "defrag", "fragment", "commit" },
	.blocks = 16384,
	.prepare = defrag_prepare,
	.step = defrag_step,
	.check = defrag_check,
	.finish = defrag_finish,
};
