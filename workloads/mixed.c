/* SPDX-License-Identifier: MIT */
/*
 * A little of everything, as many users of one file system do: operations by chance, by the weights of a
 * table, in files of the thread's own and at times in those that all threads share, and in snapshots.
 * What another thread deleted or made read-only meanwhile counts as nothing.
 */
#include <errno.h>
#include <stdio.h>

#include "core/base/alloc.h"
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 32U
#define FILES 8U       /* of each subvolume */
#define SHARED_IN 4U   /* one operation in so many is on the files of all */
#define SNAPSHOT_IN 8U /* one in so many of what may be on a snapshot is */
#define LENGTH_MAX 16U /* blocks of one operation */
#define FILE_BLOCKS_MIN 32U

enum mixed_operation {
	MIXED_WRITE,
	MIXED_SHARE,
	MIXED_CUT,
	MIXED_SNAPSHOT,
	MIXED_DELETE,
	MIXED_DEFRAG,
	MIXED_COMMIT,
	MIXED_OPERATIONS,
	MIXED_ITSELF, /* the function counts what it does */
};

struct mixed {
	struct work *work;
	uint64_t file_blocks;
};

/* Some blocks of a file. */
struct mixed_place {
	struct rs_subvol *subvol;
	char name[8];
	uint64_t inode;
	uint64_t offset;
	uint64_t length;
};

static struct work_volume *mixed_volume(struct workload_thread *thread, struct mixed *mixed)
{
	bool shared = random_state_chance(&thread->random, 1, SHARED_IN);
	unsigned threads = thread->workload->options.threads;

	return &mixed->work->volumes[shared ? threads : thread->index];
}

/* -ENOENT: there is no such file. */
static int mixed_place(struct workload_thread *thread, struct mixed *mixed, bool create,
		       struct mixed_place *place)
{
	struct work_volume *volume = mixed_volume(thread, mixed);
	struct rs_subvol *snapshot = NULL;
	uint64_t first = random_state_below(&thread->random, mixed->file_blocks);
	uint64_t length = 1 + random_state_below(&thread->random, LENGTH_MAX);

	if (random_state_chance(&thread->random, 1, SNAPSHOT_IN))
		snapshot = work_snapshot_at(volume, work_any(thread, volume));
	if (length > mixed->file_blocks - first)
		length = mixed->file_blocks - first;
	place->subvol = snapshot ? snapshot : volume->subvol;
	place->offset = first * WORK_BLOCK;
	place->length = length * WORK_BLOCK;
	snprintf(place->name, sizeof(place->name), "f%u",
		 (unsigned)random_state_below(&thread->random, FILES));
	return rs_file_find(thread->writer, place->subvol, place->name, create, &place->inode);
}

static int mixed_write(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, true, &place);

	return ret ? ret :
		     rs_file_write(thread->writer, place.subvol, place.inode, place.offset,
				   place.length);
}

static int mixed_fallocate(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, true, &place);

	return ret ? ret :
		     rs_file_fallocate(thread->writer, place.subvol, place.inode, place.offset,
				       place.length);
}

static int mixed_share(struct workload_thread *thread, struct mixed *mixed, bool clone)
{
	struct mixed_place from;
	struct mixed_place to;
	struct rs_file_range source;
	struct rs_file_range target;
	int ret = mixed_place(thread, mixed, false, &from);

	if (!ret)
		ret = mixed_place(thread, mixed, clone, &to);
	if (ret)
		return ret;
	source = (struct rs_file_range){ from.subvol, from.inode, from.offset };
	target = (struct rs_file_range){ to.subvol, to.inode, to.offset };
	if (to.length < from.length)
		from.length = to.length;
	ret = clone ? rs_file_clone(thread->writer, &source, from.length, &target) :
		      rs_file_dedupe(thread->writer, &source, from.length, &target);
	/* Past the end of a file that was cut off, or the ranges overlap. */
	return ret == -EINVAL ? -ENOENT : ret;
}

static int mixed_clone(struct workload_thread *thread, struct mixed *mixed)
{
	return mixed_share(thread, mixed, true);
}

static int mixed_dedupe(struct workload_thread *thread, struct mixed *mixed)
{
	return mixed_share(thread, mixed, false);
}

static int mixed_punch(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, false, &place);

	return ret ? ret :
		     rs_file_punch(thread->writer, place.subvol, place.inode, place.offset,
				   place.length);
}

static int mixed_truncate(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, false, &place);

	return ret ? ret :
		     rs_file_truncate(thread->writer, place.subvol, place.inode, place.offset);
}

static int mixed_unlink(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, false, &place);

	return ret ? ret : rs_file_unlink(thread->writer, place.subvol, place.name);
}

static int mixed_defrag(struct workload_thread *thread, struct mixed *mixed)
{
	struct mixed_place place;
	int ret = mixed_place(thread, mixed, false, &place);

	return ret ? ret : rs_file_defrag(thread->writer, place.subvol, place.inode);
}

static int mixed_replace(struct workload_thread *thread, struct mixed *mixed, bool oldest)
{
	const struct work_replace replace = {
		.snapshot = MIXED_SNAPSHOT,
		.removal = MIXED_DELETE,
		.read_only = random_state_chance(&thread->random, 1, 2),
	};
	struct work_volume *volume = mixed_volume(thread, mixed);
	unsigned slot = oldest ? work_oldest(volume) : work_any(thread, volume);

	return work_snapshot_replace(thread, mixed->work, volume, slot, &replace);
}

static int mixed_snapshot(struct workload_thread *thread, struct mixed *mixed)
{
	return mixed_replace(thread, mixed, true);
}

static int mixed_delete(struct workload_thread *thread, struct mixed *mixed)
{
	return mixed_replace(thread, mixed, false);
}

static int mixed_commit(struct workload_thread *thread, struct mixed *mixed)
{
	(void)mixed;
	return rs_forest_commit(thread->writer);
}

static const struct mixed_kind {
	unsigned weight;
	unsigned operation;
	int (*run)(struct workload_thread *thread, struct mixed *mixed);
} mixed_kinds[] = {
	{ 400, MIXED_WRITE, mixed_write },   { 60, MIXED_WRITE, mixed_fallocate },
	{ 150, MIXED_SHARE, mixed_clone },   { 60, MIXED_SHARE, mixed_dedupe },
	{ 120, MIXED_CUT, mixed_punch },     { 30, MIXED_CUT, mixed_truncate },
	{ 15, MIXED_CUT, mixed_unlink },     { 30, MIXED_DEFRAG, mixed_defrag },
	{ 4, MIXED_ITSELF, mixed_snapshot }, { 4, MIXED_ITSELF, mixed_delete },
	{ 2, MIXED_COMMIT, mixed_commit },
};
#define MIXED_KINDS (sizeof(mixed_kinds) / sizeof(mixed_kinds[0]))

static const struct mixed_kind *mixed_draw(struct random_state *random)
{
	const struct mixed_kind *kind = mixed_kinds;
	unsigned sum = 0;
	uint64_t left;
	size_t at;

	for (at = 0; at < MIXED_KINDS; at++)
		sum += mixed_kinds[at].weight;
	/* Ends within the table: the weights are more than what was drawn. */
	for (left = random_state_below(random, sum); left >= kind->weight; kind++)
		left -= kind->weight;
	return kind;
}

static int mixed_prepare(struct workload *workload, struct rs_writer *writer)
{
	unsigned volumes = workload->options.threads + 1;
	struct mixed *mixed = alloc_zeroed(1, sizeof(*mixed));
	unsigned at;
	int ret;

	workload->data = mixed;
	if (!mixed)
		return -ENOMEM;
	mixed->file_blocks = work_blocks(workload) / volumes / FILES;
	if (mixed->file_blocks < FILE_BLOCKS_MIN)
		mixed->file_blocks = FILE_BLOCKS_MIN;
	ret = work_create(workload, writer, volumes, 0, &mixed->work);
	for (at = 0; at < volumes && !ret; at++) {
		struct work_volume *volume = &mixed->work->volumes[at];

		/* Its own file is filled and stays as it is; the others come as they are written. */
		ret = work_fill(mixed->work, writer, volume, mixed->file_blocks);
		volume->data_bytes = WORK_UNKNOWN;
		volume->snapshot_bytes = WORK_UNKNOWN;
	}
	return ret ? ret : work_snapshots_take(mixed->work, writer, work_change);
}

static int mixed_step(struct workload_thread *thread)
{
	struct mixed *mixed = thread->workload->data;
	unsigned at;

	for (at = 0; at < STEP && work_goes_on(thread); at++) {
		const struct mixed_kind *kind = mixed_draw(&thread->random);
		uint64_t begun = workload_begin(thread);
		int ret = kind->run(thread, mixed);

		if (ret == -EROFS && rs_forest_aborted(thread->workload->forest, NULL))
			return ret;
		if (ret && ret != -EROFS && ret != -ENOENT)
			return ret;
		if (!ret && kind->operation != MIXED_ITSELF)
			workload_done(thread, kind->operation, begun);
	}
	return 0;
}

static int mixed_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
{
	struct mixed *mixed = workload->data;

	return work_check(mixed->work, writer, error);
}

static void mixed_finish(struct workload *workload)
{
	struct mixed *mixed = workload->data;

	if (!mixed)
		return;
	work_destroy(mixed->work);
	alloc_free(mixed);
	workload->data = NULL;
}

const struct rs_workload workload_mixed = {
	.name = "mixed",
	.summary = "all operations on files and snapshots by chance, some in files of all threads",
	.parameters =
		"threads    each with a subvolume of 8 files, and one more for all of them\n"
		"snapshots  that are kept, shared out to the subvolumes: new ones take the place of\n"
		"           the oldest, or of one by chance\n"
		"blocks     about as many in all files together; 65536\n"
		"write: also fallocate; share: clone and dedupe; cut: punch, truncate and unlink.\n",
	.operations = { "write", "share", "cut", "snapshot", "delete", "defrag", "commit" },
	.blocks = 65536,
	.prepare = mixed_prepare,
	.step = mixed_step,
	.check = mixed_check,
	.finish = mixed_finish,
};
