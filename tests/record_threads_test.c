/* SPDX-License-Identifier: MIT */
/*
 * The record path under threads, with stalls: producers that move references between keys of one
 * extent, runners that fail at times, look-ups at views.
 *
 * All operations are whole at a cut that is closed, and an operation nets to nothing in each
 * extent, so that the references of each head do, and so does what stands at a view. At a view
 * what was run and what is pending are one sum, which does not change while the view is held.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "core/base/order.h"
#include "tests/support/delta_model.h"
#include "tests/support/record_case.h"
#include "tests/support/threads.h"

#define EXTENTS 16U
#define KEYS 4U
#define LOOKERS 2U
#define PRODUCERS_MAX 16U
#define OPERATIONS 6000U /* of all producers together */
#define WAIT_NS UINT64_C(20000000000)
#define TOP UINT64_C(0xfffffffffffff000)
#define NO_VIEW UINT64_MAX

/* What was run of an extent. */
struct tally {
	uint64_t version; /* heads */
	int64_t counts[KEYS];
};

/* Relaxed, all of them: sums, and read when the threads are joined. */
struct faults {
	order_u32 calls;      /* that failed and should not */
	order_u32 torn;       /* heads that do not net to nothing */
	order_u32 disorder;   /* heads out of order, or not well-formed */
	order_u32 past_view;  /* entries past a view that was held */
	order_u32 unbalanced; /* states at a view that do not net to nothing */
	order_u32 changed;    /* states at a view that were others before */
};

struct crowd {
	struct rs_record *record;
	unsigned producers;
	unsigned runners;
	uint64_t seed;
	order_u32 producing;     /* producers that are not done; relaxed: a hint to stop */
	order_u64 held[LOOKERS]; /* cuts of views: published after they are taken, withdrawn before */
	pthread_mutex_t lock;    /* protects the tallies */
	struct tally tallies[EXTENTS];
	order_u64 expected[EXTENTS][KEYS]; /* relaxed: a sum of all producers */
	order_u64 recorded;                /* relaxed: the same */
	order_u64 entries;                 /* relaxed: run */
	order_u32 compared;                /* relaxed: states at views */
	struct faults faults;
};

static struct crowd crowd;

static void wrong(order_u32 *fault, bool is)
{
	order_fetch_add_relaxed(fault, is);
}

static uint64_t extent_bytenr(uint64_t extent)
{
	return extent == EXTENTS - 1 ? TOP : extent << 19;
}

static uint64_t extent_of(uint64_t bytenr)
{
	return bytenr == TOP ? EXTENTS - 1 : bytenr >> 19;
}

static void rest(struct random_state *random)
{
	const struct timespec pause = { .tv_nsec = 20000 };

	if (random_state_chance(random, 1, 8))
		sched_yield();
	else if (random_state_chance(random, 1, 64))
		nanosleep(&pause, NULL);
}

static void move(struct rs_producer *producer, struct random_state *random)
{
	uint64_t extent = random_state_below(random, EXTENTS);
	uint64_t from = random_state_below(random, KEYS);
	uint64_t to = (from + 1 + random_state_below(random, KEYS - 1)) % KEYS;
	const struct rs_delta drop = record_ref(extent_bytenr(extent), from, -1);
	const struct rs_delta addition = record_ref(extent_bytenr(extent), to, 1);

	wrong(&crowd.faults.calls, rs_operation_record(producer, &drop) != 0);
	rest(random);
	wrong(&crowd.faults.calls, rs_operation_record(producer, &addition) != 0);
	order_fetch_sub_relaxed(&crowd.expected[extent][from], 1);
	order_fetch_add_relaxed(&crowd.expected[extent][to], 1);
	order_fetch_add_relaxed(&crowd.recorded, 2);
}

static void produce(struct random_state *random)
{
	struct rs_producer *producer;
	unsigned left;

	for (left = OPERATIONS / crowd.producers; left; left--) {
		uint64_t moves = 1 + random_state_below(random, 3);

		/* Leaves and joins again now and then: slots have several owners. */
		if (left % 256 == 0 || left == OPERATIONS / crowd.producers)
			wrong(&crowd.faults.calls, rs_producer_join(crowd.record, &producer) != 0);
		wrong(&crowd.faults.calls, rs_operation_begin(producer) != 0);
		while (moves--)
			move(producer, random);
		rs_operation_end(producer);
		if (left % 256 == 1 || left == 1)
			rs_producer_leave(producer);
	}
	order_fetch_sub_relaxed(&crowd.producing, 1);
}

/* One run: what it may not go past, and where it is. */
struct run {
	struct random_state *random;
	uint64_t held[LOOKERS];
	uint64_t transaction;
	uint64_t next;
	bool may_fail;
};

static void run_entry(const struct run *run, struct tally *tally, const struct rs_delta *entry)
{
	unsigned at;

	for (at = 0; at < LOOKERS; at++)
		/* CROWD.held: a view whose cut is withdrawn may have been released. */
		if (rs_delta_seq(entry) > run->held[at] &&
		    order_load_acquire(&crowd.held[at]) == run->held[at])
			wrong(&crowd.faults.past_view, true);
	tally->counts[entry->root % KEYS] += entry->count;
}

static int run_head(void *argument, const struct rs_head *head)
{
	struct run *run = argument;
	struct tally *tally = &crowd.tallies[extent_of(head->bytenr) % EXTENTS];
	int64_t sum = 0;
	size_t at;

	if (head->transaction > run->transaction)
		run->next = 0;
	wrong(&crowd.faults.disorder, head->transaction < run->transaction ||
					      head->bytenr < run->next ||
					      !delta_head_is_well_formed(head));
	if (run->may_fail && random_state_chance(run->random, 1, 50))
		return -EIO;
	run->transaction = head->transaction;
	run->next = head->bytenr + 1;
	pthread_mutex_lock(&crowd.lock);
	for (at = 0; at < head->ref_count; at++) {
		run_entry(run, tally, &head->refs[at]);
		sum += head->refs[at].count;
	}
	tally->version++;
	pthread_mutex_unlock(&crowd.lock);
	wrong(&crowd.faults.torn, sum != 0);
	order_fetch_add_relaxed(&crowd.entries, head->ref_count);
	return 0;
}

static uint64_t take_cut(struct random_state *random)
{
	uint64_t cut;

	if (random_state_chance(random, 1, 3) && !rs_commit_cut(crowd.record, &cut))
		return cut;
	return rs_cut_take(crowd.record);
}

static void run_once(struct random_state *random, bool may_fail)
{
	struct run run = { .random = random, .may_fail = may_fail };
	uint64_t cut = take_cut(random);
	int result;
	unsigned at;

	wrong(&crowd.faults.calls, rs_cut_wait(crowd.record, cut, WAIT_NS, NULL) != 0);
	for (at = 0; at < LOOKERS; at++)
		/* CROWD.held: the view is held, and past it nothing is run. */
		run.held[at] = order_load_acquire(&crowd.held[at]);
	result = rs_record_run(crowd.record, cut, run_head, &run, NULL);
	wrong(&crowd.faults.calls, result && (result != -EIO || !may_fail));
}

static struct tally tally_read(uint64_t extent)
{
	struct tally tally;

	pthread_mutex_lock(&crowd.lock);
	tally = crowd.tallies[extent];
	pthread_mutex_unlock(&crowd.lock);
	return tally;
}

/* What stands at the view's cut: what was run, and what is pending. False: a run came between. */
static bool state_at(uint64_t extent, uint64_t cut, int64_t *counts)
{
	struct tally before = tally_read(extent);
	struct rs_delta entries[2 * KEYS];
	struct rs_head_pending pending;
	size_t at;

	wrong(&crowd.faults.calls, rs_head_lookup(crowd.record, extent_bytenr(extent), cut,
						  &pending, entries, 2 * KEYS) != 0);
	if (pending.running || tally_read(extent).version != before.version)
		return false;
	memcpy(counts, before.counts, sizeof(before.counts));
	for (at = 0; at < pending.entries && at < 2 * KEYS; at++)
		counts[entries[at].root % KEYS] += entries[at].count;
	return true;
}

static void look_at(uint64_t extent, uint64_t cut, int64_t *first, bool *known)
{
	int64_t counts[KEYS];
	int64_t sum = 0;
	unsigned key;

	if (!state_at(extent, cut, counts))
		return;
	for (key = 0; key < KEYS; key++)
		sum += counts[key];
	wrong(&crowd.faults.unbalanced, sum != 0);
	if (*known)
		wrong(&crowd.faults.changed, memcmp(first, counts, sizeof(counts)) != 0);
	memcpy(first, counts, sizeof(counts));
	*known = true;
	order_fetch_add_relaxed(&crowd.compared, 1);
}

static void look_once(struct random_state *random, unsigned looker)
{
	int64_t first[EXTENTS][KEYS];
	bool known[EXTENTS] = { false };
	struct rs_view *view;
	uint64_t cut;
	unsigned left;

	if (rs_view_acquire(crowd.record, &view)) {
		wrong(&crowd.faults.calls, true);
		return;
	}
	cut = rs_view_cut(view);
	/* CROWD.held: the view is held. */
	order_store_release(&crowd.held[looker], cut);
	wrong(&crowd.faults.calls, rs_cut_wait(crowd.record, cut, WAIT_NS, NULL) != 0);
	wrong(&crowd.faults.calls, rs_record_settle(crowd.record) != 0);
	for (left = 100; left; left--) {
		uint64_t extent = random_state_below(random, EXTENTS);

		look_at(extent, cut, first[extent], &known[extent]);
		rest(random);
		if (left % 16 == 0)
			wrong(&crowd.faults.calls, rs_record_merge(crowd.record) != 0);
	}
	/* CROWD.held: before it is released. */
	order_store_release(&crowd.held[looker], NO_VIEW);
	wrong(&crowd.faults.calls, rs_view_release(crowd.record, view) != 0);
}

static void crowd_main(void *unused, unsigned thread)
{
	struct random_state random;

	(void)unused;
	random_state_seed(&random, crowd.seed, thread + 1);
	if (thread < crowd.producers) {
		produce(&random);
		return;
	}
	/* Ends: when the producers do. */
	do
		if (thread < crowd.producers + crowd.runners)
			run_once(&random, true);
		else
			look_once(&random, thread - crowd.producers - crowd.runners);
	while (order_load_relaxed(&crowd.producing));
}

static void crowd_assert(void)
{
	struct rs_record_statistics statistics;
	uint64_t extent;
	unsigned key;

	assert_int_equal(order_load_relaxed(&crowd.faults.calls), 0);
	assert_int_equal(order_load_relaxed(&crowd.faults.torn), 0);
	assert_int_equal(order_load_relaxed(&crowd.faults.disorder), 0);
	assert_int_equal(order_load_relaxed(&crowd.faults.past_view), 0);
	assert_int_equal(order_load_relaxed(&crowd.faults.unbalanced), 0);
	assert_int_equal(order_load_relaxed(&crowd.faults.changed), 0);
	assert_true(order_load_relaxed(&crowd.compared) > 0);
	for (extent = 0; extent < EXTENTS; extent++)
		for (key = 0; key < KEYS; key++)
			assert_int_equal(crowd.tallies[extent].counts[key],
					 order_load_relaxed(&crowd.expected[extent][key]));
	record_assert_sums(crowd.record, order_load_relaxed(&crowd.recorded),
			   order_load_relaxed(&crowd.entries));
	rs_record_statistics_read(crowd.record, &statistics);
	assert_int_equal(statistics.pending_deltas, 0);
	assert_int_equal(statistics.abandoned, 0);
	assert_int_equal(statistics.views, 0);
}

static void crowd_run(void **state, unsigned producers, unsigned runners, const char *prefix)
{
	/* A small soft bound, so that producers merge too. */
	const struct rs_record_options options = { .soft_deltas = 2000 };
	struct random_state random;
	unsigned at;

	memset(&crowd, 0, sizeof(crowd));
	crowd.record = record_case_create(state, &options);
	crowd.producers = producers;
	crowd.runners = runners;
	crowd.seed = threads_data_seed(prefix);
	order_store_relaxed(&crowd.producing, producers);
	for (at = 0; at < LOOKERS; at++)
		order_store_relaxed(&crowd.held[at], NO_VIEW);
	pthread_mutex_init(&crowd.lock, NULL);
	threads_stalls_begin(prefix, threads_timing_seed(prefix), 60, 200);
	threads_run(producers + runners + LOOKERS, crowd_main, NULL);
	threads_stalls_end();
	random_state_seed(&random, crowd.seed, 0);
	run_once(&random, false);
	crowd_assert();
	pthread_mutex_destroy(&crowd.lock);
	rs_record_destroy(crowd.record);
}

static void operations_and_views_are_whole(void **state)
{
	bool queued = record_case_of(state)->path == RS_RECORD_PERCPU;

	crowd_run(state, 4, 1, "heads.");
	if (queued) {
		threads_stalls_assert_passed("heads.installing");
		threads_stalls_assert_passed("heads.looking");
		threads_stalls_assert_passed("heads.swapping");
	}
	crowd_run(state, PRODUCERS_MAX, 2, "sequence.");
	threads_stalls_assert_passed("sequence.reading");
	threads_stalls_assert_passed("sequence.closing");
	threads_stalls_assert_passed("sequence.commit-cut");
	threads_stalls_assert_passed("sequence.view-claimed");
	crowd_run(state, 8, 2, "record.");
	threads_stalls_assert_passed("record.begun");
	if (!queued)
		return;
	crowd_run(state, 8, 2, "queued.");
	threads_stalls_assert_passed("queued.merging");
	crowd_run(state, 8, 1, "queue.");
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "operations and views are whole", operations_and_views_are_whole },
	};

	return record_tests_run("record_threads_test", tests, 1);
}
