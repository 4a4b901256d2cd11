/* SPDX-License-Identifier: MIT */
/*
 * Random histories in one thread against a model: a list of deltas with their numbers. Two
 * producers, so that operations are open across cuts; runners that fail; memory that is short.
 * Every head that is run, every look-up and every answer of a cut is compared.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "tests/support/delta_model.h"
#include "tests/support/record_case.h"
#include "tests/support/threads.h"

#define PRODUCERS 2
#define VIEWS 6
#define COMMITS 4096
#define EXTENTS 5U
#define LOOKUP_ENTRIES 64
#define STEPS 10000U

struct history {
	struct rs_record *record;
	struct random_state random;
	struct rs_producer *producers[PRODUCERS];
	uint64_t open[PRODUCERS]; /* the number of its operation; 0: in none */
	struct rs_view *views[VIEWS];
	uint64_t view_cuts[VIEWS]; /* 0: none */
	uint64_t counter;
	uint64_t closed;
	uint64_t ends[COMMITS]; /* of transactions, from 1 */
	uint64_t running;       /* the transaction that is not ended */
	uint64_t oldest;        /* the one that is not run */
	uint64_t recorded;
	uint64_t run_entries;
	struct delta_model pending;

	/* Of the run that goes on. */
	uint64_t limit;
	uint64_t next; /* heads below it are behind */
	unsigned fail_in;
	unsigned wrong;

	/* What has happened. */
	unsigned heads;
	unsigned failures;
	unsigned refusals;
	bool short_of_memory;
};

static struct history history;

static uint64_t draw(uint64_t bound)
{
	return random_state_below(&history.random, bound);
}

static bool chance(uint64_t one_in)
{
	return draw(one_in) == 0;
}

/* A failure is fair only where an allocation was refused. */
static bool check_result(int result)
{
	if (!result)
		return true;
	assert_int_equal(result, -ENOMEM);
	assert_true(history.short_of_memory);
	history.refusals++;
	return false;
}

static void begin_operation(unsigned at)
{
	assert_int_equal(rs_operation_begin(history.producers[at]), 0);
	history.open[at] = history.counter;
}

static void record_delta(unsigned at)
{
	struct rs_delta delta;
	struct rs_delta whole;

	delta_random(&history.random, EXTENTS, 0, &delta);
	if (!delta.bytenr)
		delta.bytenr = UINT64_C(0xfffffffffffff000);
	whole = delta;
	whole.seq_type |= history.open[at] << 8;
	if (!check_result(rs_operation_record(history.producers[at], &delta)))
		return;
	history.recorded++;
	delta_model_add(&history.pending, &whole);
}

static void step_operation(void)
{
	unsigned at = (unsigned)draw(PRODUCERS);
	uint64_t count = draw(4);

	if (!history.open[at])
		begin_operation(at);
	while (count--)
		record_delta(at);
	if (chance(3))
		return;
	rs_operation_end(history.producers[at]);
	history.open[at] = 0;
}

static void step_cut(void)
{
	assert_int_equal(rs_cut_take(history.record), history.counter);
	history.counter++;
}

static void step_commit(void)
{
	uint64_t cut;
	int result;

	if (history.running == COMMITS - 1)
		return;
	result = rs_commit_cut(history.record, &cut);
	if (history.running - history.oldest == 64) {
		assert_int_equal(result, -EAGAIN);
		return;
	}
	if (!check_result(result))
		return;
	assert_int_equal(cut, history.counter);
	history.ends[history.running++] = cut;
	history.counter++;
}

static void step_wait(void)
{
	uint64_t cut = 1 + draw(history.counter);
	struct rs_cut_waiting waiting = { 0 };
	uint64_t lowest = history.counter;
	unsigned waited = 0;
	int result = rs_cut_wait(history.record, cut, 0, &waiting);
	unsigned at;

	if (cut == history.counter) {
		assert_int_equal(result, -EINVAL);
		return;
	}
	for (at = 0; at < PRODUCERS; at++) {
		if (!history.open[at])
			continue;
		waited += history.open[at] <= cut;
		if (history.open[at] < lowest)
			lowest = history.open[at];
	}
	assert_int_equal(result, waited ? -ETIMEDOUT : 0);
	assert_int_equal(waiting.producers, waited);
	/* What is known to be closed moves only when somebody had to look. */
	if (history.closed < cut && history.closed < lowest - 1)
		history.closed = lowest - 1;
}

static void step_view(void)
{
	unsigned at = (unsigned)draw(VIEWS);

	if (history.view_cuts[at]) {
		assert_int_equal(rs_view_cut(history.views[at]), history.view_cuts[at]);
		assert_int_equal(rs_view_release(history.record, history.views[at]), 0);
		history.view_cuts[at] = 0;
		return;
	}
	if (!check_result(rs_view_acquire(history.record, &history.views[at])))
		return;
	history.view_cuts[at] = history.counter++;
	assert_int_equal(rs_view_cut(history.views[at]), history.view_cuts[at]);
}

static void step_merge(void)
{
	(void)check_result(rs_record_merge(history.record));
}

/* Where the transaction that is run now stops. */
static uint64_t run_cut(void)
{
	uint64_t end = history.oldest < history.running ? history.ends[history.oldest] : UINT64_MAX;

	return end < history.limit ? end : history.limit;
}

/* Nothing is left up to the cut of extents below `bytenr`, but what comes to nothing. */
static void run_passed(uint64_t bytenr)
{
	struct delta_nets nets;
	size_t at;

	delta_model_net(&history.pending, DELTA_MODEL_ALL, run_cut(), false, &nets);
	for (at = 0; at < nets.count; at++)
		history.wrong += nets.nets[at].key[0] < bytenr;
	delta_nets_destroy(&nets);
	delta_model_forget(&history.pending, run_cut(), bytenr);
}

/* The transaction is behind. */
static void run_transaction_passed(void)
{
	run_passed(UINT64_MAX);
	history.next = 0;
	if (history.oldest < history.running && history.ends[history.oldest] <= history.limit)
		history.oldest++;
}

static int run_head(void *unused, const struct rs_head *head)
{
	struct delta_nets nets;
	size_t at;

	(void)unused;
	while (history.oldest < head->transaction && run_cut() < history.limit)
		run_transaction_passed();
	history.wrong += history.oldest != head->transaction;
	history.wrong += head->bytenr < history.next;
	history.wrong += !delta_head_is_well_formed(head);
	run_passed(head->bytenr);
	delta_model_net(&history.pending, head->bytenr, run_cut(), false, &nets);
	for (at = 0; at < head->ref_count; at++)
		history.wrong += !delta_nets_see(&nets, &head->refs[at]);
	for (at = 0; at < head->root_count; at++)
		history.wrong += !delta_nets_see(&nets, &head->roots[at]);
	history.wrong += !delta_nets_all_seen(&nets);
	delta_nets_destroy(&nets);
	if (history.fail_in && !--history.fail_in) {
		history.failures++;
		return -EIO;
	}
	delta_model_forget(&history.pending, run_cut(), head->bytenr + 1);
	history.next = head->bytenr + 1;
	history.run_entries += head->ref_count + head->root_count;
	history.heads++;
	return 0;
}

static void step_run(bool may_fail)
{
	uint64_t cut = may_fail ? draw(history.counter) : UINT64_MAX;
	struct rs_run_result result;
	unsigned heads = history.heads;
	int outcome;
	unsigned at;

	history.limit = history.closed;
	for (at = 0; at < VIEWS; at++)
		if (history.view_cuts[at] && history.view_cuts[at] < history.limit)
			history.limit = history.view_cuts[at];
	history.next = 0;
	history.fail_in = may_fail && chance(3) ? 1 + (unsigned)draw(6) : 0;
	outcome = rs_record_run(history.record, cut, run_head, NULL, &result);
	assert_int_equal(history.wrong, 0);
	assert_int_equal(result.heads, history.heads - heads);
	if (outcome == -EIO) {
		assert_true(may_fail);
		return;
	}
	if (!check_result(outcome)) {
		while (history.oldest < history.running &&
		       history.ends[history.oldest] <= result.cut)
			run_transaction_passed();
		return;
	}
	/* To the end of the transaction that the cut is in. Ends: the next one ends later. */
	for (;;) {
		uint64_t stop = run_cut();

		run_transaction_passed();
		if (stop >= result.cut || run_cut() == stop)
			break;
	}
	assert_int_equal(history.wrong, 0);
	assert_true(result.cut >= cut || result.cut == history.limit);
}

static void check_lookup(uint64_t bytenr, uint64_t seq_max)
{
	struct rs_delta entries[LOOKUP_ENTRIES];
	struct rs_head_pending pending;
	struct delta_nets nets;
	size_t at;

	delta_model_net(&history.pending, bytenr, seq_max, false, &nets);
	assert_int_equal(rs_head_lookup(history.record, bytenr, seq_max, &pending, entries,
					LOOKUP_ENTRIES),
			 0);
	assert_int_equal(pending.entries, nets.count);
	for (at = 0; at < nets.count; at++)
		assert_true(delta_nets_see(&nets, &entries[at]));
	assert_true(delta_nets_all_seen(&nets));
	assert_false(pending.running);
	delta_nets_destroy(&nets);
}

static void check_lookups(void)
{
	uint64_t bytenr = draw(EXTENTS) * RS_DELTA_UNIT << 8;
	unsigned at;

	assert_int_equal(rs_record_merge(history.record), 0);
	if (!bytenr)
		bytenr = UINT64_C(0xfffffffffffff000);
	check_lookup(bytenr, UINT64_MAX);
	for (at = 0; at < VIEWS; at++)
		if (history.view_cuts[at])
			check_lookup(bytenr, history.view_cuts[at]);
}

static void step(void)
{
	uint64_t what = draw(100);

	history.short_of_memory = chance(4);
	if (history.short_of_memory)
		alloc_fail_arm(1 + draw(6), chance(2));
	if (what < 45)
		step_operation();
	else if (what < 52)
		step_cut();
	else if (what < 57)
		step_commit();
	else if (what < 70)
		step_wait();
	else if (what < 78)
		step_view();
	else if (what < 90)
		step_merge();
	else
		step_run(true);
	alloc_fail_arm(0, 0);
	history.short_of_memory = false;
	if (chance(3))
		check_lookups();
}

static void finish(void)
{
	struct rs_record_statistics statistics;
	unsigned at;

	for (at = 0; at < PRODUCERS; at++) {
		if (history.open[at])
			rs_operation_end(history.producers[at]);
		history.open[at] = 0;
		rs_producer_leave(history.producers[at]);
	}
	for (at = 0; at < VIEWS; at++)
		if (history.view_cuts[at])
			assert_int_equal(rs_view_release(history.record, history.views[at]), 0);
	memset(history.view_cuts, 0, sizeof(history.view_cuts));
	step_cut();
	assert_int_equal(record_close(history.record), history.counter);
	history.closed = history.counter++;
	step_run(false);
	assert_int_equal(history.pending.count, 0);
	record_assert_sums(history.record, history.recorded, history.run_entries);
	rs_record_statistics_read(history.record, &statistics);
	assert_int_equal(statistics.pending_deltas, 0);
	assert_true(history.heads > STEPS / 100);
	assert_true(history.failures > 0);
	assert_true(history.refusals > 0);
	rs_record_destroy(history.record);
	delta_model_destroy(&history.pending);
}

static void histories_are_as_the_model_says(void **state)
{
	uint64_t seed = threads_data_seed("record_model_test");
	unsigned at;

	memset(&history, 0, sizeof(history));
	random_state_seed(&history.random, seed, 0);
	history.counter = 1;
	history.running = 1;
	history.oldest = 1;
	delta_model_init(&history.pending);
	history.record = record_case_create(state, NULL);
	for (at = 0; at < PRODUCERS; at++)
		assert_int_equal(rs_producer_join(history.record, &history.producers[at]), 0);
	for (at = 0; at < STEPS; at++)
		step();
	finish();
}

int main(void)
{
	static const struct record_test tests[] = {
		{ "histories are as the model says", histories_are_as_the_model_says },
	};

	return record_tests_run("record_model_test", tests, 1);
}
