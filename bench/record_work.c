/* SPDX-License-Identifier: MIT */
#include "bench/record_work.h"

#include <string.h>

#include "core/base/percpu.h"
#include "core/delayed/record_impl.h"

uint64_t work_sum(const struct rs_delta *deltas, uint64_t count)
{
	uint64_t sum = 0;
	uint64_t at;

	for (at = 0; at < count; at++)
		sum += deltas[at].bytenr;
	return sum;
}

void work_forget(struct work *work)
{
	work->appended = 0;
	work->sum = 0;
	work->switches = 0;
	work->locked_in_switches = 0;
	work->stores_in_switches = 0;
	work->locked = 0;
	work->stores = 0;
}

void work_init(struct work *work, enum keys_kind kind, uint64_t extents, unsigned thread,
	       unsigned threads)
{
	memset(work, 0, sizeof(*work));
	keys_init(&work->keys, kind, extents, thread, threads);
	keys_fill(&work->keys, work->deltas, WORK_OPERATION);
	work->keyed = kind != KEYS_SEQUENTIAL;
	work->next_sum = work_sum(work->deltas, WORK_OPERATION);
}

static inline void work_next(struct work *work)
{
	unsigned at;

	if (work->keyed) {
		keys_fill(&work->keys, work->deltas, WORK_OPERATION);
		return;
	}
	/* All of an operation at once: an append that reads what was just written waits for the store. */
	for (at = 0; at < WORK_OPERATION; at++)
		work->deltas[at].bytenr += (uint64_t)WORK_OPERATION * RS_DELTA_UNIT;
	work->next_sum += (uint64_t)WORK_OPERATION * WORK_OPERATION * RS_DELTA_UNIT;
	work->sum += work->next_sum;
}

/* In place of the library: a call, and what the compiler must assume of it. */
static __attribute__((noinline)) int loop_record(struct rs_producer *producer,
						 const struct rs_delta *delta)
{
	__asm__ __volatile__("" : : "r"(producer), "r"(delta) : "memory");
	return 0;
}

void work_loop(struct work *work, uint64_t operations)
{
	uint64_t operation;
	unsigned at;

	for (operation = 0; operation < operations; operation++) {
		work_next(work);
		work->failed |= (uint64_t)loop_record(NULL, NULL);
		for (at = 0; at < WORK_OPERATION; at++)
			work->failed |= (uint64_t)loop_record(work->producer, &work->deltas[at]);
		loop_record(NULL, NULL);
	}
	work->appended += operations * WORK_OPERATION;
}

#ifdef RS_COUNT
/* Where the next append of this thread goes: a segment, and how often that had been opened. */
struct place {
	struct segment *segment; /* NULL: there is none yet */
	uint64_t opened;
	bool full;
};

static struct place place_of(const struct rs_producer *producer)
{
	const struct cpu_queues *cpus = &producer->record->store->cpus;
	struct place place = { producer->queue.current, 0, true };

	/* Relaxed, all of it: of this CPU or this thread, and else it looks like a switch. */
	if (producer->path != PRODUCER_THREAD_QUEUE)
		place.segment = order_load_relaxed(&cpus->queues[percpu_current()].current);
	if (!place.segment)
		return place;
	place.opened = order_load_relaxed(&place.segment->claimed) >> 32;
	place.full = order_load_relaxed(&place.segment->count) >= SEGMENT_DELTAS;
	return place;
}

static int append(struct work *work, const struct rs_delta *delta)
{
	struct rs_producer *producer = work->producer;
	struct place before;
	struct place after;
	uint64_t locked = order_locked_count;
	uint64_t stores = order_shared_store_count;
	int result;

	if (producer->path == PRODUCER_STORE)
		return rs_operation_record(producer, delta);
	before = place_of(producer);
	result = rs_operation_record(producer, delta);
	after = place_of(producer);
	if (!before.full && after.segment == before.segment && after.opened == before.opened)
		return result;
	work->switches++;
	work->locked_in_switches += order_locked_count - locked;
	work->stores_in_switches += order_shared_store_count - stores;
	return result;
}

/* Ends of a stretch whose locked instructions and stores are counted. */
static void count_from(struct work *work)
{
	work->locked -= order_locked_count;
	work->stores -= order_shared_store_count;
}

static void count_to(struct work *work)
{
	work->locked += order_locked_count;
	work->stores += order_shared_store_count;
}

static double count_each(uint64_t sum, uint64_t of)
{
	return of ? (double)sum / (double)of : 0;
}

void work_show_counts(struct bench_state *state, const struct work *work)
{
	uint64_t locked = work->locked - work->locked_in_switches;
	uint64_t stores = work->stores - work->stores_in_switches;

	bench_figure(state, "locked_per_delta", count_each(locked, work->appended));
	bench_figure(state, "shared_per_delta", count_each(stores, work->appended));
	bench_figure(state, "locked_per_switch",
		     count_each(work->locked_in_switches, work->switches));
	bench_figure(state, "shared_per_switch",
		     count_each(work->stores_in_switches, work->switches));
	if (work->producer->path != PRODUCER_STORE && (locked || stores))
		bench_fail(state, "appends write shared lines outside of switches");
}
#else
static inline int append(struct work *work, const struct rs_delta *delta)
{
	return rs_operation_record(work->producer, delta);
}

static void count_from(struct work *work)
{
	(void)work;
}

static void count_to(struct work *work)
{
	(void)work;
}

void work_show_counts(struct bench_state *state, const struct work *work)
{
	(void)state;
	(void)work;
}
#endif

void work_append(struct work *work, uint64_t operations)
{
	struct rs_producer *producer = work->producer;
	uint64_t operation;
	unsigned at;

	count_from(work);
	for (operation = 0; operation < operations; operation++) {
		work_next(work);
		work->failed |= rs_operation_begin(producer) != 0;
		for (at = 0; at < WORK_OPERATION; at++)
			work->failed |= append(work, &work->deltas[at]) != 0;
		rs_operation_end(producer);
	}
	count_to(work);
	work->appended += operations * WORK_OPERATION;
}
