/* SPDX-License-Identifier: MIT */
#include "workloads/workload_work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

#define FILE_NAME "file"
#define NAME_BYTES 64
#define FILL_COMMIT_EVERY UINT64_C(50000)
#define COMMIT_EVERY UINT64_C(8192) /* operations of all threads together, about */
/* Deleted subvolumes, from which on who deletes takes some apart: the forest's own thread rests at times. */
#define DROPPING_MANY 32U
#define DROP_BLOCKS 128U
#define DROP_STEPS 8U

uint64_t work_blocks(const struct workload *workload)
{
	return workload->options.blocks ? workload->options.blocks : workload->kind->blocks;
}

static void name_next(struct work *work, char *name)
{
	/* Relaxed: a number that no other call gets. */
	uint64_t number = order_fetch_add_relaxed(&work->names, 1);

	snprintf(name, NAME_BYTES, "%s-%" PRIu64, work->workload->kind->name, number);
}

/* The loop ends: an image has only so many names. */
static int subvol_create(struct work *work, struct rs_writer *writer, struct rs_subvol **out)
{
	char name[NAME_BYTES];
	int ret;

	do {
		name_next(work, name);
		ret = rs_subvol_create(writer, name, out);
	} while (ret == -EEXIST);
	return ret;
}

/* The loop ends as above. */
static int snapshot_take(struct work *work, struct rs_writer *writer, struct rs_subvol *source,
			 bool read_only, struct rs_subvol **out)
{
	char name[NAME_BYTES];
	int ret;

	do {
		name_next(work, name);
		ret = rs_subvol_snapshot(writer, source, name, read_only, out);
	} while (ret == -EEXIST);
	return ret;
}

static int volume_begin(struct work *work, struct rs_writer *writer, struct work_volume *volume)
{
	int ret;

	volume->data_bytes = 0;
	volume->snapshot_bytes = 0;
	volume->slots = alloc_zeroed((size_t)volume->snapshots + 1, sizeof(*volume->slots));
	if (!volume->slots)
		return -ENOMEM;
	ret = subvol_create(work, writer, &volume->subvol);
	return ret ? ret : rs_file_find(writer, volume->subvol, FILE_NAME, true, &volume->inode);
}

int work_create(struct workload *workload, struct rs_writer *writer, unsigned volumes,
		unsigned first, struct work **out)
{
	struct work *work = alloc_aligned(ORDER_LINE, 1, sizeof(*work));
	struct rs_forest_statistics statistics;
	unsigned sharing = volumes - first;
	unsigned snapshots = workload->options.snapshots;
	unsigned at;
	int ret = 0;

	*out = work;
	if (!work)
		return -ENOMEM;
	work->workload = workload;
	work->volumes = alloc_aligned(ORDER_LINE, volumes, sizeof(*work->volumes));
	if (!work->volumes)
		return -ENOMEM;
	work->volume_count = volumes;
	rs_forest_statistics_read(workload->forest, &statistics);
	work->subvols = statistics.subvols + volumes + snapshots;
	for (at = 0; at < volumes && !ret; at++) {
		if (at >= first)
			work->volumes[at].snapshots =
				snapshots / sharing + (at - first < snapshots % sharing);
		ret = volume_begin(work, writer, &work->volumes[at]);
	}
	return ret;
}

void work_destroy(struct work *work)
{
	unsigned at;

	if (!work)
		return;
	for (at = 0; at < work->volume_count; at++)
		alloc_free(work->volumes[at].slots);
	alloc_free(work->volumes);
	alloc_free(work);
}

int work_fill(struct work *work, struct rs_writer *writer, struct work_volume *volume,
	      uint64_t blocks)
{
	uint64_t at;
	int ret = 0;

	(void)work;
	for (at = 0; at < blocks && !ret; at++) {
		ret = rs_file_write(writer, volume->subvol, volume->inode, at * WORK_BLOCK,
				    WORK_BLOCK);
		if (!ret && (at + 1) % FILL_COMMIT_EVERY == 0)
			ret = rs_forest_commit(writer);
	}
	volume->blocks = blocks;
	volume->data_bytes = blocks * WORK_BLOCK;
	volume->snapshot_bytes = volume->data_bytes;
	return ret ? ret : rs_forest_commit(writer);
}

int work_change(struct work *work, struct rs_writer *writer, struct work_volume *volume,
		struct random_state *random)
{
	uint64_t block = random_state_below(random, volume->blocks);

	(void)work;
	return rs_file_write(writer, volume->subvol, volume->inode, block * WORK_BLOCK, WORK_BLOCK);
}

static int first_snapshot(struct work *work, struct rs_writer *writer, struct work_volume *volume,
			  unsigned slot)
{
	struct rs_subvol *made;
	int ret = snapshot_take(work, writer, volume->subvol, true, &made);

	if (ret)
		return ret;
	/* Relaxed: no other thread is there. */
	order_store_relaxed(&volume->slots[slot], made);
	return 0;
}

int work_snapshots_take(struct work *work, struct rs_writer *writer, work_change_fn *change)
{
	struct random_state random;
	unsigned taken = 0;
	unsigned round;
	unsigned at;
	unsigned changes;
	int ret = 0;

	random_state_seed(&random, work->workload->options.seed, WORK_PREPARE_STREAM);
	for (round = 0; taken < work->workload->options.snapshots && !ret; round++) {
		for (at = 0; at < work->volume_count && !ret; at++) {
			struct work_volume *volume = &work->volumes[at];

			if (round >= volume->snapshots)
				continue;
			for (changes = 0; change && changes < WORK_OVERWRITES_MAX && !ret;
			     changes++)
				ret = change(work, writer, volume, &random);
			if (!ret)
				ret = first_snapshot(work, writer, volume, round);
			taken++;
		}
	}
	return ret;
}

int work_prepare(struct workload *workload, struct rs_writer *writer, unsigned volumes)
{
	uint64_t blocks = work_blocks(workload) / volumes;
	struct work *work;
	unsigned at;
	int ret = work_create(workload, writer, volumes, 0, &work);

	workload->data = work;
	for (at = 0; at < volumes && !ret; at++)
		ret = work_fill(work, writer, &work->volumes[at], blocks ? blocks : 1);
	return ret ? ret : work_snapshots_take(work, writer, work_change);
}

int work_overwrite(struct workload_thread *thread, const struct work_volume *volume,
		   unsigned operation)
{
	uint64_t block = random_state_below(&thread->random, volume->blocks);
	uint64_t begun = workload_begin(thread);
	int ret = rs_file_write(thread->writer, volume->subvol, volume->inode, block * WORK_BLOCK,
				WORK_BLOCK);

	if (!ret)
		workload_done(thread, operation, begun);
	return ret;
}

unsigned work_oldest(struct work_volume *volume)
{
	/* Relaxed: any order of slots will do that takes each in its turn. */
	uint64_t number = order_fetch_add_relaxed(&volume->taken, 1);

	return volume->snapshots ? (unsigned)(number % volume->snapshots) : 0;
}

unsigned work_any(struct workload_thread *thread, const struct work_volume *volume)
{
	return (unsigned)random_state_below(&thread->random, volume->snapshots);
}

struct rs_subvol *work_snapshot_at(struct work_volume *volume, unsigned slot)
{
	/* WORK.snapshot: what the handle leads to. */
	return slot < volume->snapshots ? order_load_acquire(&volume->slots[slot]) : NULL;
}

/* Bounded: what is left then is there for the next one who deletes. */
static int drop_help(struct workload_thread *thread)
{
	struct rs_forest_statistics statistics;
	unsigned step;
	int ret;

	for (step = 0; step < DROP_STEPS; step++) {
		rs_forest_statistics_read(thread->workload->forest, &statistics);
		if (statistics.dropping < DROPPING_MANY)
			return 0;
		ret = rs_forest_drop_step(thread->writer, DROP_BLOCKS);
		if (ret <= 0)
			return ret;
	}
	return 0;
}

int work_snapshot_replace(struct workload_thread *thread, struct work *work,
			  struct work_volume *volume, unsigned slot,
			  const struct work_replace *replace)
{
	uint64_t begun = workload_begin(thread);
	struct rs_subvol *old;
	int ret = snapshot_take(work, thread->writer, volume->subvol, replace->read_only, &old);

	if (ret)
		return ret;
	workload_done(thread, replace->snapshot, begun);
	if (slot < volume->snapshots)
		/* WORK.snapshot: what the handles lead to, the one put there and the one got. */
		old = order_exchange_acq_rel(&volume->slots[slot], old);
	begun = workload_begin(thread);
	ret = rs_subvol_delete(thread->writer, old);
	if (ret)
		return ret;
	workload_done(thread, replace->removal, begun);
	return drop_help(thread);
}

int work_commit(struct workload_thread *thread, struct work *work, uint64_t operations,
		unsigned operation)
{
	uint64_t begun;
	int ret;

	if (thread->index != work->committer)
		return 0;
	work->waiting += operations;
	if (work->waiting * thread->workload->options.threads < COMMIT_EVERY)
		return 0;
	work->waiting = 0;
	begun = workload_begin(thread);
	ret = rs_forest_commit(thread->writer);
	if (!ret)
		workload_done(thread, operation, begun);
	return ret;
}

/* The subvolume is to be found by its name, and its file in it. */
static int subvol_check(struct work *work, struct rs_writer *writer, struct rs_subvol *subvol,
			uint64_t inode, struct rs_error *error)
{
	const char *name = rs_subvol_name(subvol);
	uint64_t found;
	int ret;

	if (rs_subvol_find(work->workload->forest, name) != subvol)
		return error_set(error, -EUCLEAN, "%s: subvolume %s is gone",
				 work->workload->kind->name, name);
	ret = rs_file_find(writer, subvol, FILE_NAME, false, &found);
	if (ret)
		return error_set(error, ret == -ENOENT ? -EUCLEAN : ret, "%s: no file in %s: %s",
				 work->workload->kind->name, name, strerror(-ret));
	if (found != inode)
		return error_set(error, -EUCLEAN,
				 "%s: the file of %s is inode %" PRIu64 ", not %" PRIu64,
				 work->workload->kind->name, name, found, inode);
	return 0;
}

static int bytes_check(struct work *work, const struct rs_subvol *subvol, uint64_t bytes,
		       struct rs_error *error)
{
	const char *name = work->workload->kind->name;
	struct rs_group_usage usage;
	int ret;

	if (bytes == WORK_UNKNOWN)
		return 0;
	ret = rs_group_read(work->workload->forest, rs_group_id(0, rs_subvol_id(subvol)), &usage);
	if (ret)
		return error_set(error, ret == -ENOENT ? -EUCLEAN : ret,
				 "%s: the group of %s cannot be read: %s", name,
				 rs_subvol_name(subvol), strerror(-ret));
	if (usage.data_rfer != bytes)
		return error_set(error, -EUCLEAN,
				 "%s: the group of %s has %" PRIu64 " bytes of data, and %" PRIu64
				 " are there",
				 name, rs_subvol_name(subvol), usage.data_rfer, bytes);
	return 0;
}

/* Whether groups have numbers to be checked, in the end of a first count. */
static int accounts_wait(struct work *work, bool *countable)
{
	struct rs_forest *forest = work->workload->forest;
	struct rs_quota_status status;
	int ret;

	rs_quota_status_read(forest, &status);
	if (status.enabled && status.inconsistent && status.rescan == RS_RESCAN_RUNS) {
		ret = rs_rescan_wait(forest);
		if (ret && ret != -ECANCELED && ret != -EAGAIN)
			return ret;
		rs_quota_status_read(forest, &status);
	}
	*countable = status.enabled && !status.inconsistent;
	return 0;
}

static int volume_check(struct work *work, struct rs_writer *writer, struct work_volume *volume,
			bool countable, struct rs_error *error)
{
	int ret = subvol_check(work, writer, volume->subvol, volume->inode, error);
	unsigned slot;

	if (!ret && countable)
		ret = bytes_check(work, volume->subvol, volume->data_bytes, error);
	for (slot = 0; slot < volume->snapshots && !ret; slot++) {
		struct rs_subvol *snapshot = work_snapshot_at(volume, slot);

		if (!snapshot)
			return error_set(error, -EUCLEAN, "%s: snapshot %u of %s is missing",
					 work->workload->kind->name, slot,
					 rs_subvol_name(volume->subvol));
		ret = subvol_check(work, writer, snapshot, volume->inode, error);
		if (!ret && countable)
			ret = bytes_check(work, snapshot, volume->snapshot_bytes, error);
	}
	return ret;
}

int work_check(struct work *work, struct rs_writer *writer, struct rs_error *error)
{
	struct rs_forest_statistics statistics;
	bool countable = false;
	unsigned at;
	int ret = rs_forest_commit(writer);

	if (!ret)
		ret = accounts_wait(work, &countable);
	if (ret)
		return error_set(error, ret, "%s: nothing can be checked: %s",
				 work->workload->kind->name, strerror(-ret));
	for (at = 0; at < work->volume_count; at++) {
		ret = volume_check(work, writer, &work->volumes[at], countable, error);
		if (ret)
			return ret;
	}
	rs_forest_statistics_read(work->workload->forest, &statistics);
	if (statistics.subvols != work->subvols)
		return error_set(error, -EUCLEAN,
				 "%s: %" PRIu64 " subvolumes are there, and must be %" PRIu64,
				 work->workload->kind->name, statistics.subvols, work->subvols);
	return 0;
}

int work_data_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
{
	return work_check(workload->data, writer, error);
}

void work_data_finish(struct workload *workload)
{
	work_destroy(workload->data);
	workload->data = NULL;
}
