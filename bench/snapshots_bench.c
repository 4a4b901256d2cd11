/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of one subvolume of the live forest, with a few overwrites between two: what the first and
 * what the last of them cost. A snapshot ends with a commit:
 *
 *   pending    which has the overwrites' work in it
 *   committed  the overwrites have had a commit of their own; that one is counted to them
 *   warm       pending, a second time in the same process: where the allocator keeps what the first one
 *              freed (jemalloc: MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1), the system clears no
 *              pages, which is half of the work of later snapshots and none of the first ones'
 *   scattered  pending, but all blocks were overwritten in random order before: the extents of a leaf do
 *              not lie side by side from the first snapshot on, as they do not after some thousand
 *
 * Each time is told as wall time and as CPU time of the thread that snapshots, which does all of the work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/forest_work.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/rcu.h"

struct snapshots {
	const char *name;
	uint64_t blocks;
	unsigned count;
	unsigned compared; /* the first and the last so many */
	unsigned between;  /* overwrites before each */
	bool committed;
	bool scattered;
	bool warm;
};

/* Of one kind of work, before each snapshot or for it. */
struct snapshots_times {
	uint64_t *wall_ns;
	uint64_t *cpu_ns;
};

struct snapshots_run {
	const struct snapshots *snapshots;
	struct forest_work_file file;
	uint64_t *plan; /* blocks that are overwritten */
	struct snapshots_times overwrites;
	struct snapshots_times taking;
};

struct snapshots_clock {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

static struct snapshots_clock clock_read(void)
{
	return (struct snapshots_clock){
		.wall_ns = clock_now_ns(),
		.cpu_ns = clock_thread_cpu_ns(),
	};
}

static void times_set(struct snapshots_times *times, unsigned at, struct snapshots_clock begin,
		      struct snapshots_clock end)
{
	times->wall_ns[at] = end.wall_ns - begin.wall_ns;
	times->cpu_ns[at] = end.cpu_ns - begin.cpu_ns;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return (first > second) - (first < second);
}

/* Mean and median, in microseconds; sorts. */
static void show_part(struct bench_state *state, const char *what, const char *part, uint64_t *ns,
		      unsigned count)
{
	uint64_t sum = 0;
	char name[64];
	unsigned at;

	for (at = 0; at < count; at++)
		sum += ns[at];
	snprintf(name, sizeof(name), "%s_us_mean_%s", what, part);
	bench_figure(state, name, (double)sum / count / 1e3);
	qsort(ns, count, sizeof(*ns), compare_u64);
	snprintf(name, sizeof(name), "%s_us_median_%s", what, part);
	bench_figure(state, name, (double)ns[count / 2] / 1e3);
}

static void show_times(struct bench_state *state, const struct snapshots *snapshots,
		       const char *what, uint64_t *ns)
{
	unsigned last = snapshots->count - snapshots->compared;

	show_part(state, what, "first", ns, snapshots->compared);
	show_part(state, what, "last", ns + last, snapshots->compared);
}

/* The blocks that are overwritten before each snapshot; returns the extents of data at the end. */
static uint64_t plan_make(const struct snapshots *snapshots, uint64_t *plan)
{
	/* Of each block, the last one; from 1. */
	unsigned *round = alloc_zeroed(snapshots->blocks, sizeof(*round));
	uint64_t extents = snapshots->blocks;
	struct random_state random;
	unsigned at;

	if (!round)
		abort();
	random_state_seed(&random, FOREST_WORK_SEED, 0);
	for (at = 0; at < snapshots->count * snapshots->between; at++) {
		unsigned now = at / snapshots->between + 1;

		plan[at] = random_state_below(&random, snapshots->blocks);
		/* Before the first snapshot, or twice before one, the old extent is nobody's. */
		extents += now > 1 && round[plan[at]] != now;
		round[plan[at]] = now;
	}
	alloc_free(round);
	return extents;
}

/* Every block gets a new place, in random order. */
static void scatter(const struct forest_work_file *file)
{
	uint32_t *order = alloc_array(file->blocks, sizeof(*order));
	struct random_state random;
	uint64_t at;

	if (!order)
		abort();
	random_state_seed(&random, FOREST_WORK_SEED, 1);
	for (at = 0; at < file->blocks; at++) {
		uint64_t other = random_state_below(&random, at + 1);

		order[at] = order[other];
		order[other] = (uint32_t)at;
	}
	for (at = 0; at < file->blocks; at++)
		forest_work_write(forest_work.writer, file, order[at]);
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
	alloc_free(order);
}

static void take_all(struct snapshots_run *run)
{
	const struct snapshots *snapshots = run->snapshots;
	const uint64_t *block = run->plan;
	struct snapshots_clock begin;
	struct snapshots_clock written;
	struct rs_subvol *snapshot;
	char name[16];
	unsigned at;
	unsigned left;

	for (at = 0; at < snapshots->count; at++) {
		snprintf(name, sizeof(name), "s%u", at);
		begin = clock_read();
		for (left = snapshots->between; left; left--)
			forest_work_write(forest_work.writer, &run->file, *block++);
		if (snapshots->committed)
			forest_work_failed_if(rs_forest_commit(forest_work.writer));
		written = clock_read();
		forest_work_failed_if(rs_subvol_snapshot(forest_work.writer, run->file.subvol, name,
							 true, &snapshot));
		times_set(&run->taking, at, written, clock_read());
		times_set(&run->overwrites, at, begin, written);
	}
}

static void run_round(struct bench_state *state, struct snapshots_run *run)
{
	uint64_t data_extents = plan_make(run->snapshots, run->plan);
	struct forest_work_moment begin;
	struct forest_work_moment end;

	forest_work_begin();
	forest_work_fill(&run->file, "source", run->snapshots->blocks);
	if (run->snapshots->scattered)
		scatter(&run->file);
	rcu_defer_barrier();
	forest_work_moment_take(&begin);
	take_all(run);
	forest_work_moment_take(&end);
	bench_figure(state, "seconds", forest_work_seconds(&begin, &end));
	bench_figure(state, "cpu_seconds", (double)(end.cpu_ns - begin.cpu_ns) / 1e9);
	bench_figure(state, "heads", (double)(end.statistics.heads - begin.statistics.heads));
	forest_work_check(state, data_extents);
	bench_figure(state, "references", (double)forest_work.references);
	forest_work_end();
}

static uint64_t *numbers_make(uint64_t count)
{
	uint64_t *numbers = alloc_array(count, sizeof(*numbers));

	if (!numbers)
		abort();
	return numbers;
}

static void snapshots_run(struct bench_state *state)
{
	const struct snapshots *snapshots = bench_argument(state);
	struct snapshots_run run = {
		.snapshots = snapshots,
		.plan = numbers_make((uint64_t)snapshots->count * snapshots->between),
		.overwrites = { numbers_make(snapshots->count), numbers_make(snapshots->count) },
		.taking = { numbers_make(snapshots->count), numbers_make(snapshots->count) },
	};

	while (bench_running(state)) {
		if (snapshots->warm)
			run_round(state, &run);
		run_round(state, &run);
	}
	show_times(state, snapshots, "overwrites", run.overwrites.wall_ns);
	show_times(state, snapshots, "overwrites_cpu", run.overwrites.cpu_ns);
	show_times(state, snapshots, "snapshot", run.taking.wall_ns);
	show_times(state, snapshots, "snapshot_cpu", run.taking.cpu_ns);
	alloc_free(run.taking.cpu_ns);
	alloc_free(run.taking.wall_ns);
	alloc_free(run.overwrites.cpu_ns);
	alloc_free(run.overwrites.wall_ns);
	alloc_free(run.plan);
}

static const struct snapshots sizes[] = {
	{ "pending/5000", 100000, 5000, 100, 20, false, false, false },
	{ "warm/5000", 100000, 5000, 100, 20, false, false, true },
	{ "committed/5000", 100000, 5000, 100, 20, true, false, false },
	{ "scattered/5000", 100000, 5000, 100, 20, false, true, false },
	{ "pending/500", 10000, 500, 50, 20, false, false, false },
	{ "warm/500", 10000, 500, 50, 20, false, false, true },
	{ "committed/500", 10000, 500, 50, 20, true, false, false },
	{ "scattered/500", 10000, 500, 50, 20, false, true, false },
};

void bench_register_snapshots(void)
{
	char name[64];
	size_t at;

	for (at = 0; at < sizeof(sizes) / sizeof(sizes[0]); at++) {
		snprintf(name, sizeof(name), "forest/snapshots/%s", sizes[at].name);
		bench_register_with(name, snapshots_run, &sizes[at], 1);
	}
}
