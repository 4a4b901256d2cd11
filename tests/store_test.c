/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/delayed/store.h"
#include "tests/support/store_trial.h"
#include "tests/support/threads.h"

static const struct store_variant locked = {
	&locked_functions, locked_create, NULL, "locked.taken", true,
};
static const struct store_variant hashed = {
	&hashed_functions, hashed_create, NULL, "hashed.head", true,
};

static void store_empty(void **state)
{
	struct store_trial trial;

	store_trial_begin(&trial, *state);
	store_trial_check(&trial);
	assert_int_equal(store_trial_run_check(&trial, 5), 0);
	assert_int_equal(trial.heads, 0);
	store_trial_lookup(&trial, 4096, UINT64_MAX, 8);
	store_trial_end(&trial);
}

/* What is pending after each append, and what comes out. */
static void store_folds(void **state)
{
	struct store_trial trial;

	store_trial_begin(&trial, *state);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
	store_trial_check(&trial);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
	store_trial_check(&trial);
	/* Another type, root, extent and number are other keys. */
	store_trial_change(&trial, 4096, RS_DELTA_ROOT, 5, 1, 1);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 6, 1, 1);
	store_trial_change(&trial, 8192, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, -1, 2);
	store_trial_check(&trial);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 6, -1, 1);
	store_trial_check(&trial);
	/* One without effect is nothing. */
	store_trial_change(&trial, 12288, RS_DELTA_TREE_BLOCK_REF, 6, 0, 1);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, 0, 1);
	store_trial_check(&trial);
	assert_int_equal(store_trial_run_check(&trial, 2), 0);
	assert_int_equal(trial.heads, 2);
	assert_int_equal(trial.count, 3);
	assert_int_equal(trial.functions->pending(trial.store), 0);
	store_trial_end(&trial);
}

/* The 2014 document's usual case: it is gone before it was run. */
static void store_cancels(void **state)
{
	struct store_statistics statistics;
	struct store_trial trial;
	unsigned at;

	store_trial_begin(&trial, *state);
	for (at = 0; at < 3000; at++)
		store_trial_change(&trial, at * UINT64_C(4096), RS_DELTA_EXTENT_DATA_REF, 5, 1, 1);
	store_trial_check(&trial);
	for (at = 3000; at-- > 0;)
		store_trial_change(&trial, at * UINT64_C(4096), RS_DELTA_EXTENT_DATA_REF, 5, -1, 1);
	store_trial_check(&trial);
	trial.functions->statistics(trial.store, &statistics);
	assert_int_equal(statistics.recorded, 6000);
	assert_int_equal(statistics.merged, 6000);
	assert_int_equal(store_trial_run_check(&trial, 1), 0);
	assert_int_equal(trial.heads, 0);
	/* Of different numbers they cancel when they are run. */
	store_trial_change(&trial, 4096, RS_DELTA_ROOT, 5, 1, 2);
	store_trial_change(&trial, 4096, RS_DELTA_ROOT, 5, -1, 3);
	store_trial_check(&trial);
	assert_int_equal(store_trial_run_check(&trial, 3), 0);
	assert_int_equal(trial.heads, 0);
	trial.functions->statistics(trial.store, &statistics);
	assert_int_equal(statistics.recorded, 6002);
	assert_int_equal(statistics.merged, 6002);
	assert_int_equal(statistics.run, 0);
	store_trial_end(&trial);
}

static void store_reservations_stay(void **state)
{
	struct rs_delta delta = store_trial_delta(4096, RS_DELTA_ROOT, 5, 1, 1);
	struct store_trial trial;

	store_trial_begin(&trial, *state);
	store_trial_append(&trial, &delta);
	delta.reserved = 4096;
	delta.count = -1;
	store_trial_append(&trial, &delta);
	store_trial_check(&trial);
	assert_int_equal(trial.functions->pending(trial.store), 1);
	store_trial_lookup(&trial, 4096, UINT64_MAX, 8);
	/* And over numbers. */
	delta.bytenr = 8192;
	store_trial_append(&trial, &delta);
	delta.count = 1;
	delta.seq_type += 1 << 8;
	store_trial_append(&trial, &delta);
	assert_int_equal(store_trial_run_check(&trial, 2), 0);
	assert_int_equal(trial.heads, 2);
	assert_int_equal(trial.count, 2);
	assert_int_equal(trial.entries[0].count, 0);
	assert_int_equal(trial.entries[0].reserved, 4096);
	assert_int_equal(trial.entries[1].reserved, 8192);
	store_trial_end(&trial);
}

/* Sums that do not fit stay apart, and nothing is lost. */
static void store_large_counts(void **state)
{
	struct store_statistics statistics;
	struct rs_head_pending pending;
	struct rs_delta entries[4];
	struct rs_run_result result = { 0 };
	struct store_trial trial;
	const struct store_run run = { 1, 3, store_trial_runner, &trial, &result, 0 };
	int64_t sum = 0;
	size_t at;

	store_trial_begin(&trial, *state);
	for (at = 0; at < 3; at++)
		store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, INT32_MAX, 1);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, -1, 1);
	assert_int_equal(trial.functions->lookup(trial.store, 4096, 1, &pending, entries, 4), 0);
	assert_int_equal(pending.refs, INT64_C(3) * INT32_MAX - 1);
	/* The runner calls it broken: one key twice. */
	assert_int_equal(trial.functions->run(trial.store, &run), 0);
	assert_int_equal(result.heads, 1);
	for (at = 0; at < trial.count; at++)
		sum += trial.entries[at].count;
	assert_int_equal(sum, INT64_C(3) * INT32_MAX - 1);
	assert_int_equal(trial.functions->pending(trial.store), 0);
	trial.functions->statistics(trial.store, &statistics);
	assert_int_equal(statistics.recorded, 4);
	assert_int_equal(statistics.merged + statistics.run, 4);
	store_trial_end(&trial);
}

static void store_time_of_the_oldest(void **state)
{
	struct store_statistics statistics;
	uint64_t before = clock_now_ns();
	struct store_trial trial;
	uint64_t after;

	store_trial_begin(&trial, *state);
	store_trial_change(&trial, 4096, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
	after = clock_now_ns();
	trial.functions->statistics(trial.store, &statistics);
	assert_in_range(statistics.oldest_time, before, after);
	store_trial_change(&trial, 8192, RS_DELTA_TREE_BLOCK_REF, 5, 1, 2);
	assert_int_equal(store_trial_run_check(&trial, 1), 0);
	trial.functions->statistics(trial.store, &statistics);
	assert_true(statistics.oldest_time >= before);
	assert_int_equal(store_trial_run_check(&trial, 2), 0);
	before = clock_now_ns();
	store_trial_change(&trial, 8192, RS_DELTA_TREE_BLOCK_REF, 5, 1, 3);
	trial.functions->statistics(trial.store, &statistics);
	assert_in_range(statistics.oldest_time, before, clock_now_ns());
	store_trial_end(&trial);
}

/* Numbers above the cut stay, also those of an extent that is run. */
static void store_cut_in_the_middle(void **state)
{
	struct store_trial trial;
	uint64_t seq;
	unsigned at;

	store_trial_begin(&trial, *state);
	for (seq = 1; seq <= 4; seq++)
		for (at = 0; at < 40; at++)
			store_trial_change(&trial, at % 8 * UINT64_C(4096), RS_DELTA_ROOT, at / 8,
					   1 + (int)seq, (seq * 7 + at) % 9 + 1);
	for (seq = 0; seq <= 10; seq++)
		assert_int_equal(store_trial_run_check(&trial, seq), 0);
	assert_int_equal(trial.functions->pending(trial.store), 0);
	store_trial_end(&trial);
}

/* The runner fails at each head in turn; the next run goes on from there. */
static void store_runner_fails(void **state)
{
	struct store_trial trial;
	unsigned extents = 12;
	uint64_t fail_at;
	unsigned at;

	store_trial_begin(&trial, *state);
	for (fail_at = 1; fail_at <= extents; fail_at++) {
		for (at = 0; at < 5 * extents; at++)
			store_trial_change(&trial, at % extents * UINT64_C(4096), RS_DELTA_ROOT,
					   at / extents, 1, at % 3 + 1);
		/* One that nets to nothing, one that is not run, and one that comes after the error. */
		store_trial_change(&trial, 4096 * 3, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
		store_trial_change(&trial, 4096 * 3, RS_DELTA_TREE_BLOCK_REF, 5, -1, 2);
		store_trial_change(&trial, 4096 * 4, RS_DELTA_TREE_BLOCK_REF, 5, -1, 9);
		trial.fail_at = fail_at;
		assert_int_equal(store_trial_run_check(&trial, 3), -EDOM);
		assert_int_equal(trial.heads, fail_at - 1);
		for (at = 0; at < extents; at++)
			store_trial_lookup(&trial, at * UINT64_C(4096), UINT64_MAX, 64);
		store_trial_change(&trial, 4096 * 5, RS_DELTA_TREE_BLOCK_REF, 5, 2, 9);
		/* Again at the same head, which is the first one now. */
		trial.fail_at = 1;
		assert_int_equal(store_trial_run_check(&trial, 3), -EDOM);
		assert_int_equal(trial.heads, 0);
		trial.fail_at = 0;
		assert_int_equal(store_trial_run_check(&trial, 3), 0);
		assert_int_equal(trial.heads, extents - fail_at + 1);
		assert_int_equal(store_trial_run_check(&trial, 9), 0);
		assert_int_equal(trial.functions->pending(trial.store), 0);
	}
	store_trial_end(&trial);
}

static void store_lookups(void **state)
{
	struct rs_head_pending pending;
	struct store_trial trial;
	uint64_t seq;
	unsigned at;

	store_trial_begin(&trial, *state);
	for (at = 0; at < 60; at++)
		store_trial_change(&trial, at % 3 * UINT64_C(4096), RS_DELTA_EXTENT_DATA_REF,
				   at / 7, at % 4 ? 1 : -1, at % 6 + 1);
	for (at = 0; at < 4; at++)
		for (seq = 0; seq <= 8; seq++)
			store_trial_lookup(&trial, at * UINT64_C(4096), seq == 8 ? UINT64_MAX : seq,
					   at == 1 ? seq : 64);
	store_trial_merge(&trial);
	assert_int_equal(trial.functions->lookup(trial.store, 0, UINT64_MAX, &pending, NULL, 0),
			 -E2BIG);
	assert_true(pending.entries > 0);
	store_trial_end(&trial);
}

/* In the runner: what was run is gone, what is being run says so, the rest is there. */
static int look_around(void *argument, const struct rs_head *head)
{
	struct store_trial *trial = argument;
	struct rs_head_pending pending;
	struct rs_delta entries[8];
	uint64_t bytenr;
	int ret;

	for (bytenr = 4096; bytenr <= 4096 * 50; bytenr += 4096) {
		ret = trial->functions->lookup(trial->store, bytenr, UINT64_MAX, &pending, entries,
					       8);
		if (ret)
			return ret;
		trial->broken += pending.running != (bytenr == head->bytenr);
		if (bytenr != head->bytenr)
			trial->broken += pending.refs != (bytenr < head->bytenr ? 10 : 11);
		ret = trial->functions->lookup(trial->store, bytenr, 1, &pending, entries, 8);
		if (ret)
			return ret;
		if (bytenr != head->bytenr)
			trial->broken += pending.refs != (bytenr > head->bytenr);
	}
	return 0;
}

static void store_lookups_while_running(void **state)
{
	struct store_trial trial;
	uint64_t bytenr;
	uint64_t fail_at;

	store_trial_begin(&trial, *state);
	trial.look = look_around;
	for (fail_at = 0; fail_at < 4; fail_at++) {
		for (bytenr = 4096; bytenr <= 4096 * 50; bytenr += 4096) {
			store_trial_change(&trial, bytenr, RS_DELTA_TREE_BLOCK_REF, 5, 1, 1);
			store_trial_change(&trial, bytenr, RS_DELTA_TREE_BLOCK_REF, 5, 10, 2);
		}
		assert_int_equal(store_trial_run_check(&trial, 1), 0);
		assert_int_equal(trial.heads, 50);
		for (bytenr = 4096; bytenr <= 4096 * 50; bytenr += 4096)
			store_trial_lookup(&trial, bytenr, UINT64_MAX, 8);
		trial.look = NULL;
		assert_int_equal(store_trial_run_check(&trial, 2), 0);
		trial.look = look_around;
	}
	store_trial_end(&trial);
}

/* In the runner: other numbers come, go and fold, of the extents that are run too. */
static int append_around(void *argument, const struct rs_head *head)
{
	struct store_trial *trial = argument;
	unsigned at;

	for (at = 0; at < 20; at++) {
		store_trial_change(trial, head->bytenr + at / 4 * UINT64_C(4096), RS_DELTA_ROOT,
				   at % 4, 1, 2);
		if (at % 3 == 0)
			store_trial_change(trial, head->bytenr + at / 4 * UINT64_C(4096),
					   RS_DELTA_ROOT, at % 4, -1, 2);
	}
	return 0;
}

static void store_appends_while_running(void **state)
{
	struct store_trial trial;
	unsigned at;

	store_trial_begin(&trial, *state);
	trial.look = append_around;
	for (at = 0; at < 300; at++)
		store_trial_change(&trial, at * UINT64_C(8192), RS_DELTA_ROOT, 1, 1, 1);
	trial.fail_at = 100;
	assert_int_equal(store_trial_run_check(&trial, 1), -EDOM);
	trial.fail_at = 0;
	assert_int_equal(store_trial_run_check(&trial, 1), 0);
	assert_int_equal(trial.heads, 201);
	trial.look = NULL;
	assert_int_equal(store_trial_run_check(&trial, 2), 0);
	store_trial_end(&trial);
}

/* Small and large stores by turns, one step as likely as another. */
static void store_random(void **state)
{
	struct random_state random;
	struct store_trial trial;
	uint64_t closed = 0;
	uint64_t seq = 1;
	unsigned step;
	uint64_t runs = 0;
	uint64_t failed = 0;

	store_trial_begin(&trial, *state);
	random_state_seed(&random, threads_data_seed("store_random"), 0);
	for (step = 0; step < 30000; step++) {
		unsigned extents = step % 10000 < 5000 ? 8 : 100;
		uint64_t draw = random_state_below(&random, extents == 8 ? 100 : 1000);
		struct rs_delta delta;

		if (draw == 0) {
			seq += random_state_below(&random, 3);
			closed += random_state_below(&random, seq - closed);
			trial.fail_at = random_state_below(&random, 6);
			if (random_state_chance(&random, 1, 2))
				trial.fail_at = 0;
			failed += store_trial_run_check(&trial, closed) != 0;
			runs++;
		} else if (draw < 5) {
			store_trial_lookup(&trial, random_state_below(&random, extents) * 4096 << 8,
					   random_state_below(&random, seq + 2),
					   random_state_below(&random, 64));
		} else if (draw == 5) {
			seq++;
		} else {
			delta_random(&random, extents,
				     closed + 1 + random_state_below(&random, seq - closed),
				     &delta);
			store_trial_append(&trial, &delta);
		}
	}
	assert_true(runs > 20 && failed > 2);
	trial.fail_at = 0;
	assert_int_equal(store_trial_run_check(&trial, seq), 0);
	assert_int_equal(trial.functions->pending(trial.store), 0);
	store_trial_end(&trial);
}

static void store_large(void **state)
{
	struct store_trial trial;
	uint64_t round;

	store_trial_begin(&trial, *state);
	/* All of it; then little of what was much once; then few of many, and many of few. */
	store_trial_fill(&trial, 0, 60000, 60000, 1);
	store_trial_run_count(&trial, 1, 60000, 60000, 0);
	for (round = 2; round < 6; round++) {
		store_trial_fill(&trial, 0, 100, 100, round);
		store_trial_fill(&trial, 0, 40000, 40000, 10 + round);
		store_trial_run_count(&trial, round, 100, 100, (round - 1) * 40000);
	}
	for (round = 2; round < 6; round++)
		store_trial_run_count(&trial, 10 + round, 40000, 40000, (5 - round) * 40000);
	/* One extent with many keys; and one behind many that are not run. */
	store_trial_fill(&trial, 0, 20000, 1, 20);
	store_trial_run_count(&trial, 20, 1, 20000, 0);
	store_trial_fill(&trial, 0, 30000, 1000, 22);
	store_trial_change(&trial, 4096 * 1000, RS_DELTA_ROOT, 5, 1, 21);
	store_trial_change(&trial, 4096 * 999, RS_DELTA_ROOT, 5, 1, 21);
	store_trial_run_count(&trial, 21, 2, 2, 30000);
	/* Most of it, with some that stay in between. */
	store_trial_fill(&trial, 0, 3000, 1000, 23);
	store_trial_run_count(&trial, 22, 1000, 30000, 3000);
	store_trial_run_count(&trial, 23, 1000, 3000, 0);
	store_trial_end(&trial);
}

/* Each allocation fails once: then nothing is recorded, and all that was there stays. */
static void store_append_without_memory(void **state)
{
	struct store_statistics before;
	struct store_statistics after;
	unsigned failures = 0;
	struct store_trial trial;
	uint64_t at;

	store_trial_begin(&trial, *state);
	for (at = 0; at < 20000; at++) {
		struct rs_delta delta = store_trial_delta(at * 4096, RS_DELTA_ROOT, 5, 1, 1);
		unsigned nth;

		for (nth = 1;; nth++) {
			int ret;

			trial.functions->statistics(trial.store, &before);
			alloc_fail_arm(nth, 0);
			ret = trial.functions->append(trial.store, &delta);
			assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
			alloc_fail_arm(0, 0);
			if (!ret)
				break;
			failures++;
			trial.functions->statistics(trial.store, &after);
			assert_int_equal(before.recorded, after.recorded);
			assert_int_equal(before.pending_bytes, after.pending_bytes);
		}
	}
	assert_true(failures > 5);
	store_trial_run_count(&trial, 1, 20000, 20000, 0);
	store_trial_end(&trial);
}

static void store_run_without_memory(void **state)
{
	struct store_trial trial;
	uint64_t entries = 0;
	unsigned failures = 0;
	unsigned round;
	int ret;

	store_trial_begin(&trial, *state);
	for (round = 0; round < 3; round++) {
		unsigned nth = 1;

		/* Extents with one, and one with many. */
		store_trial_fill(&trial, 1000, 2000, 4000, 1 + round);
		store_trial_fill(&trial, 0, 3000, 1, 1 + round);
		entries = 0;
		do {
			alloc_fail_arm(nth++, 0);
			ret = store_trial_run(&trial, 1 + round);
			assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
			alloc_fail_arm(0, 0);
			entries += trial.count;
			failures += ret != 0;
			assert_int_equal(trial.functions->pending(trial.store), 5000 - entries);
		} while (ret);
		assert_int_equal(entries, 5000);
	}
	assert_true(failures > 3);
	store_trial_end(&trial);
}

static void store_create_without_memory(void **state)
{
	const struct store_variant *variant = *state;
	struct store *store;
	unsigned failures = 0;
	int ret;

	do {
		alloc_fail_arm(failures + 1, 0);
		ret = variant->create(&store);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		failures += ret != 0;
	} while (ret);
	alloc_fail_arm(0, 0);
	assert_true(failures > 0);
	variant->functions->destroy(store);
}

static void store_under_threads(void **state)
{
	store_crowd_run(*state, threads_data_seed("store_under_threads"), 0);
}

static void store_under_threads_with_errors(void **state)
{
	store_crowd_run(*state, threads_data_seed("store_under_threads_with_errors"), 50);
}

static void store_under_threads_with_stalls(void **state)
{
	const struct store_variant *variant = *state;
	uint64_t seed = threads_data_seed("store_under_threads_with_stalls");
	uint64_t timing = threads_timing_seed("store_under_threads_with_stalls");

	threads_stalls_begin(variant->window, timing, 10, 500);
	store_crowd_run(variant, seed, 20);
	threads_stalls_end();
	threads_stalls_assert_passed(variant->window);
}

#define STORE_TEST(fn, variant)                                                                    \
	{                                                                                          \
#variant ": " #fn, fn, NULL, NULL, (void *)(uintptr_t) & (variant)                 \
	}
#define STORE_TESTS(variant)                                                                       \
	STORE_TEST(store_empty, variant), STORE_TEST(store_folds, variant),                        \
		STORE_TEST(store_cancels, variant), STORE_TEST(store_reservations_stay, variant),  \
		STORE_TEST(store_large_counts, variant),                                           \
		STORE_TEST(store_time_of_the_oldest, variant),                                     \
		STORE_TEST(store_cut_in_the_middle, variant),                                      \
		STORE_TEST(store_runner_fails, variant), STORE_TEST(store_lookups, variant),       \
		STORE_TEST(store_lookups_while_running, variant),                                  \
		STORE_TEST(store_appends_while_running, variant),                                  \
		STORE_TEST(store_random, variant), STORE_TEST(store_large, variant),               \
		STORE_TEST(store_append_without_memory, variant),                                  \
		STORE_TEST(store_run_without_memory, variant),                                     \
		STORE_TEST(store_create_without_memory, variant),                                  \
		STORE_TEST(store_under_threads, variant),                                          \
		STORE_TEST(store_under_threads_with_errors, variant),                              \
		STORE_TEST(store_under_threads_with_stalls, variant)

int main(void)
{
	const struct CMUnitTest tests[] = { STORE_TESTS(locked), STORE_TESTS(hashed) };

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
