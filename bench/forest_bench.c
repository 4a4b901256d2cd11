/* SPDX-License-Identifier: MIT */
/*
 * The live forest as its users see it, all work of it included: that of the threads which take
 * deleted trees apart and free memory too. One round is a whole run of a fixed size, on a forest of
 * its own, whose extents are 4 KiB each; behind what is measured it is counted again by the oracle.
 *
 *   overwrite  random blocks of filled subvolumes, by several writers, each in subvolumes of its
 *              own or all in any; a commit each 50,000 operations
 *   drop       a large subvolume, all shared with a snapshot, is taken apart while others write
 *
 * Times and rates are of wall time; CPU time is that of all threads of the process.
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

/* Operations that a writer takes at once; divides what a commit is due after. */
#define CHUNK UINT64_C(50)
#define SUBVOLS 16U

/* Of all threads of the benchmark. */
static pthread_barrier_t barrier;

/* Overwrites by all threads of the benchmark. */

struct overwrite {
	const char *size_name;
	uint64_t blocks;     /* of each subvolume */
	uint64_t operations; /* of all writers */
	bool any;            /* each writer in any subvolume; else in its own */
};

static struct {
	struct forest_work_file file[SUBVOLS];
	order_u64 next; /* operations handed out */
	struct forest_work_moment begin;
	struct forest_work_moment end;
} overwriting;

static void overwrite_begin(const struct overwrite *overwrite)
{
	char name[16];
	unsigned at;

	forest_work_begin();
	for (at = 0; at < SUBVOLS; at++) {
		snprintf(name, sizeof(name), "v%u", at);
		forest_work_fill(&overwriting.file[at], name, overwrite->blocks);
	}
	rcu_defer_barrier();
	order_store_relaxed(&overwriting.next, 0);
	forest_work_moment_take(&overwriting.begin);
}

/* Chunks as long as there are any; whoever has done the last one before a commit is due commits. */
static void overwrite_all(const struct overwrite *overwrite, unsigned thread, unsigned threads)
{
	unsigned step = overwrite->any ? 1 : threads;
	unsigned first = overwrite->any ? 0 : thread;
	struct random_state random;
	struct rs_writer *writer;
	uint64_t chunk;
	uint64_t at;

	if (rs_writer_join(forest_work.forest, &writer))
		abort();
	random_state_seed(&random, FOREST_WORK_SEED, thread);
	/* Relaxed: numbers only; the barrier orders what the writers do. */
	while ((chunk = order_fetch_add_relaxed(&overwriting.next, CHUNK)) <
	       overwrite->operations) {
		for (at = 0; at < CHUNK; at++) {
			uint64_t turn = random_state_below(&random, SUBVOLS / step);
			const struct forest_work_file *file =
				&overwriting.file[first + turn * step];

			forest_work_write(writer, file, random_state_below(&random, file->blocks));
		}
		if ((chunk + CHUNK) % FOREST_WORK_COMMIT_EVERY == 0)
			forest_work_failed_if(rs_forest_commit(writer));
	}
	rs_writer_leave(writer);
}

/* The last commit, and all that it left for later. */
static void overwrite_finish(void)
{
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
	rcu_defer_barrier();
	forest_work_moment_take(&overwriting.end);
}

static void overwrite_round(struct bench_state *state)
{
	const struct overwrite *overwrite = bench_argument(state);
	unsigned thread = (unsigned)bench_thread(state);

	if (thread == 0)
		overwrite_begin(overwrite);
	pthread_barrier_wait(&barrier);
	overwrite_all(overwrite, thread, (unsigned)bench_threads(state));
	pthread_barrier_wait(&barrier);
	if (thread == 0) {
		overwrite_finish();
		forest_work_check(state, SUBVOLS * overwrite->blocks);
		forest_work_end();
	}
	pthread_barrier_wait(&barrier);
}

/* By each thread, since figures are averaged over them. */
static void overwrite_show(struct bench_state *state, uint64_t operations)
{
	const struct forest_work_moment *begin = &overwriting.begin;
	const struct forest_work_moment *end = &overwriting.end;
	const struct rs_forest_statistics *old = &begin->statistics;
	const struct rs_forest_statistics *new = &end->statistics;
	double count = (double)operations;

	bench_figure(state, "operations_per_s", count / forest_work_seconds(begin, end));
	bench_figure(state, "cpu_ns_per_operation", (double)(end->cpu_ns - begin->cpu_ns) / count);
	bench_figure(state, "operations", count);
	bench_figure(state, "heads", (double)(new->heads - old->heads));
	bench_figure(state, "commits", (double)(new->commits - old->commits));
	bench_figure(state, "blocks_copied", (double)(new->blocks_copied - old->blocks_copied));
	bench_figure(state, "references", (double)forest_work.references);
}

static void overwrite(struct bench_state *state)
{
	const struct overwrite *overwrite = bench_argument(state);

	if (bench_thread(state) == 0)
		pthread_barrier_init(&barrier, NULL, (unsigned)bench_threads(state));
	while (bench_running(state))
		overwrite_round(state);
	overwrite_show(state, overwrite->operations);
}

/* A tree is taken apart beside writers. */

#define DROP_WRITERS 4U
#define DROP_WARM_NS UINT64_C(1000000000)
#define DROP_WAIT_NS (UINT64_C(120) * 1000000000)
#define DROP_POLL_NS 500000

struct drop {
	const char *size_name;
	uint64_t blocks;        /* of the subvolume that is taken apart */
	uint64_t writer_blocks; /* of each writer's own one */
	uint64_t before_ns;     /* how long the writers write alone */
};

static struct {
	order_u64 done; /* operations of all writers; also says who commits */
	order_u32 end;
	struct {
		pthread_t thread;
		unsigned number;
		struct forest_work_file file;
	} writers[DROP_WRITERS];
} dropping;

/* Until it is told to end. */
static void *drop_writer(void *argument)
{
	const unsigned *number = argument;
	const struct forest_work_file *file = &dropping.writers[*number].file;
	struct random_state random;
	struct rs_writer *writer;
	uint64_t at;

	if (rs_writer_join(forest_work.forest, &writer))
		abort();
	random_state_seed(&random, FOREST_WORK_SEED, *number);
	/* Relaxed, both: numbers only; the thread is joined. */
	while (!order_load_relaxed(&dropping.end)) {
		for (at = 0; at < CHUNK; at++)
			forest_work_write(writer, file, random_state_below(&random, file->blocks));
		if ((order_fetch_add_relaxed(&dropping.done, CHUNK) + CHUNK) %
			    FOREST_WORK_COMMIT_EVERY ==
		    0)
			forest_work_failed_if(rs_forest_commit(writer));
	}
	rs_writer_leave(writer);
	return NULL;
}

static void wait_ns(uint64_t ns)
{
	const struct timespec pause = { .tv_sec = (time_t)(ns / UINT64_C(1000000000)),
					.tv_nsec = (long)(ns % UINT64_C(1000000000)) };

	nanosleep(&pause, NULL);
}

/* True when nothing is left of what was deleted. */
static bool drop_wait(void)
{
	uint64_t until = clock_now_ns() + DROP_WAIT_NS;
	struct rs_forest_statistics statistics;

	do {
		wait_ns(DROP_POLL_NS);
		rs_forest_statistics_read(forest_work.forest, &statistics);
	} while (statistics.dropping && clock_now_ns() < until &&
		 !rs_forest_aborted(forest_work.forest, NULL));
	return !statistics.dropping;
}

static void drop_fill(const struct drop *drop, struct forest_work_file *victim)
{
	struct rs_subvol *snapshot;
	char name[16];
	unsigned at;

	forest_work_fill(victim, "victim", drop->blocks);
	forest_work_failed_if(rs_subvol_snapshot(forest_work.writer, victim->subvol, "snapshot",
						 true, &snapshot));
	for (at = 0; at < DROP_WRITERS; at++) {
		snprintf(name, sizeof(name), "v%u", at);
		forest_work_fill(&dropping.writers[at].file, name, drop->writer_blocks);
		dropping.writers[at].number = at;
	}
	rcu_defer_barrier();
}

static double drop_rate(uint64_t operations, const struct forest_work_moment *begin,
			const struct forest_work_moment *end)
{
	return (double)operations / forest_work_seconds(begin, end);
}

/* The rate of the writers alone; then from the deleting to the commit of the last that it frees. */
static void drop_measure(struct bench_state *state, const struct drop *drop,
			 const struct forest_work_file *victim)
{
	struct forest_work_moment moments[4];
	uint64_t done[4];
	unsigned at;

	wait_ns(DROP_WARM_NS);
	for (at = 0; at < 4; at++) {
		if (at == 1)
			wait_ns(drop->before_ns);
		if (at == 2)
			forest_work_failed_if(rs_subvol_delete(forest_work.writer, victim->subvol));
		if (at == 2 && !drop_wait())
			bench_fail(state, "the subvolume is not taken apart in time");
		if (at == 3)
			forest_work_failed_if(rs_forest_commit(forest_work.writer));
		/* Relaxed: a count, of this moment or of a little later. */
		done[at] = order_load_relaxed(&dropping.done);
		forest_work_moment_take(&moments[at]);
	}
	bench_figure(state, "drop_seconds", forest_work_seconds(&moments[1], &moments[2]));
	bench_figure(state, "committed_seconds", forest_work_seconds(&moments[1], &moments[3]));
	bench_figure(state, "rate_before", drop_rate(done[1] - done[0], &moments[0], &moments[1]));
	bench_figure(state, "rate_beside", drop_rate(done[3] - done[1], &moments[1], &moments[3]));
	bench_figure(state, "heads_beside",
		     (double)(moments[3].statistics.heads - moments[1].statistics.heads));
	bench_figure(state, "commits_beside",
		     (double)(moments[3].statistics.commits - moments[1].statistics.commits));
}

static void drop_round(struct bench_state *state, const struct drop *drop)
{
	struct forest_work_file victim;
	unsigned at;

	memset(&dropping, 0, sizeof(dropping));
	forest_work_begin();
	drop_fill(drop, &victim);
	for (at = 0; at < DROP_WRITERS; at++)
		if (pthread_create(&dropping.writers[at].thread, NULL, drop_writer,
				   &dropping.writers[at].number))
			abort();
	drop_measure(state, drop, &victim);
	order_store_relaxed(&dropping.end, 1);
	for (at = 0; at < DROP_WRITERS; at++)
		pthread_join(dropping.writers[at].thread, NULL);
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
	/* The snapshot has all that the victim had. */
	forest_work_check(state, drop->blocks + DROP_WRITERS * drop->writer_blocks);
	forest_work_end();
}

static void drop(struct bench_state *state)
{
	while (bench_running(state))
		drop_round(state, bench_argument(state));
}

static const struct overwrite overwrites[] = {
	{ "4GiB", 65536, 1000000, false },
	{ "4GiB", 65536, 1000000, true },
	{ "256MiB", 4096, 200000, false },
	{ "256MiB", 4096, 200000, true },
};

static const struct drop drops[] = {
	{ "1000000", 1000000, 65536, UINT64_C(4000000000) },
	{ "100000", 100000, 4096, UINT64_C(1000000000) },
};

static void register_overwrites(void)
{
	char name[64];
	size_t at;
	int threads;

	for (at = 0; at < sizeof(overwrites) / sizeof(overwrites[0]); at++) {
		snprintf(name, sizeof(name), "forest/overwrite/%s/%s",
			 overwrites[at].any ? "any" : "own", overwrites[at].size_name);
		for (threads = 1; threads <= 8; threads *= 2)
			bench_register_with(name, overwrite, &overwrites[at], threads);
	}
}

void bench_register_forest(void)
{
	char name[64];
	size_t at;

	register_overwrites();
	for (at = 0; at < sizeof(drops) / sizeof(drops[0]); at++) {
		snprintf(name, sizeof(name), "forest/drop/%s", drops[at].size_name);
		bench_register_with(name, drop, &drops[at], 1);
	}
}
