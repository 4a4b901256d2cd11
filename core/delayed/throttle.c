/* SPDX-License-Identifier: MIT */
/*
 * Bounds of what is pending. Past the soft bound whoever needs a new segment merges what is
 * queued. Past the hard bound operations wait before they begin: who gets the run lock takes a
 * cut and runs heads, the others sleep until a run has ended.
 *
 * A waiter reads `relief` before it looks at the throttle, and sleeps only if it has not moved since;
 * whoever has made room turns the throttle off, moves it, and wakes. It sleeps for a bounded time,
 * since time also makes room: views become too old, cuts close.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/tally.h"
#include "core/delayed/record_impl.h"

/* Batches in the heads before they are folded. */
#define THROTTLE_INSTALLS 8U
/* How long a waiter sleeps before it tries to run heads again, and how long it waits for its cut. */
#define THROTTLE_SLEEP_NS 10000000L
#define THROTTLE_CUT_NS UINT64_C(2000000)

/* Whether many batches came in since heads were folded. */
static bool throttle_is_split(const struct rs_record *record)
{
	/* Relaxed: a hint. */
	return order_load_relaxed(&record->store->heads.installs) >= THROTTLE_INSTALLS;
}

void throttle_fold_locked(struct rs_record *record)
{
	struct sequence_groups groups;

	if (!throttle_is_split(record))
		return;
	sequence_groups(&record->sequence, &groups);
	/* Without memory the runs stay as many as they are. */
	(void)!heads_fold(&record->store->heads, &groups);
}

void throttle_fold(struct rs_record *record)
{
	if (!throttle_is_split(record) || !lock_try(&record->run_lock))
		return;
	throttle_fold_locked(record);
	lock_release(&record->run_lock);
}

static bool throttle_is_over(const struct rs_record *record, uint64_t pending)
{
	const struct rs_record_options *options = &record->options;

	return pending > options->hard_deltas ||
	       pending > options->hard_bytes / sizeof(struct rs_delta);
}

static bool throttle_is_full(const struct rs_record *record)
{
	return throttle_is_over(record, record->functions->pending(record->store));
}

/*
 * The same, exactly. Above, a segment that is being filled counts as full, and stays when all of
 * it has been run: with many queues and a low bound nobody would ever be let go on.
 */
static bool throttle_is_full_exactly(const struct rs_record *record)
{
	struct store_statistics statistics;
	uint64_t gone;

	memset(&statistics, 0, sizeof(statistics));
	record->functions->statistics(record->store, &statistics);
	if (statistics.taking)
		return true;
	gone = statistics.merged + statistics.run;
	return statistics.recorded > gone && throttle_is_over(record, statistics.recorded - gone);
}

void throttle_check_store(struct rs_record *record)
{
	if (!throttle_is_on(record) && throttle_is_full(record))
		/* Relaxed: says nothing but itself. */
		order_store_relaxed(&record->throttled, 1);
}

void throttle_check(struct rs_record *record)
{
	const struct rs_record_options *options = &record->options;
	struct store *store = record->store;
	uint64_t waiting = queued_waiting(store);
	/* The segments being filled count as full, but are not. */
	uint64_t room = queued_room(store);

	waiting = waiting > room ? waiting - room : 0;
	if (waiting > options->soft_deltas ||
	    waiting > options->soft_bytes / sizeof(struct rs_delta)) {
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&record->helped, 1);
		/* Without memory it is left to the next one. */
		if (!queued_merge(store))
			throttle_fold(record);
	}
	throttle_check_store(record);
}

static void throttle_futex_wait(order_u32 *word, uint32_t value)
{
	const struct timespec timeout = { .tv_nsec = THROTTLE_SLEEP_NS };

	/* Woken, timed out, or the word has moved: the caller looks. */
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &timeout, NULL, 0);
}

void throttle_relieve(struct rs_record *record)
{
	if (plant_armed("throttle.no-wake") || !throttle_is_on(record))
		return;
	/* With nothing gained nobody is woken: they would all try the same, again and again. */
	if (throttle_is_full(record) && throttle_is_full_exactly(record))
		return;
	/* Relaxed: published by what follows. */
	order_store_relaxed(&record->throttled, 0);

	/* THROTTLE.relief: that there is room. */
	order_fetch_add_release(&record->relief, 1);
	window_pass("throttle.relieved");
	syscall(SYS_futex, &record->relief, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void throttle_end_views(struct rs_record *record)
{
	uint64_t now = clock_now_ns();
	uint64_t age = record->options.view_age_ns_max;

	if (now > age)
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&record->views_ended,
					view_end_older(&record->sequence.views, now - age));
}

/* Takes a cut, and runs what can be run; the record has a runner. By the holder of the run lock. */
static int throttle_run(struct rs_record *record)
{
	struct rs_run_result result = { 0 };
	uint64_t cut = rs_cut_take(record);

	throttle_end_views(record);
	/* If it does not close in time, what is closed is run. */
	(void)!rs_cut_wait(record, cut, THROTTLE_CUT_NS, NULL);
	return record_run_locked(record, cut, record->options.run, record->options.argument,
				 &result);
}

/* The same, if nobody else has the run lock. A thread that is cancelled meanwhile would keep it. */
static int throttle_try_run(struct rs_record *record)
{
	int result = 0;
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (lock_try(&record->run_lock)) {
		result = throttle_run(record);
		lock_release(&record->run_lock);
	}
	pthread_setcancelstate(cancel, NULL);
	return result;
}

static void throttle_waited(struct rs_record *record, uint64_t ns)
{
	/* Relaxed, all of it: a sum, and a maximum. */
	uint64_t most = order_load_relaxed(&record->wait_ns_max);

	order_fetch_add_relaxed(&record->waits, 1);
	while (ns > most && !order_cas_weak_relaxed(&record->wait_ns_max, &most, ns))
		tally_retry(TALLY_THROTTLE_LONGEST);
}

int throttle_wait(struct rs_record *record)
{
	uint64_t begin = clock_now_ns();
	int result = 0;

	rcu_thread_adopt();
	/* Ends: when heads are run; by this thread where the record has a runner, else by another. */
	while (!result && throttle_is_on(record)) {
		uint32_t relief;

		window_pass("throttle.full");
		if (record->options.run)
			result = throttle_try_run(record);
		/* THROTTLE.relief: if it is what came after the last room, the throttle is seen on. */
		relief = order_load_acquire(&record->relief);
		if (result || !throttle_is_on(record))
			continue;
		/* Turned on by the number that counts segments as full, or room was made by merging. */
		if (!throttle_is_full_exactly(record))
			throttle_relieve(record);
		else
			throttle_futex_wait(&record->relief, relief);
	}
	throttle_waited(record, clock_now_ns() - begin);
	return result;
}

static uint64_t throttle_age(struct rs_record *record)
{
	struct store_statistics statistics;
	uint64_t now;

	memset(&statistics, 0, sizeof(statistics));
	record->functions->statistics(record->store, &statistics);
	now = clock_now_ns();
	return statistics.oldest_time && statistics.oldest_time < now ?
		       now - statistics.oldest_time :
		       0;
}

int rs_record_tend(struct rs_record *record)
{
	rcu_thread_adopt();
	throttle_end_views(record);
	if (throttle_age(record) <= record->options.age_ns_max || !record->options.run)
		return 0;
	return throttle_try_run(record);
}

void rs_record_statistics_read(struct rs_record *record, struct rs_record_statistics *statistics)
{
	struct store_statistics store;
	uint64_t floor;

	rcu_thread_adopt();
	memset(&store, 0, sizeof(store));
	memset(statistics, 0, sizeof(*statistics));
	record->functions->statistics(record->store, &store);
	statistics->path = record->name;
	statistics->recorded = store.recorded;
	statistics->merged = store.merged;
	statistics->run = store.run;
	/* At rest it adds up; else the sums are of different moments. */
	if (store.recorded > store.merged + store.run)
		statistics->pending_deltas = store.recorded - store.merged - store.run;
	statistics->pending_bytes = store.pending_bytes;
	statistics->oldest_ns = throttle_age(record);
	statistics->merges = store.merges;
	/* Relaxed, all of them: sums. */
	statistics->helped = order_load_relaxed(&record->helped);
	statistics->waits = order_load_relaxed(&record->waits);
	statistics->wait_ns_max = order_load_relaxed(&record->wait_ns_max);
	statistics->cuts = sequence_current(&record->sequence) - 1;
	statistics->views = view_list(&record->sequence.views, NULL, 0, &floor);
	statistics->views_ended = order_load_relaxed(&record->views_ended);
	statistics->abandoned = order_load_relaxed(&record->abandoned);
}
