/* SPDX-License-Identifier: MIT */
/*
 * What quotas cost the live forest.
 *
 *   rounds  so many rounds of 200 overwrites of 4 KiB in 200 files and a snapshot, which commits; without quotas
 *           and with, on forests in turn, so that both meet the same memory; medians
 *   rescan  of a subvolume of so many extents with some snapshots, nobody else there
 *   beside  20 rescans of as many extents, while 4 threads write, one of which takes snapshots and deletes
 *           them again: how fast they write before and beside it, and what the rescans found wrong
 *
 * Each forest is checked behind what is measured: the groups against a recount, and the forest as other
 * benchmarks do. Rates are of wall time; CPU time is that of all threads.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/forest_work.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/rcu.h"
#include "refstorm/quota.h"

#define ROUND_FILES 200U
#define FILE_BLOCKS UINT64_C(200) /* 800 KiB */

enum quota_kind {
	QUOTA_OFF,
	QUOTA_LEDGER,
	QUOTA_EXTENT
};

#define TURNS_MAX 25U

struct rounds {
	const char *name;
	unsigned rounds;
	enum quota_kind kind;
	unsigned turns;
	unsigned warm_up; /* the first so many do not count: a virtual machine gets its memory in them */
};

/* Of one forest. */
struct rounds_cost {
	double seconds;
	double cpu_seconds;
	double user_seconds;
};

struct rescan {
	const char *name;
	uint64_t blocks;
	unsigned snapshots;
	uint64_t between; /* overwrites before each */
	bool counted;     /* by the oracle, who reads each root's whole tree */
};

static void quotas_on(enum quota_kind kind)
{
	if (kind == QUOTA_OFF)
		return;
	forest_work_failed_if(rs_quota_enable(forest_work.writer, kind == QUOTA_LEDGER ?
									  RS_QUOTA_LEDGER :
									  RS_QUOTA_EXTENT));
	forest_work_failed_if(rs_rescan_wait(forest_work.forest));
}

static void rounds_fill(struct forest_work_file *files)
{
	char name[16];
	uint64_t block;
	unsigned at;

	forest_work_fill(&files[0], "source", FILE_BLOCKS);
	for (at = 1; at < ROUND_FILES; at++) {
		files[at] = files[0];
		snprintf(name, sizeof(name), "f%u", at);
		forest_work_failed_if(rs_file_find(forest_work.writer, files[0].subvol, name, true,
						   &files[at].inode));
		for (block = 0; block < FILE_BLOCKS; block++)
			forest_work_write(forest_work.writer, &files[at], block);
	}
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
}

static struct rounds_cost rounds_run(struct bench_state *state, unsigned rounds,
				     enum quota_kind kind, bool checked)
{
	struct forest_work_file files[ROUND_FILES];
	struct forest_work_moment begin;
	struct forest_work_moment end;
	struct random_state random;
	struct rs_subvol *snapshot;
	char name[16];
	unsigned round;
	unsigned at;

	forest_work_begin();
	rounds_fill(files);
	quotas_on(kind);
	random_state_seed(&random, FOREST_WORK_SEED, 0);
	rcu_defer_barrier();
	forest_work_moment_take(&begin);
	for (round = 0; round < rounds; round++) {
		for (at = 0; at < ROUND_FILES; at++)
			forest_work_write(forest_work.writer, &files[at],
					  random_state_below(&random, FILE_BLOCKS));
		snprintf(name, sizeof(name), "s%u", round);
		forest_work_failed_if(rs_subvol_snapshot(forest_work.writer, files[0].subvol, name,
							 true, &snapshot));
	}
	forest_work_moment_take(&end);
	if (kind != QUOTA_OFF && checked)
		forest_work_groups_check(state);
	forest_work_end();
	return (struct rounds_cost){
		.seconds = forest_work_seconds(&begin, &end),
		.cpu_seconds = (double)(end.cpu_ns - begin.cpu_ns) / 1e9,
		.user_seconds = (double)(end.user_ns - begin.user_ns) / 1e9,
	};
}

static int rounds_compare(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double rounds_median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), rounds_compare);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Medians of those that count; without quotas, and with. */
static void rounds_show(struct bench_state *state, struct rounds_cost costs[2][TURNS_MAX],
			unsigned count)
{
	static const char *const names[2][3] = {
		{ "seconds_off", "cpu_seconds_off", "user_seconds_off" },
		{ "seconds", "cpu_seconds", "user_seconds" },
	};
	double values[3][TURNS_MAX];
	unsigned figure;
	unsigned on;
	unsigned at;

	for (on = 0; on < 2; on++) {
		for (at = 0; at < count; at++) {
			values[0][at] = costs[on][at].seconds;
			values[1][at] = costs[on][at].cpu_seconds;
			values[2][at] = costs[on][at].user_seconds;
		}
		for (figure = 0; figure < 3; figure++)
			bench_figure(state, names[on][figure],
				     rounds_median(values[figure], count));
	}
}

static void rounds_turns(struct bench_state *state, const struct rounds *rounds)
{
	struct rounds_cost costs[2][TURNS_MAX];
	unsigned count = 0;
	unsigned turn;
	unsigned half;

	for (turn = 0; turn < rounds->turns; turn++) {
		for (half = 0; half < 2; half++) {
			/* Which goes first alternates. */
			unsigned on = (turn + half) % 2;

			costs[on][count] = rounds_run(state, rounds->rounds,
						      on ? rounds->kind : QUOTA_OFF,
						      turn + 1 == rounds->turns);
		}
		count += turn >= rounds->warm_up;
	}
	rounds_show(state, costs, count);
}

static void rounds(struct bench_state *state)
{
	while (bench_running(state))
		rounds_turns(state, bench_argument(state));
	if (order_load_relaxed(&forest_work.failed))
		bench_fail(state, "calls failed that should not have");
}

static void rescan_round(struct bench_state *state, const struct rescan *rescan)
{
	struct forest_work_file file;
	struct forest_work_moment begin;
	struct forest_work_moment end;
	struct random_state random;
	struct rs_subvol *snapshot;
	struct rs_quota_status status;
	char name[16];
	uint64_t left;
	unsigned at;

	forest_work_begin();
	forest_work_fill(&file, "source", rescan->blocks);
	random_state_seed(&random, FOREST_WORK_SEED, 0);
	for (at = 0; at < rescan->snapshots; at++) {
		for (left = rescan->between; left; left--)
			forest_work_write(forest_work.writer, &file,
					  random_state_below(&random, rescan->blocks));
		snprintf(name, sizeof(name), "s%u", at);
		forest_work_failed_if(
			rs_subvol_snapshot(forest_work.writer, file.subvol, name, true, &snapshot));
	}
	rcu_defer_barrier();
	forest_work_moment_take(&begin);
	quotas_on(QUOTA_LEDGER);
	forest_work_moment_take(&end);
	rs_quota_status_read(forest_work.forest, &status);
	if (rescan->counted)
		forest_work_groups_check(state);
	bench_figure(state, "seconds", forest_work_seconds(&begin, &end));
	bench_figure(state, "extents", (double)end.statistics.extents);
	bench_figure(state, "cpu_ns_per_extent",
		     (double)(end.cpu_ns - begin.cpu_ns) / (double)end.statistics.extents);
	bench_figure(state, "sets", (double)status.sets);
	bench_figure(state, "bytes_per_extent",
		     (double)status.set_bytes / (double)end.statistics.extents);
	forest_work_end();
}

static void rescan(struct bench_state *state)
{
	while (bench_running(state))
		rescan_round(state, bench_argument(state));
	if (order_load_relaxed(&forest_work.failed))
		bench_fail(state, "calls failed that should not have");
}

#define BESIDE_WRITERS 4U
#define BESIDE_RESCANS 20U
#define BESIDE_BLOCKS UINT64_C(250000) /* of each writer */
#define BESIDE_CHUNK 50U
#define BESIDE_COMMIT_EVERY UINT64_C(50000)
#define BESIDE_SNAPSHOT_EVERY UINT64_C(200000)
#define BESIDE_BEFORE_NS 3000000000

static struct {
	order_u64 done; /* overwrites of all writers; also says who commits */
	order_u32 end;
	struct {
		pthread_t thread;
		unsigned number;
		struct forest_work_file file;
	} writers[BESIDE_WRITERS];
} beside_work;

static void beside_snapshot(struct rs_writer *writer, struct rs_subvol *source, uint64_t number,
			    struct rs_subvol **kept)
{
	struct rs_subvol *snapshot;
	char name[32];

	snprintf(name, sizeof(name), "b%llu", (unsigned long long)number);
	forest_work_failed_if(rs_subvol_snapshot(writer, source, name, true, &snapshot));
	if (*kept)
		forest_work_failed_if(rs_subvol_delete(writer, *kept));
	*kept = snapshot;
}

static void *beside_writer(void *argument)
{
	const unsigned *number = argument;
	const struct forest_work_file *file = &beside_work.writers[*number].file;
	struct rs_subvol *kept = NULL;
	struct random_state random;
	struct rs_writer *writer;
	uint64_t mine = 0;
	unsigned at;

	if (rs_writer_join(forest_work.forest, &writer))
		abort();
	random_state_seed(&random, FOREST_WORK_SEED, *number);
	/* Relaxed, all of them: numbers only; the thread is joined. */
	while (!order_load_relaxed(&beside_work.end)) {
		for (at = 0; at < BESIDE_CHUNK; at++)
			forest_work_write(writer, file, random_state_below(&random, file->blocks));
		mine += BESIDE_CHUNK;
		if (*number == 0 && mine % BESIDE_SNAPSHOT_EVERY == 0)
			beside_snapshot(writer, file->subvol, mine, &kept);
		if ((order_fetch_add_relaxed(&beside_work.done, BESIDE_CHUNK) + BESIDE_CHUNK) %
			    BESIDE_COMMIT_EVERY ==
		    0)
			forest_work_failed_if(rs_forest_commit(writer));
	}
	rs_writer_leave(writer);
	return NULL;
}

static double beside_rate(uint64_t done, uint64_t ns)
{
	return (double)(order_load_relaxed(&beside_work.done) - done) * 1e9 / (double)ns;
}

/* How fast they write without a rescan, then beside so many. */
static void beside_measure(struct bench_state *state)
{
	struct timespec pause = { .tv_sec = BESIDE_BEFORE_NS / 1000000000 };
	uint64_t done = order_load_relaxed(&beside_work.done);
	uint64_t begin = clock_now_ns();
	struct rs_quota_status status;
	unsigned at;

	nanosleep(&pause, NULL);
	bench_figure(state, "rate_before", beside_rate(done, clock_now_ns() - begin));
	done = order_load_relaxed(&beside_work.done);
	begin = clock_now_ns();
	for (at = 0; at < BESIDE_RESCANS; at++) {
		forest_work_failed_if(rs_rescan_start(forest_work.forest));
		forest_work_failed_if(rs_rescan_wait(forest_work.forest));
	}
	bench_figure(state, "rate_beside", beside_rate(done, clock_now_ns() - begin));
	bench_figure(state, "rescan_seconds",
		     (double)(clock_now_ns() - begin) / 1e9 / BESIDE_RESCANS);
	rs_quota_status_read(forest_work.forest, &status);
	bench_figure(state, "differences", (double)status.differences);
	if (status.differences || status.inconsistent)
		bench_fail(state, "a rescan found other numbers");
}

static void beside_round(struct bench_state *state)
{
	char name[16];
	unsigned at;

	memset(&beside_work, 0, sizeof(beside_work));
	forest_work_begin();
	for (at = 0; at < BESIDE_WRITERS; at++) {
		snprintf(name, sizeof(name), "v%u", at);
		forest_work_fill(&beside_work.writers[at].file, name, BESIDE_BLOCKS);
		beside_work.writers[at].number = at;
	}
	quotas_on(QUOTA_LEDGER);
	for (at = 0; at < BESIDE_WRITERS; at++)
		if (pthread_create(&beside_work.writers[at].thread, NULL, beside_writer,
				   &beside_work.writers[at].number))
			abort();
	beside_measure(state);
	order_store_relaxed(&beside_work.end, 1);
	for (at = 0; at < BESIDE_WRITERS; at++)
		pthread_join(beside_work.writers[at].thread, NULL);
	forest_work_failed_if(rs_forest_drop_wait(forest_work.writer));
	forest_work_groups_check(state);
	forest_work_end();
}

static void beside(struct bench_state *state)
{
	while (bench_running(state))
		beside_round(state);
	if (order_load_relaxed(&forest_work.failed))
		bench_fail(state, "calls failed that should not have");
}

static const struct rounds all_rounds[] = {
	{ "60/ledger", 60, QUOTA_LEDGER, 25, 8 },
	{ "60/extent", 60, QUOTA_EXTENT, 1, 0 },
	{ "60/off", 60, QUOTA_OFF, 25, 8 }, /* how far what is the same is apart */
	{ "1000/ledger", 1000, QUOTA_LEDGER, 4, 1 },
};

static const struct rescan all_rescans[] = {
	{ "1000000/0", 1000000, 0, 0, true },
	{ "1000000/100", 1000000, 100, 1000, false },
	{ "100000/100", 100000, 100, 100, true },
};

void bench_register_quota(void)
{
	char name[64];
	size_t at;

	for (at = 0; at < sizeof(all_rounds) / sizeof(all_rounds[0]); at++) {
		snprintf(name, sizeof(name), "quota/rounds/%s", all_rounds[at].name);
		bench_register_with(name, rounds, &all_rounds[at], 1);
	}
	for (at = 0; at < sizeof(all_rescans) / sizeof(all_rescans[0]); at++) {
		snprintf(name, sizeof(name), "quota/rescan/%s", all_rescans[at].name);
		bench_register_with(name, rescan, &all_rescans[at], 1);
	}
	bench_register_with("quota/beside/1000000", beside, NULL, 1);
}
