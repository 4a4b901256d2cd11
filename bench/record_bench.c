/* SPDX-License-Identifier: MIT */
/*
 * What recording a delta costs the thread that records it, in operations of 64 deltas, begin and
 * end included; merging and running are left out, but for the baselines, which do theirs at once.
 *
 * hot: the segments stay in the caches. cold: 1 GiB of them is gone through, touched before and in
 * the same order again. consumed: another thread takes the segments, reads them and gives them
 * back meanwhile. Threads are bound to CPUs in turn.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/record_work.h"
#include "core/delayed/record_impl.h"

#define HOT_SEGMENTS 40U /* for each CPU: 1.25 MiB */
#define COLD_SEGMENTS 32768U
#define CONSUMED_SEGMENTS 4096U
/* The consumer is given so many at once, and is waited for when so many are on their way. */
#define CONSUMED_BATCH 96U
#define CONSUMED_MAX 1024U
/* Operations between two looks at how far behind it is. */
#define CONSUMED_LOOK 32U

#define SMALL (UINT64_C(1) << 16)
#define LARGE (UINT64_C(1) << 24)

enum manner {
	LOOP,
	HOT,
	COLD,
	CONSUMED,
	STORE
};

struct variant {
	const char *name;
	enum rs_record_path path;
	enum rs_record_queue queue;
	enum manner manner;
	unsigned rounds;
	uint64_t extents; /* STORE: that keys are of, and deltas between two runs */
};

/* One run at a time; made by the first thread before the others enter their loop. */
static struct {
	struct rs_record *record; /* NULL: it could not be made */
	pthread_barrier_t barrier;
	unsigned cpus;
	cpu_set_t affinity;
	pthread_t consumer;
	order_u32 stop;
	uint64_t taken; /* deltas, by the first thread or the consumer */
	uint64_t store_taken;
	uint64_t taken_sum; /* of their addresses, where they were read */
	bool read;          /* recycling reads what it takes */
	bool consuming;
	/* Of all threads, at the end. */
	order_u64 appended;
	order_u64 appended_sum;
} run;

static void take_all(struct store *store, struct taken *taken)
{
	struct rs_producer *producer = producer_first(store->sequence);

	if (store->cpus.count)
		cpu_queue_take(&store->cpus, taken);
	for (; producer; producer = producer_next(producer))
		if (thread_queue_take(&producer->queue, &store->pool, taken))
			abort();
}

static void read_taken(const struct taken *taken)
{
	const struct segment *segment;
	size_t at;

	for (at = 0; at < taken->part_count; at++)
		run.taken_sum += work_sum(&taken->parts[at].segment->deltas[taken->parts[at].first],
					  taken->parts[at].count);
	for (segment = taken->whole; segment; segment = segment->next)
		/* Relaxed: final since it was taken. */
		run.taken_sum += work_sum(segment->deltas, order_load_relaxed(&segment->count));
	run.taken += taken->deltas;
}

/*
 * Nobody but the first thread looks at the queues, so that no grace period is needed: segments go
 * straight back, and those that were filled first are filled first again.
 */
static void recycle(void)
{
	struct store *store = run.record->store;
	struct segment *list = NULL;
	struct taken taken;
	size_t at;

	taken_init(&taken);
	take_all(store, &taken);
	if (run.read)
		read_taken(&taken);
	else
		run.taken += taken.deltas;
	while (taken.whole) {
		struct segment *next = taken.whole->next;

		taken.whole->next = list;
		list = taken.whole;
		taken.whole = next;
	}
	while (list) {
		struct segment *next = list->next;

		segment_discard(list);
		list = next;
	}
	for (at = taken.part_count; at-- > 0;)
		if (thread_queue_done(taken.parts[at].segment, taken.parts[at].count))
			segment_discard(taken.parts[at].segment);
	taken_destroy(&taken);
}

static int run_nothing(void *argument, const struct rs_head *head)
{
	(void)argument;
	(void)head;
	return 0;
}

/* Baselines: all that is pending is run. */
static void recycle_store(void)
{
	uint64_t cut = rs_cut_take(run.record);
	struct rs_record_statistics statistics;

	if (rs_cut_wait(run.record, cut, UINT64_MAX, NULL) ||
	    rs_record_run(run.record, cut, run_nothing, NULL, NULL))
		abort();
	rs_record_statistics_read(run.record, &statistics);
	run.taken += statistics.merged + statistics.run - run.store_taken;
	run.store_taken = statistics.merged + statistics.run;
}

static void bind_to(unsigned cpu)
{
	cpu_set_t one;
	unsigned at;

	for (at = 0; at < CPU_SETSIZE; at++)
		if (CPU_ISSET(at, &run.affinity) && !cpu--)
			break;
	CPU_ZERO(&one);
	CPU_SET(at, &one);
	/* Not bound it is slower, not wrong. */
	(void)!sched_setaffinity(0, sizeof(one), &one);
}

static void *consume(void *argument)
{
	struct store *store = argument;
	const struct timespec pause = { .tv_nsec = 50000 };
	struct taken taken;

	bind_to(run.cpus - 1);
	rcu_thread_enroll();
	taken_init(&taken);
	/* Relaxed: what it misses is taken by whoever stops it. */
	while (!order_load_relaxed(&run.stop)) {
		if (queued_waiting(store) < CONSUMED_BATCH * SEGMENT_DELTAS) {
			nanosleep(&pause, NULL);
			continue;
		}
		take_all(store, &taken);
		read_taken(&taken);
		taken_release(&taken);
	}
	taken_destroy(&taken);
	rcu_thread_leave();
	return NULL;
}

/* Appends, and waits, unmeasured, where the consumer is far behind. */
static void append_consumed(struct bench_state *state, struct work *work, uint64_t operations)
{
	const struct timespec pause = { .tv_nsec = 50000 };
	uint64_t at;

	for (at = 0; at < operations; at += CONSUMED_LOOK) {
		work_append(work, CONSUMED_LOOK);
		if (queued_waiting(run.record->store) <= CONSUMED_MAX * SEGMENT_DELTAS)
			continue;
		bench_pause(state);
		while (queued_waiting(run.record->store) > CONSUMED_MAX / 2 * SEGMENT_DELTAS)
			nanosleep(&pause, NULL);
		bench_resume(state);
	}
}

/* By the first thread, not bound yet: RCU's own thread is made here. */
static void run_begin(const struct variant *variant, unsigned threads)
{
	const struct rs_record_options options = {
		.path = variant->path,
		.queue = variant->queue,
		.soft_deltas = UINT64_C(1) << 40,
		.hard_deltas = UINT64_C(1) << 41,
		.soft_bytes = UINT64_C(1) << 46,
		.hard_bytes = UINT64_C(1) << 47,
	};

	memset(&run, 0, sizeof(run));
	sched_getaffinity(0, sizeof(run.affinity), &run.affinity);
	run.cpus = (unsigned)CPU_COUNT(&run.affinity);
	pthread_barrier_init(&run.barrier, NULL, threads);
	if (rs_record_create(&options, &run.record, NULL))
		run.record = NULL;
}

static uint64_t operations_of(const struct variant *variant, unsigned threads)
{
	uint64_t used = threads < run.cpus ? threads : run.cpus;

	switch (variant->manner) {
	case COLD:
		return (uint64_t)COLD_SEGMENTS * SEGMENT_DELTAS / WORK_OPERATION / threads;
	case CONSUMED:
		return UINT64_C(65536) / threads;
	case STORE:
		return variant->extents / WORK_OPERATION / threads;
	case LOOP:
	case HOT:
		break;
	}
	return HOT_SEGMENTS * SEGMENT_DELTAS / WORK_OPERATION * used / threads;
}

/* All threads have appended; the first makes room again. */
static void meet_and_recycle(unsigned thread, enum manner manner)
{
	pthread_barrier_wait(&run.barrier);
	if (thread == 0) {
		if (manner == STORE)
			recycle_store();
		else if (manner != LOOP)
			recycle();
	}
	pthread_barrier_wait(&run.barrier);
}

/* Joins, and goes through the memory of queues once. */
static void warm_up(struct work *work, const struct variant *variant, unsigned thread,
		    unsigned threads)
{
	enum manner manner = variant->manner;
	uint64_t operations = operations_of(variant, threads);

	bind_to(thread % run.cpus);
	if (rs_producer_join(run.record, &work->producer))
		abort();
	if (manner == LOOP)
		return;
	if (manner == CONSUMED)
		operations = CONSUMED_SEGMENTS * SEGMENT_DELTAS / WORK_OPERATION / threads;
	else if (manner == STORE)
		operations /= 16;
	work_append(work, operations);
	meet_and_recycle(thread, manner);
	work_forget(work);
	if (thread)
		return;
	run.taken = 0;
	run.taken_sum = 0;
	if (manner == CONSUMED)
		run.consuming = !pthread_create(&run.consumer, NULL, consume, run.record->store);
	run.read = run.consuming;
}

static void measure_round(struct bench_state *state, struct work *work,
			  const struct variant *variant, unsigned thread, unsigned threads)
{
	enum manner manner = variant->manner;
	uint64_t operations = operations_of(variant, threads);

	pthread_barrier_wait(&run.barrier);
	bench_resume(state);
	if (manner == LOOP)
		work_loop(work, operations);
	else if (manner == CONSUMED)
		append_consumed(state, work, operations);
	else
		work_append(work, operations);
	bench_pause(state);
	if (manner != CONSUMED)
		meet_and_recycle(thread, manner);
}

/* One more round, of which all deltas are read, unless the consumer does. */
static void check_round(struct work *work, enum manner manner, unsigned thread)
{
	if (manner == LOOP || manner == STORE || manner == CONSUMED)
		return;
	if (thread == 0) {
		run.read = true;
		run.taken_sum = 0;
	}
	work->sum = 0;
	work_append(work, 100);
	meet_and_recycle(thread, manner);
}

/* By the first thread, when all others have left. */
static bool run_end(enum manner manner)
{
	bool right;

	if (run.consuming) {
		/* Relaxed: says nothing but itself. */
		order_store_relaxed(&run.stop, 1);
		pthread_join(run.consumer, NULL);
		recycle();
	}
	/* Relaxed: the barrier has ordered it. */
	right = manner == LOOP || order_load_relaxed(&run.appended) == run.taken;
	if (run.read)
		right &= order_load_relaxed(&run.appended_sum) == run.taken_sum;
	rs_record_destroy(run.record);
	pthread_barrier_destroy(&run.barrier);
	return right;
}

static void run_leave(struct work *work)
{
	rs_producer_leave(work->producer);
	/* Relaxed, both: the barrier orders it. */
	order_fetch_add_relaxed(&run.appended, work->appended);
	order_fetch_add_relaxed(&run.appended_sum, work->sum);
	(void)!sched_setaffinity(0, sizeof(run.affinity), &run.affinity);
	pthread_barrier_wait(&run.barrier);
}

static void record(struct bench_state *state)
{
	const struct variant *variant = bench_argument(state);
	enum manner manner = variant->manner;
	unsigned thread = (unsigned)bench_thread(state);
	unsigned threads = (unsigned)bench_threads(state);
	struct work work;
	uint64_t measured;
	unsigned round;
	bool begun = false;

	if (thread == 0)
		run_begin(variant, threads);
	work_init(&work, manner == STORE ? KEYS_UNIFORM : KEYS_SEQUENTIAL,
		  manner == STORE ? variant->extents : LARGE, thread, threads);
	/* The others go on when the first one is here too. */
	while (bench_running(state)) {
		if (!run.record)
			continue;
		bench_pause(state);
		if (!begun)
			warm_up(&work, variant, thread, threads);
		begun = true;
		for (round = 0; round < variant->rounds; round++)
			measure_round(state, &work, variant, thread, threads);
		bench_resume(state);
	}
	if (!run.record) {
		bench_fail(state, "the record cannot be made");
		return;
	}
	measured = work.appended;
	if (manner != LOOP)
		work_show_counts(state, &work);
	check_round(&work, manner, thread);
	run_leave(&work);
	if (work.failed || (thread == 0 && !run_end(manner)))
		bench_fail(state, "what was appended is not what was taken");
	bench_done(state, "delta", measured);
}

#define PERCPU RS_RECORD_PERCPU, RS_QUEUE_RSEQ
#define PORTABLE RS_RECORD_PERCPU, RS_QUEUE_PORTABLE

/* Rounds last for half a second of CPU time and more. */
static const struct variant variants[] = {
	{ "record/loop", PORTABLE, LOOP, 10000, 0 },
	{ "record/percpu/hot", PERCPU, HOT, 5000, 0 },
	{ "record/portable/hot", PORTABLE, HOT, 5000, 0 },
	{ "record/percpu/cold", PERCPU, COLD, 6, 0 },
	{ "record/portable/cold", PORTABLE, COLD, 6, 0 },
	{ "record/percpu/consumed", PERCPU, CONSUMED, 32, 0 },
	{ "record/portable/consumed", PORTABLE, CONSUMED, 32, 0 },
	{ "record/locked", RS_RECORD_LOCKED, RS_QUEUE_BEST, STORE, 64, SMALL },
	{ "record/hashed", RS_RECORD_HASHED, RS_QUEUE_BEST, STORE, 192, SMALL },
};

/* What the baselines' inserts cost where the keys are more. */
static const struct variant merges[] = {
	{ "merge/locked/64Ki", RS_RECORD_LOCKED, RS_QUEUE_BEST, STORE, 64, SMALL },
	{ "merge/hashed/64Ki", RS_RECORD_HASHED, RS_QUEUE_BEST, STORE, 192, SMALL },
	{ "merge/locked/16Mi", RS_RECORD_LOCKED, RS_QUEUE_BEST, STORE, 1, LARGE },
	{ "merge/hashed/16Mi", RS_RECORD_HASHED, RS_QUEUE_BEST, STORE, 1, LARGE },
};

void bench_register_record(void)
{
	size_t at;
	int threads;

	for (at = 0; at < sizeof(variants) / sizeof(variants[0]); at++)
		for (threads = 1; threads <= 8; threads *= 2)
			bench_register_with(variants[at].name, record, &variants[at], threads);
	for (at = 0; at < sizeof(merges) / sizeof(merges[0]); at++)
		bench_register_with(merges[at].name, record, &merges[at], 1);
}
