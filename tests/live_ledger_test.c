// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_ledger.h"

#define A UINT64_C(256)
#define B UINT64_C(257)
#define C UINT64_C(258)
#define BYTES 4096U

static struct live_ledger *ledger;
static struct rs_error error;

static int set_up(void **state)
{
	(void)state;
	return live_ledger_create(NULL, &ledger) || live_ledger_root_add(ledger, A) ||
	       live_ledger_root_add(ledger, B);
}

static int tear_down(void **state)
{
	(void)state;
	live_ledger_destroy(ledger);
	return 0;
}

/* One change of one extent with up to two deltas. */
static int change(uint32_t *word, const struct live_delta *deltas, uint32_t count, bool gone)
{
	struct live_change one = {
		.bytenr = 81920,
		.bytes = BYTES,
		.word = *word,
		.gone = gone,
		.count = count,
	};
	int ret = live_groups_begin(live_ledger_groups(ledger));

	if (!ret)
		ret = live_ledger_apply(ledger, &one, 1, deltas, &error);
	*word = one.word;
	return ret ? ret : live_ledger_finish(ledger);
}

static int gain(uint32_t *word, uint64_t root, int64_t count)
{
	struct live_delta delta = { root, count };

	return change(word, &delta, 1, false);
}

static void usage_assert(uint64_t id, uint64_t rfer, uint64_t excl)
{
	struct rs_group_usage usage;

	assert_int_equal(live_groups_read(live_ledger_groups(ledger), id, &usage), 0);
	assert_int_equal(usage.rfer, rfer);
	assert_int_equal(usage.excl, excl);
}

static uint32_t set_of(uint64_t root)
{
	uint32_t set;

	assert_int_equal(live_ledger_set_of(ledger, root, &set), 0);
	return set;
}

static void a_root_gains_and_loses(void **state)
{
	uint32_t word = LIVE_WORD_NONE;

	(void)state;
	assert_int_equal(gain(&word, A, 1), 0);
	assert_int_equal(word, set_of(A));
	usage_assert(A, BYTES, BYTES);
	assert_int_equal(gain(&word, B, 1), 0);
	usage_assert(A, BYTES, 0);
	usage_assert(B, BYTES, 0);
	assert_int_equal(gain(&word, A, -1), 0);
	assert_int_equal(word, set_of(B));
	usage_assert(A, 0, 0);
	usage_assert(B, BYTES, BYTES);
	assert_int_equal(gain(&word, B, -1), 0);
	assert_int_equal(word, LIVE_WORD_NONE);
	usage_assert(B, 0, 0);
}

static void layers_come_and_go(void **state)
{
	struct live_ledger_figures figures;
	struct live_delta both[] = { { A, -2 }, { B, 4 } };
	uint32_t word = LIVE_WORD_NONE;
	uint32_t made = LIVE_WORD_NONE;

	(void)state;
	assert_int_equal(gain(&word, A, 3), 0);
	assert_true(word & LIVE_WORD_LAYERED);
	usage_assert(A, BYTES, BYTES);
	live_ledger_figures_read(ledger, &figures);
	assert_int_equal(figures.layered, 1);
	assert_int_equal(change(&word, both, 2, false), 0);
	usage_assert(A, BYTES, 0);
	usage_assert(B, BYTES, 0);
	assert_int_equal(live_ledger_word_add(ledger, &made, set_of(B), 4), 0);
	assert_false(live_ledger_word_same(ledger, word, made));
	assert_int_equal(live_ledger_word_add(ledger, &made, set_of(A), 1), 0);
	assert_true(live_ledger_word_same(ledger, word, made));
	assert_int_equal(live_ledger_word_set(ledger, made), live_ledger_word_set(ledger, word));
	live_ledger_word_drop(ledger, made);
	assert_int_equal(gain(&word, B, -4), 0);
	assert_int_equal(word, set_of(A));
	live_ledger_figures_read(ledger, &figures);
	assert_int_equal(figures.layered, 0);
}

/* More layers than a record has inside, and more references than can be worked on one by one. */
static void many_layers(void **state)
{
	uint32_t word = LIVE_WORD_NONE;
	uint32_t made = LIVE_WORD_NONE;
	uint64_t root;

	(void)state;
	for (root = C; root < C + 20; root++) {
		uint32_t times = (uint32_t)(root - C + 1) * 100000000U;

		assert_int_equal(live_ledger_root_add(ledger, root), 0);
		assert_int_equal(gain(&word, root, times), 0);
		assert_int_equal(live_ledger_word_add(ledger, &made, set_of(root), times - 1), 0);
		assert_int_equal(live_ledger_word_add(ledger, &made, set_of(root), 1), 0);
	}
	assert_true(live_ledger_word_same(ledger, word, made));
	for (root = C; root < C + 20; root++)
		assert_int_equal(gain(&word, root, -(int64_t)(root - C + 1) * 100000000), 0);
	assert_int_equal(word, LIVE_WORD_NONE);
	assert_int_equal(live_ledger_word_add(ledger, &made, set_of(C + 19), UINT32_MAX - 1),
			 -E2BIG);
	live_ledger_word_drop(ledger, made);
}

/* The change is left out, others are not, and nothing is applied any more. */
static void a_root_loses_what_it_has_not(void **state)
{
	struct live_delta deltas[] = { { A, 1 }, { B, 1 }, { A, -2 }, { B, 2 } };
	struct live_change changes[] = {
		{ .bytenr = 4096, .bytes = BYTES, .first = 0, .count = 1 },
		{ .bytenr = 8192, .bytes = BYTES, .first = 2, .count = 1 },
		{ .bytenr = 12288, .bytes = BYTES, .first = 1, .count = 1 },
		{ .bytenr = 16384, .bytes = BYTES, .first = 2, .count = 2 },
	};
	struct live_groups *groups = live_ledger_groups(ledger);
	uint32_t word = LIVE_WORD_NONE;

	(void)state;
	assert_int_equal(live_groups_begin(groups), 0);
	assert_int_equal(live_ledger_apply(ledger, changes, 4, deltas, &error), -EUCLEAN);
	assert_non_null(strstr(error.what, "256"));
	assert_int_equal(error.address, 8192);
	assert_int_equal(changes[0].word, set_of(A));
	assert_int_equal(changes[1].word, LIVE_WORD_NONE);
	assert_int_equal(changes[2].word, set_of(B));
	assert_int_equal(changes[3].word, LIVE_WORD_NONE);
	assert_true(live_ledger_broken(ledger));
	assert_int_equal(gain(&word, A, 1), -EUCLEAN);
	live_ledger_clear(ledger);
	assert_false(live_ledger_broken(ledger));
	assert_int_equal(gain(&word, A, 1), 0);
	usage_assert(A, BYTES, BYTES);
	usage_assert(B, 0, 0);
}

static void an_extent_is_gone(void **state)
{
	struct live_delta delta = { A, -1 };
	uint32_t word = LIVE_WORD_NONE;

	(void)state;
	assert_int_equal(gain(&word, A, 1), 0);
	assert_int_equal(change(&word, &delta, 1, true), 0);
	assert_int_equal(word, LIVE_WORD_NONE);
	assert_int_equal(gain(&word, A, 2), 0);
	assert_int_equal(gain(&word, B, 1), 0);
	/* Roots go, and nothing is recorded of what they had. */
	assert_int_equal(live_ledger_drop(ledger, B), 0);
	usage_assert(A, BYTES, 0); /* as of the last publication */
	assert_int_equal(live_ledger_finish(ledger), 0);
	usage_assert(A, BYTES, BYTES);
	assert_int_equal(live_ledger_drop(ledger, A), 0);
	assert_false(live_ledger_has_root(ledger, A));
	assert_int_equal(live_ledger_word_set(ledger, word), LIVE_SET_EMPTY);
	assert_int_equal(change(&word, NULL, 0, true), 0);
	assert_int_equal(word, LIVE_WORD_NONE);
}

static void an_extent_is_gone_too_early(void **state)
{
	struct live_delta delta = { A, -1 };
	uint32_t word = LIVE_WORD_NONE;

	(void)state;
	assert_int_equal(gain(&word, A, 1), 0);
	assert_int_equal(gain(&word, B, 1), 0);
	assert_int_equal(change(&word, &delta, 1, true), -EUCLEAN);
	assert_int_equal(word, LIVE_WORD_NONE);
	assert_true(live_ledger_broken(ledger));
}

static void a_root_is_not_known(void **state)
{
	uint32_t word = LIVE_WORD_NONE;
	uint64_t bytes;
	uint64_t root = C;
	uint32_t set;

	(void)state;
	assert_int_equal(live_ledger_set_of(ledger, C, &set), -ENOENT);
	assert_int_equal(live_ledger_reclaimable(ledger, &root, 1, &bytes), -ENOENT);
	assert_int_equal(gain(&word, C, 1), -EUCLEAN);
}

/* A snapshot of A: what memos know of A is not so any more, whose next root is another one. */
static void snapshots_have_what_their_source_has(void **state)
{
	const uint64_t both[] = { A, C };
	uint32_t word = LIVE_WORD_NONE;
	uint32_t other = LIVE_WORD_NONE;
	uint64_t bytes;

	(void)state;
	assert_int_equal(gain(&word, A, 1), 0);
	assert_int_equal(live_ledger_snapshot(ledger, A, C, NULL, 0), 0);
	assert_int_equal(live_ledger_finish(ledger), 0);
	usage_assert(A, BYTES, 0);
	usage_assert(C, BYTES, 0);
	assert_int_equal(gain(&other, A, 1), 0);
	usage_assert(A, 2 * BYTES, BYTES);
	usage_assert(C, BYTES, 0);
	assert_int_equal(live_ledger_reclaimable(ledger, both, 1, &bytes), 0);
	assert_int_equal(bytes, BYTES);
	assert_int_equal(live_ledger_reclaimable(ledger, both, 2, &bytes), 0);
	assert_int_equal(bytes, 2 * BYTES);
	assert_int_equal(gain(&word, A, -1), 0);
	usage_assert(C, BYTES, BYTES);
	usage_assert(A, BYTES, BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_root_gains_and_loses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(layers_come_and_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_layers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_root_loses_what_it_has_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_extent_is_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_extent_is_gone_too_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_root_is_not_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(snapshots_have_what_their_source_has, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
