/* SPDX-License-Identifier: MIT */
/*
 * One extent with thousands of references, as deduplicating makes them of a block that is everywhere: threads
 * clone it all over files of their own in several subvolumes, and punch out or overwrite clones again. Each
 * change is one of the same extent; who asks for its owners has thousands to look at.
 */
#include <errno.h>
#include <stdio.h>

#include "core/base/alloc.h"
#include "workloads/workload_list.h"
#include "workloads/workload_work.h"

#define STEP 64U
#define SOURCE 0U     /* number of the volume that the extent comes from */
#define SUBVOLUMES 8U /* behind it */
#define EMPTY_IN 8U   /* one place for so many references is without one */
#define PLACES_MAX UINT64_C(0x40000000)

enum fan_operation {
	FAN_CLONE,
	FAN_PUNCH,
	FAN_OVERWRITE,
	FAN_COMMIT,
};

/* A block of a file. */
enum fan_place {
	FAN_EMPTY,
	FAN_CLONED,
	FAN_WRITTEN, /* an extent of its own */
};

/* Places without a reference stand first in `order`, as a ring with the one for the next clone at `next`. */
struct fan_thread {
	uint64_t inodes[SUBVOLUMES];
	uint8_t *places;
	uint32_t *order;
	uint32_t count;
	uint32_t empty;
	uint32_t next;
} __attribute__((aligned(ORDER_LINE)));

struct fan {
	struct work *work;
	unsigned thread_count;
	struct fan_thread *threads;
};

static struct rs_file_range fan_range(const struct fan *fan, const struct fan_thread *mine,
				      uint32_t place)
{
	unsigned subvolume = place % SUBVOLUMES;

	return (struct rs_file_range){
		.subvol = fan->work->volumes[SOURCE + 1 + subvolume].subvol,
		.inode = mine->inodes[subvolume],
		.offset = place / SUBVOLUMES * WORK_BLOCK,
	};
}

static int fan_clone(const struct fan *fan, struct rs_writer *writer, struct fan_thread *mine,
		     uint32_t place)
{
	const struct work_volume *volume = &fan->work->volumes[SOURCE];
	const struct rs_file_range source = { .subvol = volume->subvol, .inode = volume->inode };
	const struct rs_file_range target = fan_range(fan, mine, place);
	int ret = rs_file_clone(writer, &source, WORK_BLOCK, &target);

	if (!ret)
		mine->places[place] = FAN_CLONED;
	return ret;
}

static int fan_drop(const struct fan *fan, struct rs_writer *writer, struct fan_thread *mine,
		    uint32_t place, bool punch)
{
	const struct rs_file_range range = fan_range(fan, mine, place);
	int ret =
		punch ? rs_file_punch(writer, range.subvol, range.inode, range.offset, WORK_BLOCK) :
			rs_file_write(writer, range.subvol, range.inode, range.offset, WORK_BLOCK);

	if (!ret)
		mine->places[place] = punch ? FAN_EMPTY : FAN_WRITTEN;
	return ret;
}

static int fan_thread_begin(struct fan *fan, struct rs_writer *writer, unsigned number,
			    uint64_t references)
{
	struct fan_thread *mine = &fan->threads[number];
	char name[16];
	uint32_t at;
	int ret = 0;

	mine->empty = (uint32_t)(references / EMPTY_IN + 1);
	mine->count = mine->empty + (uint32_t)references;
	mine->places = alloc_zeroed(mine->count, sizeof(*mine->places));
	mine->order = alloc_array(mine->count, sizeof(*mine->order));
	if (!mine->places || !mine->order)
		return -ENOMEM;
	snprintf(name, sizeof(name), "fan-%u", number);
	for (at = 0; at < SUBVOLUMES && !ret; at++)
		ret = rs_file_find(writer, fan->work->volumes[SOURCE + 1 + at].subvol, name, true,
				   &mine->inodes[at]);
	for (at = 0; at < mine->count && !ret; at++) {
		mine->order[at] = at;
		if (at >= mine->empty)
			ret = fan_clone(fan, writer, mine, at);
	}
	return ret ? ret : rs_forest_commit(writer);
}

/* The extent counts once in each subvolume, however many references it has there. */
static void fan_bytes_count(struct fan *fan)
{
	struct work_volume *volumes = &fan->work->volumes[SOURCE + 1];
	bool cloned[SUBVOLUMES] = { false };
	unsigned at;
	uint32_t place;

	for (at = 0; at < SUBVOLUMES; at++)
		volumes[at].data_bytes = 0;
	for (at = 0; at < fan->thread_count; at++) {
		const struct fan_thread *theirs = &fan->threads[at];

		for (place = 0; place < theirs->count; place++) {
			unsigned to = place % SUBVOLUMES;

			if (theirs->places[place] == FAN_WRITTEN ||
			    (theirs->places[place] == FAN_CLONED && !cloned[to]))
				volumes[to].data_bytes += WORK_BLOCK;
			cloned[to] |= theirs->places[place] == FAN_CLONED;
		}
	}
}

static int fan_prepare(struct workload *workload, struct rs_writer *writer)
{
	unsigned threads = workload->options.threads;
	uint64_t references = work_blocks(workload) / threads;
	struct fan *fan = alloc_zeroed(1, sizeof(*fan));
	unsigned at;
	int ret;

	workload->data = fan;
	if (!fan)
		return -ENOMEM;
	if (references > PLACES_MAX)
		return -EINVAL;
	fan->threads = alloc_aligned(ORDER_LINE, threads, sizeof(*fan->threads));
	if (!fan->threads)
		return -ENOMEM;
	fan->thread_count = threads;
	ret = work_create(workload, writer, SOURCE + 1 + SUBVOLUMES, SOURCE + 1, &fan->work);
	if (!ret)
		ret = work_fill(fan->work, writer, &fan->work->volumes[SOURCE], 1);
	for (at = 0; at < threads && !ret; at++)
		ret = fan_thread_begin(fan, writer, at, references ? references : 1);
	if (ret)
		return ret;
	fan_bytes_count(fan);
	for (at = SOURCE + 1; at <= SOURCE + SUBVOLUMES; at++)
		fan->work->volumes[at].snapshot_bytes = fan->work->volumes[at].data_bytes;
	return work_snapshots_take(fan->work, writer, NULL);
}

/* A reference goes somewhere, and one comes where it has been gone for longest. */
static int fan_turn(struct workload_thread *thread, struct fan *fan, struct fan_thread *mine)
{
	uint32_t at = mine->empty +
		      (uint32_t)random_state_below(&thread->random, mine->count - mine->empty);
	bool punch = random_state_chance(&thread->random, 1, 2);
	uint32_t drop = mine->order[at];
	uint32_t clone = mine->order[mine->next];
	uint64_t begun = workload_begin(thread);
	int ret = fan_drop(fan, thread->writer, mine, drop, punch);

	if (ret)
		return ret;
	workload_done(thread, punch ? FAN_PUNCH : FAN_OVERWRITE, begun);
	begun = workload_begin(thread);
	ret = fan_clone(fan, thread->writer, mine, clone);
	if (ret)
		return ret;
	workload_done(thread, FAN_CLONE, begun);
	mine->order[at] = clone;
	mine->order[mine->next] = drop;
	mine->next = (mine->next + 1) % mine->empty;
	return 0;
}

static int fan_step(struct workload_thread *thread)
{
	struct fan *fan = thread->workload->data;
	unsigned at;
	int ret = 0;

	for (at = 0; at < STEP / 2 && !ret && work_goes_on(thread); at++)
		ret = fan_turn(thread, fan, &fan->threads[thread->index]);
	return ret ? ret : work_commit(thread, fan->work, STEP, FAN_COMMIT);
}

static int fan_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
{
	struct fan *fan = workload->data;

	fan_bytes_count(fan);
	return work_check(fan->work, writer, error);
}

static void fan_finish(struct workload *workload)
{
	struct fan *fan = workload->data;
	unsigned at;

	if (!fan)
		return;
	for (at = 0; at < fan->thread_count; at++) {
		alloc_free(fan->threads[at].places);
		alloc_free(fan->threads[at].order);
	}
	alloc_free(fan->threads);
	work_destroy(fan->work);
	alloc_free(fan);
	workload->data = NULL;
}

const struct rs_workload workload_clone_fan = {
	.name = "clone-fan",
	.summary = "one 4 KiB extent, cloned all over files of 8 subvolumes and dropped again",
	.parameters = "threads    each with a file of its own in each of the subvolumes\n"
		      "snapshots  taken beforehand, shared out to the 8 subvolumes\n"
		      "blocks     references that the extent has, of all threads together; 16384\n",
	.operations = { "clone", "punch", "overwrite", "commit" },
	.blocks = 16384,
	.prepare = fan_prepare,
	.step = fan_step,
	.check = fan_check,
	.finish = fan_finish,
};
