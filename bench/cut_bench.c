/* SPDX-License-Identifier: MIT */
/* What operations, views, cuts, look-ups and the taking of queues cost. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/keys.h"
#include "bench/shim.h"
#include "core/base/array.h"
#include "core/base/clock.h"
#include "core/delayed/record_impl.h"

#define SMALL (UINT64_C(1) << 16)
#define LARGE (UINT64_C(1) << 24)
#define NO_BOUND (UINT64_C(1) << 40)
#define BURST 256U
#define OTHERS_MAX 8U
#define TIMES_MAX 4096U
#define LOOKUPS 4096U
#define ENTRIES 64U

/* One of `every`, from the whole time. */
struct times {
	uint64_t ns[TIMES_MAX];
	unsigned count;
	uint64_t every;
	uint64_t seen;
};

static void times_add(struct times *times, uint64_t ns)
{
	unsigned at;

	if (times->seen++ % times->every)
		return;
	times->ns[times->count++] = ns;
	if (times->count < TIMES_MAX)
		return;
	/* Every other one of them stays. */
	for (at = 0; at < TIMES_MAX / 2; at++)
		times->ns[at] = times->ns[2 * at];
	times->count = TIMES_MAX / 2;
	times->every *= 2;
}

static int times_compare(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return (first > second) - (first < second);
}

static void times_show(struct bench_state *state, struct times *times)
{
	unsigned count = times->count;

	if (!count)
		return;
	qsort(times->ns, count, sizeof(times->ns[0]), times_compare);
	bench_figure(state, "median_us", (double)times->ns[count / 2] / 1e3);
	bench_figure(state, "p99_us", (double)times->ns[count * 99 / 100] / 1e3);
}

/* Producers help to merge past `soft_deltas`, and never wait. */
static struct rs_record *record_make(enum rs_record_path path, uint64_t soft_deltas)
{
	const struct rs_record_options options = {
		.path = path,
		.soft_deltas = soft_deltas,
		.hard_deltas = UINT64_C(1) << 41,
		.hard_bytes = UINT64_C(1) << 47,
	};
	struct rs_record *record;

	if (rs_record_create(&options, &record, NULL))
		abort();
	return record;
}

static void operation_empty(struct bench_state *state)
{
	struct rs_record *record = record_make(RS_RECORD_PERCPU, NO_BOUND);
	struct rs_producer *producer;
	uint64_t done = 0;
	unsigned at;
	int failed = rs_producer_join(record, &producer);

	while (!failed && bench_running(state)) {
		for (at = 0; at < BURST; at++) {
			failed |= rs_operation_begin(producer);
			rs_operation_end(producer);
		}
		done += BURST;
	}
	if (failed)
		bench_fail(state, "an operation cannot begin");
	else
		rs_producer_leave(producer);
	bench_done(state, "operation", done);
	rs_record_destroy(record);
}

static void view_acquire(struct bench_state *state)
{
	struct rs_record *record = record_make(RS_RECORD_PERCPU, NO_BOUND);
	struct rs_view *view;
	uint64_t done = 0;
	uint64_t cut = 0;
	bool right = true;
	unsigned at;

	while (bench_running(state)) {
		for (at = 0; at < BURST; at++) {
			right = right && !rs_view_acquire(record, &view) && rs_view_cut(view) > cut;
			cut = right ? rs_view_cut(view) : cut;
			right = right && !rs_view_release(record, view);
		}
		done += BURST;
	}
	if (!right)
		bench_fail(state, "a view is not what was acquired");
	bench_done(state, "view", done);
	rs_record_destroy(record);
}

/* Threads that are at work while another is measured. */
struct others {
	struct rs_record *record;
	order_u32 stop;
	unsigned count;
	bool appending; /* else their operations are empty, and short */
	pthread_t threads[OTHERS_MAX];
	order_u64 appended;
};

static uint64_t others_operation(struct rs_producer *producer, struct keys *keys, bool appending)
{
	struct rs_delta deltas[BURST];
	unsigned at;

	if (appending)
		keys_fill(keys, deltas, BURST);
	if (rs_operation_begin(producer))
		abort();
	for (at = 0; appending && at < BURST; at++)
		if (rs_operation_record(producer, &deltas[at]))
			abort();
	rs_operation_end(producer);
	return appending ? BURST : 0;
}

static void *others_work(void *argument)
{
	struct others *others = argument;
	struct rs_producer *producer;
	struct keys keys;
	uint64_t appended = 0;

	keys_init(&keys, KEYS_UNIFORM, SMALL, 0, 1);
	if (rs_producer_join(others->record, &producer))
		abort();
	/* Relaxed, both: a flag that says nothing else, and a sum. */
	while (!order_load_relaxed(&others->stop))
		appended += others_operation(producer, &keys, others->appending);
	order_fetch_add_relaxed(&others->appended, appended);
	rs_producer_leave(producer);
	return NULL;
}

static void others_begin(struct others *others, struct rs_record *record, unsigned count,
			 bool appending)
{
	memset(others, 0, sizeof(*others));
	others->record = record;
	others->appending = appending;
	for (; others->count < count; others->count++)
		if (pthread_create(&others->threads[others->count], NULL, others_work, others))
			abort();
}

static void others_end(struct others *others)
{
	/* Relaxed: says nothing but itself. */
	order_store_relaxed(&others->stop, 1);
	while (others->count)
		pthread_join(others->threads[--others->count], NULL);
}

/* Time for others, which is not measured. */
static void step_aside(struct bench_state *state, long ns)
{
	const struct timespec pause = { .tv_nsec = ns };

	bench_pause(state);
	nanosleep(&pause, NULL);
	bench_resume(state);
}

/* The argument says how many others there are. */
static void cut_close(struct bench_state *state)
{
	const unsigned *count = bench_argument(state);
	struct rs_record *record = record_make(RS_RECORD_PERCPU, NO_BOUND);
	static struct times times;
	struct others others;
	uint64_t done = 0;
	bool right = true;

	times = (struct times){ .every = 1 };
	others_begin(&others, record, *count, false);
	while (bench_running(state)) {
		uint64_t begin;
		uint64_t cut;

		step_aside(state, 100000);
		begin = clock_now_ns();
		cut = rs_cut_take(record);
		right &= !rs_cut_wait(record, cut, UINT64_MAX, NULL);
		times_add(&times, clock_now_ns() - begin);
		done++;
	}
	others_end(&others);
	if (!right || sequence_closed(&record->sequence) < done)
		bench_fail(state, "a cut was not closed");
	bench_done(state, "cut", done);
	times_show(state, &times);
	rs_record_destroy(record);
}

static uint64_t discard_taken(struct taken *taken)
{
	uint64_t deltas = taken->deltas;

	taken_release(taken);
	return deltas;
}

/* The argument says how many producers there are; the queues are taken up to 2,000 times a second. */
static void take_all(struct bench_state *state)
{
	const unsigned *count = bench_argument(state);
	struct rs_record *record = record_make(RS_RECORD_PERCPU, NO_BOUND);
	struct cpu_queues *queues = &record->store->cpus;
	static struct times times;
	struct others others;
	struct taken taken;
	uint64_t deltas = 0;
	uint64_t done = 0;

	taken_init(&taken);
	times = (struct times){ .every = 1 };
	others_begin(&others, record, *count, true);
	while (bench_running(state)) {
		uint64_t begin;

		step_aside(state, 500000);
		begin = clock_now_ns();
		cpu_queue_take(queues, &taken);
		times_add(&times, clock_now_ns() - begin);
		bench_pause(state);
		deltas += discard_taken(&taken);
		bench_resume(state);
		done++;
	}
	others_end(&others);
	cpu_queue_take(queues, &taken);
	deltas += discard_taken(&taken);
	/* Relaxed: the threads have ended. */
	if (deltas != order_load_relaxed(&others.appended))
		bench_fail(state, "what was taken is not what was appended");
	bench_done(state, "take", done);
	times_show(state, &times);
	taken_destroy(&taken);
	rs_record_destroy(record);
}

/* Kept from one call to the next, which is of the same variant with more rounds. */
static struct {
	const struct lookup_variant *variant;
	struct rs_record *record;
	int64_t sum; /* of the counts of the extents that are looked up, each as often as it is */
	uint64_t bytenr[LOOKUPS];
} pending;

struct lookup_variant {
	enum rs_record_path path;
	uint64_t extents;
};

static void pending_record(struct rs_record *record, uint64_t extents)
{
	struct rs_delta deltas[BURST];
	struct rs_producer *producer;
	struct keys keys;
	uint64_t done;
	unsigned at;
	int failed = rs_producer_join(record, &producer);

	keys_init(&keys, KEYS_UNIFORM, extents, 0, 1);
	for (done = 0; !failed && done < extents; done += BURST) {
		keys_fill(&keys, deltas, BURST);
		failed |= rs_operation_begin(producer);
		for (at = 0; !failed && at < BURST; at++) {
			/* Their sum says how many there are. */
			deltas[at].count = 1;
			failed |= rs_operation_record(producer, &deltas[at]);
		}
		rs_operation_end(producer);
	}
	if (failed || rs_record_merge(record))
		abort();
	rs_producer_leave(producer);
}

static void pending_make(const struct lookup_variant *variant)
{
	struct keys keys;
	struct rs_delta delta;
	unsigned at;

	if (pending.variant == variant)
		return;
	rs_record_destroy(pending.record);
	pending.variant = variant;
	pending.record = record_make(variant->path, 0);
	pending_record(pending.record, variant->extents);
	/* Some of those that are pending, by the same stream; in its order they would be in the caches. */
	keys_init(&keys, KEYS_UNIFORM, variant->extents, 1, 2);
	for (at = 0; at < LOOKUPS; at++) {
		keys_fill(&keys, &delta, 1);
		pending.bytenr[at] = delta.bytenr;
	}
}

/* All look-ups once: how many references they find. Over all extents they would find all. */
static int64_t look_up_all(bool *failed)
{
	struct rs_delta entries[ENTRIES];
	struct rs_head_pending found;
	int64_t sum = 0;
	unsigned at;

	for (at = 0; at < LOOKUPS; at++) {
		*failed |= rs_head_lookup(pending.record, pending.bytenr[at], UINT64_MAX, &found,
					  entries, ENTRIES) != 0;
		sum += found.items;
	}
	return sum;
}

static void lookup(struct bench_state *state)
{
	const struct lookup_variant *variant = bench_argument(state);
	bool failed = false;
	uint64_t done = 0;
	int64_t sum;

	pending_make(variant);
	sum = look_up_all(&failed);
	while (bench_running(state)) {
		failed |= look_up_all(&failed) != sum;
		done += LOOKUPS;
	}
	/* Each extent has one on average. */
	if (failed || sum < LOOKUPS / 2 || sum > LOOKUPS * 2)
		bench_fail(state, "what is pending is not found");
	bench_done(state, "lookup", done);
}

void bench_register_cut(void)
{
	static const unsigned counts[] = { 0, 1, 2, 7 };
	static const struct lookup_variant lookups[] = {
		{ RS_RECORD_PERCPU, SMALL },
		{ RS_RECORD_PERCPU, LARGE },
		{ RS_RECORD_LOCKED, SMALL },
		{ RS_RECORD_LOCKED, LARGE },
	};

	bench_register("operation/empty", operation_empty, 1);
	bench_register("view/acquire", view_acquire, 1);
	bench_register_with("cut/close/others:0", cut_close, &counts[0], 1);
	bench_register_with("cut/close/others:1", cut_close, &counts[1], 1);
	bench_register_with("cut/close/others:7", cut_close, &counts[3], 1);
	bench_register_with("take/all/producers:1", take_all, &counts[1], 1);
	bench_register_with("take/all/producers:2", take_all, &counts[2], 1);
	bench_register_with("lookup/percpu/64Ki", lookup, &lookups[0], 1);
	bench_register_with("lookup/percpu/16Mi", lookup, &lookups[1], 1);
	bench_register_with("lookup/locked/64Ki", lookup, &lookups[2], 1);
	bench_register_with("lookup/locked/16Mi", lookup, &lookups[3], 1);
}
