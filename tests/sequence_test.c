/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/random.h"
#include "core/treemod/sequence.h"
#include "tests/support/threads.h"

/* Numbers are grouped, and no group ends where none should. */
static void assert_groups(struct sequence *sequence, const uint64_t *want, unsigned count)
{
	struct sequence_groups groups;
	unsigned at;

	sequence_groups(sequence, &groups);
	assert_int_equal(groups.count, count);
	for (at = 0; at < count; at++)
		assert_int_equal(groups.last[at], want[at]);
}

static uint64_t cut_closed(struct sequence *sequence)
{
	uint64_t cut = sequence_cut(sequence);

	assert_true(sequence_close(sequence, cut, NULL));
	assert_true(sequence_closed(sequence) >= cut);
	return cut;
}

static void sequence_truth_table(void **state)
{
	struct sequence sequence;
	struct sequence_slot slots[3];
	struct sequence_waiting waiting = { 0 };
	uint64_t cut;

	(void)state;
	sequence_init(&sequence);
	assert_null(sequence_slots(&sequence));
	assert_int_equal(sequence_current(&sequence), 1);
	assert_int_equal(sequence_closed(&sequence), 0);
	assert_int_equal(cut_closed(&sequence), 1);
	sequence_join(&sequence, &slots[0]);
	sequence_join(&sequence, &slots[1]);
	sequence_join(&sequence, &slots[2]);
	assert_ptr_equal(sequence_slots(&sequence), &slots[2]);
	assert_ptr_equal(slots[2].next, &slots[1]);
	assert_null(slots[0].next);
	/* Operations read the counter, and only a cut moves it. */
	assert_int_equal(sequence_begin(&sequence, &slots[0]), 2);
	assert_int_equal(sequence_begin(&sequence, &slots[1]), 2);
	cut = sequence_cut(&sequence);
	assert_int_equal(cut, 2);
	assert_int_equal(sequence_begin(&sequence, &slots[2]), 3);
	assert_false(sequence_close(&sequence, cut, &waiting));
	assert_int_equal(waiting.operations, 2);
	assert_int_equal(waiting.seq, 2);
	assert_int_equal(waiting.thread, (uint32_t)gettid());
	assert_int_equal(sequence_closed(&sequence), 1);
	sequence_end(&slots[1]);
	assert_false(sequence_close(&sequence, cut, &waiting));
	assert_int_equal(waiting.operations, 1);
	/* The last one ends, and another begins with a higher number: that is not waited for. */
	sequence_end(&slots[0]);
	assert_int_equal(sequence_begin(&sequence, &slots[0]), 3);
	assert_true(sequence_close(&sequence, cut, &waiting));
	assert_int_equal(sequence_closed(&sequence), 2);
	assert_true(sequence_close(&sequence, 1, NULL));
	sequence_end(&slots[0]);
	sequence_end(&slots[2]);
	/* Closing one closes all that can be. */
	cut = sequence_cut(&sequence);
	sequence_cut(&sequence);
	assert_int_equal(sequence_begin(&sequence, &slots[0]), 5);
	sequence_cut(&sequence);
	assert_true(sequence_close(&sequence, cut, NULL));
	assert_int_equal(sequence_closed(&sequence), 4);
	assert_false(sequence_close(&sequence, 5, NULL));
	assert_int_equal(sequence_closed(&sequence), 4);
	sequence_end(&slots[0]);
	assert_true(sequence_close(&sequence, 5, NULL));
	sequence_destroy(&sequence);
}

static void sequence_transactions(void **state)
{
	struct sequence sequence;
	uint64_t cuts[SEQUENCE_COMMITS_MAX + 2];
	uint64_t end;
	uint64_t cut;
	unsigned at;

	(void)state;
	sequence_init(&sequence);
	assert_int_equal(sequence_oldest_end(&sequence, &end), 1);
	assert_int_equal(end, UINT64_MAX);
	for (at = 1; at <= SEQUENCE_COMMITS_MAX; at++) {
		assert_int_equal(sequence_commit(&sequence, &cuts[at]), 0);
		assert_int_equal(cuts[at], at);
	}
	cut = 77;
	assert_int_equal(sequence_commit(&sequence, &cut), -EAGAIN);
	assert_int_equal(sequence_current(&sequence), SEQUENCE_COMMITS_MAX + 1);
	assert_int_equal(view_lowest(&sequence.views, NULL), VIEW_NONE);
	assert_true(sequence_close(&sequence, SEQUENCE_COMMITS_MAX, NULL));
	assert_groups(&sequence, &cuts[1], SEQUENCE_COMMITS_MAX);
	assert_int_equal(sequence_oldest_end(&sequence, &end), 1);
	assert_int_equal(end, 1);
	/* One is run: there is room for one. */
	sequence_transaction_run(&sequence, 1);
	assert_int_equal(sequence_oldest_end(&sequence, &end), 2);
	assert_int_equal(end, 2);
	assert_int_equal(sequence_commit(&sequence, &cuts[at]), 0);
	assert_int_equal(sequence_commit(&sequence, &cut), -EAGAIN);
	for (at = 2; at <= SEQUENCE_COMMITS_MAX + 1; at++) {
		assert_int_equal(sequence_oldest_end(&sequence, &end), at);
		assert_int_equal(end, cuts[at]);
		sequence_transaction_run(&sequence, at);
	}
	assert_int_equal(sequence_oldest_end(&sequence, &end), SEQUENCE_COMMITS_MAX + 2);
	assert_int_equal(end, UINT64_MAX);
	sequence_destroy(&sequence);
}

static void sequence_grouping(void **state)
{
	struct sequence sequence;
	struct sequence_slot slot;
	struct sequence_groups groups;
	struct view_slot *views[2];
	uint64_t cut;

	(void)state;
	sequence_init(&sequence);
	assert_groups(&sequence, NULL, 0);
	sequence_join(&sequence, &slot);
	cut_closed(&sequence);
	cut_closed(&sequence);
	assert_groups(&sequence, (const uint64_t[]){ 2 }, 1);
	/* A view ends a group once it is closed; so does the transaction. */
	views[0] = sequence_view(&sequence);
	assert_int_equal(view_cut(views[0]), 3);
	assert_groups(&sequence, (const uint64_t[]){ 2 }, 1);
	cut_closed(&sequence);
	assert_groups(&sequence, (const uint64_t[]){ 3, 4 }, 2);
	assert_int_equal(sequence_commit(&sequence, &cut), 0);
	assert_int_equal(cut, 5);
	views[1] = sequence_view(&sequence);
	assert_int_equal(sequence_begin(&sequence, &slot), 7);
	sequence_cut(&sequence);
	assert_true(sequence_close(&sequence, 6, NULL));
	assert_groups(&sequence, (const uint64_t[]){ 3, 5, 6 }, 3);
	sequence_end(&slot);
	assert_true(sequence_close(&sequence, 7, NULL));
	assert_groups(&sequence, (const uint64_t[]){ 3, 5, 6, 7 }, 4);
	sequence_groups(&sequence, &groups);
	assert_int_equal(sequence_group(&groups, 1), 3);
	assert_int_equal(sequence_group(&groups, 3), 3);
	assert_int_equal(sequence_group(&groups, 4), 5);
	assert_int_equal(sequence_group(&groups, 7), 7);
	assert_int_equal(sequence_group(&groups, 8), 8);
	/* Released, ended, run: no end of a group any more. */
	assert_true(view_release(views[0]));
	assert_groups(&sequence, (const uint64_t[]){ 5, 6, 7 }, 3);
	assert_int_equal(view_end_older(&sequence.views, UINT64_MAX), 1);
	assert_groups(&sequence, (const uint64_t[]){ 5, 7 }, 2);
	sequence_transaction_run(&sequence, 1);
	assert_groups(&sequence, (const uint64_t[]){ 7 }, 1);
	assert_false(view_release(views[1]));
	/* A commit and views with one cut each, all closed. */
	views[0] = view_claim(&sequence.views, 6);
	assert_groups(&sequence, (const uint64_t[]){ 6 }, 1);
	view_release(views[0]);
	sequence_destroy(&sequence);
}

/* More views than there is room for: then each number is a group of its own. */
static void sequence_many_views(void **state)
{
	struct sequence sequence;
	struct sequence_groups groups;
	struct view_slot *views[SEQUENCE_GROUPS_MAX + 10];
	const unsigned most = SEQUENCE_GROUPS_MAX - SEQUENCE_COMMITS_MAX - 1;
	uint64_t cut;
	unsigned at;

	(void)state;
	sequence_init(&sequence);
	for (at = 0; at < SEQUENCE_COMMITS_MAX; at++)
		assert_int_equal(sequence_commit(&sequence, &cut), 0);
	for (at = 0; at < SEQUENCE_GROUPS_MAX + 10; at++) {
		views[at] = sequence_view(&sequence);
		assert_non_null(views[at]);
		cut_closed(&sequence);
		sequence_groups(&sequence, &groups);
		if (at < most) {
			assert_int_equal(groups.count, SEQUENCE_COMMITS_MAX + at + 2);
			assert_int_equal(groups.last[groups.count - 1], sequence_closed(&sequence));
		} else {
			assert_int_equal(groups.count, 0);
		}
		assert_int_equal(sequence_group(&groups, 5), 5);
	}
	while (at--)
		view_release(views[at]);
	assert_int_equal(view_lowest(&sequence.views, NULL), VIEW_NONE);
	sequence_destroy(&sequence);
}

static void sequence_without_memory(void **state)
{
	struct sequence sequence;
	uint64_t cut;

	(void)state;
	sequence_init(&sequence);
	alloc_fail_arm(1, 1);
	assert_null(sequence_view(&sequence));
	assert_int_equal(sequence_commit(&sequence, &cut), -ENOMEM);
	alloc_fail_arm(0, 0);
	/* Neither has taken a cut. */
	assert_int_equal(sequence_current(&sequence), 1);
	sequence_destroy(&sequence);
}

/* A thread is held inside an operation: its id is told. */
struct held {
	struct sequence sequence;
	struct sequence_slot slot;
	uint32_t thread;
	pthread_barrier_t turn;
};

static void *held_thread(void *argument)
{
	struct held *held = argument;

	sequence_join(&held->sequence, &held->slot);
	held->thread = (uint32_t)gettid();
	sequence_begin(&held->sequence, &held->slot);
	pthread_barrier_wait(&held->turn);
	pthread_barrier_wait(&held->turn);
	sequence_end(&held->slot);
	return NULL;
}

static void sequence_names_whom_it_waits_for(void **state)
{
	struct held held;
	struct sequence_slot mine;
	struct sequence_waiting waiting;
	pthread_t thread;
	uint64_t cut;

	(void)state;
	sequence_init(&held.sequence);
	pthread_barrier_init(&held.turn, NULL, 2);
	sequence_join(&held.sequence, &mine);
	assert_int_equal(pthread_create(&thread, NULL, held_thread, &held), 0);
	pthread_barrier_wait(&held.turn);
	cut = sequence_cut(&held.sequence);
	sequence_begin(&held.sequence, &mine);
	assert_false(sequence_close(&held.sequence, cut, &waiting));
	assert_int_equal(waiting.operations, 1);
	assert_int_equal(waiting.thread, held.thread);
	assert_int_not_equal(waiting.thread, (uint32_t)gettid());
	assert_int_equal(waiting.seq, 1);
	pthread_barrier_wait(&held.turn);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(sequence_close(&held.sequence, cut, &waiting));
	sequence_end(&mine);
	pthread_barrier_destroy(&held.turn);
	sequence_destroy(&held.sequence);
}

#ifdef RS_WINDOWS
/* What happens, once, at the first pass of a window. */
struct meanwhile {
	const char *window;
	struct sequence sequence;
	struct sequence_slot slots[2];
	uint64_t seq;
	bool closed;
};

static void meanwhile_hook(const char *name, void *argument)
{
	struct meanwhile *meanwhile = argument;
	struct sequence *sequence = &meanwhile->sequence;
	struct sequence_waiting waiting = { 0 };

	if (!meanwhile->window || strcmp(name, meanwhile->window) != 0)
		return;
	meanwhile->window = NULL;
	if (!strcmp(name, "sequence.reading")) {
		/* It may get any number: no cut closes. */
		meanwhile->closed = sequence_close(sequence, sequence_cut(sequence), &waiting);
		assert_int_equal(waiting.operations, 1);
		assert_int_equal(waiting.seq, 0);
	} else if (!strcmp(name, "sequence.closing")) {
		/* Begins behind the barrier, and gets a number past the cut. */
		meanwhile->seq = sequence_begin(sequence, &meanwhile->slots[1]);
	} else {
		/* A cut, or a commit's, that others do not know: nothing is grouped across it. */
		cut_closed(sequence);
		cut_closed(sequence);
		assert_groups(sequence, (const uint64_t[]){ 2 }, 1);
		assert_int_equal(view_lowest(&sequence->views, NULL), 2);
	}
}

static void meanwhile_init(struct meanwhile *meanwhile, const char *window)
{
	memset(meanwhile, 0, sizeof(*meanwhile));
	sequence_init(&meanwhile->sequence);
	sequence_join(&meanwhile->sequence, &meanwhile->slots[0]);
	sequence_join(&meanwhile->sequence, &meanwhile->slots[1]);
	meanwhile->window = window;
	assert_int_equal(cut_closed(&meanwhile->sequence), 1);
	window_hook_set(meanwhile_hook, meanwhile);
}

static void meanwhile_destroy(struct meanwhile *meanwhile)
{
	window_hook_set(NULL, NULL);
	assert_null(meanwhile->window);
	sequence_destroy(&meanwhile->sequence);
}

static void sequence_thread_is_late(void **state)
{
	struct meanwhile meanwhile;
	struct view_slot *view;
	uint64_t cut;

	(void)state;
	meanwhile_init(&meanwhile, "sequence.reading");
	assert_int_equal(sequence_begin(&meanwhile.sequence, &meanwhile.slots[0]), 3);
	assert_false(meanwhile.closed);
	assert_true(sequence_close(&meanwhile.sequence, 2, NULL));
	sequence_end(&meanwhile.slots[0]);
	meanwhile_destroy(&meanwhile);

	meanwhile_init(&meanwhile, "sequence.closing");
	assert_int_equal(cut_closed(&meanwhile.sequence), 2);
	assert_int_equal(meanwhile.seq, 3);
	meanwhile_destroy(&meanwhile);

	meanwhile_init(&meanwhile, "sequence.view-claimed");
	view = sequence_view(&meanwhile.sequence);
	assert_int_equal(view_cut(view), 4);
	assert_int_equal(cut_closed(&meanwhile.sequence), 5);
	assert_groups(&meanwhile.sequence, (const uint64_t[]){ 4, 5 }, 2);
	meanwhile_destroy(&meanwhile);

	meanwhile_init(&meanwhile, "sequence.commit-cut");
	assert_int_equal(sequence_commit(&meanwhile.sequence, &cut), 0);
	assert_int_equal(cut, 2);
	assert_groups(&meanwhile.sequence, (const uint64_t[]){ 2, 4 }, 2);
	meanwhile_destroy(&meanwhile);
}
#endif

#define OPERATORS 6
#define CUTTERS 3
#define WATCHERS 2

#ifdef __SANITIZE_THREAD__
#define CUTS 600
#else
#define CUTS 3000
#endif
#define NUMBERS (CUTTERS * CUTS + 2)

/* What one thread did in operations of one number. Plain on purpose: only the sequence orders it. */
struct work {
	uint32_t started;
	uint32_t ended;
	uint32_t closed; /* written once the number is closed */
};

struct closing {
	struct sequence sequence;
	struct sequence_slot slots[OPERATORS];
	struct work (*work)[NUMBERS]; /* of each operator */
	uint32_t *noted;              /* by number: written before the cut; plain */
	pthread_mutex_t cutting;      /* who takes a cut knows its number before */
	uint64_t seed;
	/* Relaxed, all of them. */
	order_u32 cutters;
	order_u64 wrong;
	order_u64 operations;
	order_u64 waited;
};

/* Some operations of a seat, by a thread that may be another than the last. */
struct stint {
	struct closing *closing;
	unsigned seat;
	unsigned operations;
};

static void *closing_operate(void *argument)
{
	const struct stint *stint = argument;
	struct closing *closing = stint->closing;
	struct sequence_slot *slot = &closing->slots[stint->seat];
	unsigned at;

	for (at = 0; at < stint->operations; at++) {
		uint64_t seq = sequence_begin(&closing->sequence, slot);
		struct work *work = &closing->work[stint->seat][seq];
		bool wrong = work->closed || (seq > 1 && !closing->noted[seq - 1]);

		work->started++;
		if (!(at % 16))
			sched_yield();
		work->ended++;
		wrong |= work->closed;
		sequence_end(slot);
		if (wrong)
			order_fetch_add_relaxed(&closing->wrong, 1);
		order_fetch_add_relaxed(&closing->operations, 1);
	}
	return NULL;
}

static void closing_seat(struct closing *closing, unsigned seat, struct random_state *random)
{
	while (order_load_relaxed(&closing->cutters)) {
		struct stint stint = { closing, seat,
				       1 + (unsigned)random_state_below(random, 500) };
		pthread_t thread;

		/* In some seats one thread after the other ends, between operations. */
		if (seat % 2 || pthread_create(&thread, NULL, closing_operate, &stint))
			closing_operate(&stint);
		else
			pthread_join(thread, NULL);
	}
}

static void closing_cut(struct closing *closing)
{
	unsigned at;
	unsigned seat;

	for (at = 0; at < CUTS; at++) {
		uint64_t cut;

		/* Side by side with operations. Ends: they go on until cutters are through. */
		while (order_load_relaxed(&closing->operations) < at)
			sched_yield();
		pthread_mutex_lock(&closing->cutting);
		closing->noted[sequence_current(&closing->sequence)] = 1;
		cut = sequence_cut(&closing->sequence);
		pthread_mutex_unlock(&closing->cutting);
		/* Ends: operations do. */
		while (!sequence_close(&closing->sequence, cut, NULL)) {
			order_fetch_add_relaxed(&closing->waited, 1);
			sched_yield();
		}
		for (seat = 0; seat < OPERATORS; seat++) {
			struct work *work = &closing->work[seat][cut];

			if (work->started != work->ended)
				order_fetch_add_relaxed(&closing->wrong, 1);
			work->closed = 1;
		}
	}
	order_fetch_sub_relaxed(&closing->cutters, 1);
}

/* Whoever learns only that something is closed sees the same. */
static void closing_watch(struct closing *closing)
{
	uint64_t seen = 0;
	unsigned seat;

	while (order_load_relaxed(&closing->cutters)) {
		uint64_t closed = sequence_closed(&closing->sequence);

		if (closed < seen)
			order_fetch_add_relaxed(&closing->wrong, 1);
		for (; seen < closed; seen++)
			for (seat = 0; seat < OPERATORS; seat++)
				if (closing->work[seat][seen + 1].started !=
				    closing->work[seat][seen + 1].ended)
					order_fetch_add_relaxed(&closing->wrong, 1);
		sched_yield();
	}
}

static void closing_thread(void *argument, unsigned thread)
{
	struct closing *closing = argument;
	struct random_state random;

	random_state_seed(&random, closing->seed, thread);
	if (thread < OPERATORS)
		closing_seat(closing, thread, &random);
	else if (thread < OPERATORS + CUTTERS)
		closing_cut(closing);
	else
		closing_watch(closing);
}

static void closing_run(uint64_t seed)
{
	struct closing closing = { .seed = seed };
	unsigned at;

	sequence_init(&closing.sequence);
	pthread_mutex_init(&closing.cutting, NULL);
	closing.work = alloc_zeroed(OPERATORS, sizeof(closing.work[0]));
	closing.noted = alloc_zeroed(NUMBERS, sizeof(closing.noted[0]));
	assert_non_null(closing.work);
	assert_non_null(closing.noted);
	for (at = 0; at < OPERATORS; at++)
		sequence_join(&closing.sequence, &closing.slots[at]);
	order_store_relaxed(&closing.cutters, CUTTERS);
	threads_run(OPERATORS + CUTTERS + WATCHERS, closing_thread, &closing);
	assert_int_equal(order_load_relaxed(&closing.wrong), 0);
	assert_int_equal(sequence_current(&closing.sequence), CUTTERS * CUTS + 1);
	assert_int_equal(sequence_closed(&closing.sequence), CUTTERS * CUTS);
	print_message("sequence: %llu operations; cuts waited %llu times\n",
		      (unsigned long long)order_load_relaxed(&closing.operations),
		      (unsigned long long)order_load_relaxed(&closing.waited));
	assert_true(order_load_relaxed(&closing.operations) >= CUTS - 1);
	alloc_free(closing.noted);
	alloc_free(closing.work);
	pthread_mutex_destroy(&closing.cutting);
	sequence_destroy(&closing.sequence);
}

static void sequence_threads(void **state)
{
	uint64_t seed = threads_timing_seed("sequence_threads");

	(void)state;
	closing_run(seed);
	threads_stalls_begin("sequence.", seed, 100, 200);
	closing_run(seed);
	threads_stalls_end();
	threads_stalls_assert_passed("sequence.reading");
	threads_stalls_assert_passed("sequence.closing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequence_truth_table),
		cmocka_unit_test(sequence_transactions),
		cmocka_unit_test(sequence_grouping),
		cmocka_unit_test(sequence_many_views),
		cmocka_unit_test(sequence_without_memory),
		cmocka_unit_test(sequence_names_whom_it_waits_for),
#ifdef RS_WINDOWS
		cmocka_unit_test(sequence_thread_is_late),
#endif
		cmocka_unit_test(sequence_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
