/* SPDX-License-Identifier: MIT */
/*
 * The whole way of a delta: recorded in operations of 8 by several threads, merged, cut every
 * 4 Mi deltas, and run by a runner that only counts. One round is a whole run of a fixed number of
 * deltas, fewer for the slow paths; bounds and cuts are the same for all three.
 *
 * Reported are deltas a second of wall time, CPU time a delta of all threads of the process, with
 * the making of the keys (path/loop) in it, and the memory that the run needed more than there was.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/keys.h"
#include "bench/shim.h"
#include "core/base/clock.h"
#include "core/base/order.h"
#include "refstorm/record.h"

#define OPERATION 8U
#define CHUNK 65536U
#define CUT_EVERY (UINT64_C(1) << 22)
#define SMALL (UINT64_C(1) << 16)
#define LARGE (UINT64_C(1) << 24)
#define MEBI (UINT64_C(1) << 20)

struct variant {
	const char *path_name;
	enum rs_record_path path;
	enum rs_record_queue queue;
	bool loop; /* keys only */
	uint64_t deltas;
};

struct whole {
	const struct variant *variant;
	enum keys_kind keys;
	uint64_t extents;
};

/* One run at a time. */
static struct {
	struct rs_record *record; /* NULL: none, or it could not be made */
	order_u64 next;           /* deltas handed out to threads */
	order_u64 sum;            /* of the counts recorded */
	order_u64 failed;         /* calls */
	int64_t run_sum;          /* of the counts run; by one thread at a time */
	uint64_t wall_ns;
	uint64_t cpu_ns;
	uint64_t memory;
	struct rs_record_statistics statistics;
} run;

/* Of all threads of the benchmark. */
static pthread_barrier_t barrier;

static uint64_t process_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* A line of /proc/self/status, in bytes; 0 where there is none. */
static uint64_t status_bytes(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[128];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtoull(line + strlen(name), NULL, 10);
	(void)!fclose(file);
	return kib * 1024;
}

int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes)
	__attribute__((weak));

/* Gives back what earlier runs left with the allocator, and lets the highest mark begin anew. */
static void memory_begin(void)
{
	FILE *file;

	if (mallctl)
		/* All arenas. */
		(void)!mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
	else
		malloc_trim(0);
	run.memory = status_bytes("VmRSS:");
	file = fopen("/proc/self/clear_refs", "we");
	if (!file)
		return;
	fputs("5", file);
	(void)!fclose(file);
}

static uint64_t memory_more(void)
{
	uint64_t most = status_bytes("VmHWM:");

	return most > run.memory ? most - run.memory : 0;
}

static int count_head(void *argument, const struct rs_head *head)
{
	size_t at;

	(void)argument;
	for (at = 0; at < head->root_count; at++)
		run.run_sum += head->roots[at].count;
	return 0;
}

static int cut_and_run(void)
{
	uint64_t cut = rs_cut_take(run.record);
	int result = rs_cut_wait(run.record, cut, UINT64_MAX, NULL);

	return result ? result : rs_record_run(run.record, cut, count_head, NULL, NULL);
}

static int record_operation(struct rs_producer *producer, const struct rs_delta *deltas)
{
	int result = rs_operation_begin(producer);
	unsigned at;

	if (result)
		return result;
	for (at = 0; at < OPERATION; at++)
		result |= rs_operation_record(producer, &deltas[at]);
	rs_operation_end(producer);
	return result;
}

static void loop_operation(const struct rs_delta *deltas)
{
	__asm__ __volatile__("" : : "r"(deltas) : "memory");
}

/* A chunk of deltas; the sum of their counts is added to `sum`. */
static int record_chunk(struct keys *keys, struct rs_producer *producer, int64_t *sum)
{
	struct rs_delta deltas[OPERATION];
	unsigned done;
	unsigned at;
	int result = 0;

	for (done = 0; done < CHUNK; done += OPERATION) {
		keys_fill(keys, deltas, OPERATION);
		for (at = 0; at < OPERATION; at++)
			*sum += deltas[at].count;
		if (producer)
			result |= record_operation(producer, deltas);
		else
			loop_operation(deltas);
	}
	return result;
}

/* Chunks as long as there are any; whoever has done the last one before a cut is due takes it. */
static void record_all(const struct whole *whole, struct keys *keys, struct rs_producer *producer)
{
	int64_t sum = 0;
	int result = 0;
	uint64_t at;

	/* Relaxed, here and below: sums; the barrier orders them. */
	while ((at = order_fetch_add_relaxed(&run.next, CHUNK)) < whole->variant->deltas) {
		result |= record_chunk(keys, producer, &sum);
		if (producer && (at + CHUNK) % CUT_EVERY == 0)
			result |= cut_and_run();
	}
	order_fetch_add_relaxed(&run.sum, (uint64_t)sum);
	order_fetch_add_relaxed(&run.failed, result != 0);
}

/* By the first thread, when no other is at work. */
static void run_begin(const struct whole *whole)
{
	const struct rs_record_options options = {
		.path = whole->variant->path,
		.queue = whole->variant->queue,
		.run = count_head,
	};

	memset(&run, 0, sizeof(run));
	memory_begin();
	if (!whole->variant->loop && rs_record_create(&options, &run.record, NULL))
		abort();
	run.wall_ns = clock_now_ns();
	run.cpu_ns = process_cpu_ns();
}

/* By the first thread, when all have recorded all. */
static void run_finish(void)
{
	if (run.record) {
		order_fetch_add_relaxed(&run.failed, cut_and_run() != 0);
		rs_record_statistics_read(run.record, &run.statistics);
	}
	run.wall_ns = clock_now_ns() - run.wall_ns;
	run.cpu_ns = process_cpu_ns() - run.cpu_ns;
	run.memory = memory_more();
}

static void run_thread(const struct whole *whole, struct keys *keys, unsigned thread)
{
	struct rs_producer *producer = NULL;

	if (thread == 0)
		run_begin(whole);
	pthread_barrier_wait(&barrier);
	if (run.record && rs_producer_join(run.record, &producer))
		abort();
	record_all(whole, keys, producer);
	pthread_barrier_wait(&barrier);
	if (thread == 0)
		run_finish();
	if (producer)
		rs_producer_leave(producer);
	pthread_barrier_wait(&barrier);
	if (thread == 0)
		rs_record_destroy(run.record);
}

/* recorded = merged + run, and all that was recorded has come to the runner. */
static bool run_is_right(const struct whole *whole)
{
	const struct rs_record_statistics *statistics = &run.statistics;

	if (order_load_relaxed(&run.failed))
		return false;
	if (whole->variant->loop)
		return true;
	return statistics->recorded == whole->variant->deltas &&
	       statistics->recorded == statistics->merged + statistics->run &&
	       (uint64_t)run.run_sum == order_load_relaxed(&run.sum);
}

static void run_show(struct bench_state *state, uint64_t deltas)
{
	bench_figure(state, "cpu_ns_per_delta", (double)run.cpu_ns / (double)deltas);
	bench_figure(state, "deltas_per_s", (double)deltas * 1e9 / (double)run.wall_ns);
	bench_figure(state, "peak_mib", (double)run.memory / (double)MEBI);
	bench_figure(state, "run_part", (double)run.statistics.run / (double)deltas);
	bench_figure(state, "merges", (double)run.statistics.merges);
	bench_figure(state, "waits", (double)run.statistics.waits);
}

static void path(struct bench_state *state)
{
	const struct whole *whole = bench_argument(state);
	unsigned thread = (unsigned)bench_thread(state);
	unsigned threads = (unsigned)bench_threads(state);
	struct keys keys;

	/* The first one's makes what all share; the others come out of bench_running later. */
	if (thread == 0) {
		pthread_barrier_init(&barrier, NULL, threads);
		keys_init(&keys, whole->keys, whole->extents, thread, threads);
	}
	while (bench_running(state)) {
		keys_init(&keys, whole->keys, whole->extents, thread, threads);
		run_thread(whole, &keys, thread);
	}
	if (!run_is_right(whole))
		bench_fail(state, "what was recorded is not what was run");
	run_show(state, whole->variant->deltas);
}

static const struct variant loop = { "loop", RS_RECORD_PERCPU, RS_QUEUE_BEST, true, 256 * MEBI };
static const struct variant percpu = { "percpu", RS_RECORD_PERCPU, RS_QUEUE_RSEQ, false,
				       64 * MEBI };
static const struct variant portable = { "portable", RS_RECORD_PERCPU, RS_QUEUE_PORTABLE, false,
					 64 * MEBI };
static const struct variant hashed = { "hashed", RS_RECORD_HASHED, RS_QUEUE_BEST, false,
				       32 * MEBI };
static const struct variant locked = { "locked", RS_RECORD_LOCKED, RS_QUEUE_BEST, false,
				       16 * MEBI };

static const struct whole wholes[] = {
	{ &percpu, KEYS_UNIFORM, SMALL },    { &portable, KEYS_UNIFORM, SMALL },
	{ &hashed, KEYS_UNIFORM, SMALL },    { &locked, KEYS_UNIFORM, SMALL },
	{ &percpu, KEYS_UNIFORM, LARGE },    { &portable, KEYS_UNIFORM, LARGE },
	{ &hashed, KEYS_UNIFORM, LARGE },    { &locked, KEYS_UNIFORM, LARGE },
	{ &percpu, KEYS_ZIPF, SMALL },       { &hashed, KEYS_ZIPF, SMALL },
	{ &locked, KEYS_ZIPF, SMALL },       { &percpu, KEYS_HOT, SMALL },
	{ &hashed, KEYS_HOT, SMALL },        { &locked, KEYS_HOT, SMALL },
	{ &percpu, KEYS_SEQUENTIAL, SMALL }, { &hashed, KEYS_SEQUENTIAL, SMALL },
	{ &locked, KEYS_SEQUENTIAL, SMALL }, { &percpu, KEYS_DEFRAG, SMALL },
	{ &hashed, KEYS_DEFRAG, SMALL },     { &locked, KEYS_DEFRAG, SMALL },
	{ &loop, KEYS_UNIFORM, SMALL },      { &loop, KEYS_ZIPF, SMALL },
	{ &loop, KEYS_HOT, SMALL },          { &loop, KEYS_SEQUENTIAL, SMALL },
	{ &loop, KEYS_DEFRAG, SMALL },
};

static void register_whole(const struct whole *whole, int threads)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "path/%s/%s/%s", whole->variant->path_name,
		       keys_name(whole->keys), whole->extents == SMALL ? "64Ki" : "16Mi");
	bench_register_with(name, path, whole, threads);
}

void bench_register_path(void)
{
	size_t at;

	for (at = 0; at < sizeof(wholes) / sizeof(wholes[0]); at++) {
		register_whole(&wholes[at], 2);
		if (wholes[at].keys != KEYS_UNIFORM || wholes[at].variant->loop)
			continue;
		register_whole(&wholes[at], 1);
		register_whole(&wholes[at], 4);
		register_whole(&wholes[at], 8);
	}
}
