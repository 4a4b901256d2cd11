/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/delayed/head.h"
#include "tests/support/delta_model.h"
#include "tests/support/threads.h"

#define SEEN_MAX 4096

/* What a runner was given. */
struct seen {
	struct rs_delta entries[SEEN_MAX];
	size_t count;
	size_t refs; /* of the last head */
	size_t roots;
	uint64_t bytenr;
	uint64_t transaction;
	unsigned calls;
	unsigned broken;
	int result; /* what the runner returns; then it keeps nothing */
};

static int seen_run(void *argument, const struct rs_head *head)
{
	struct seen *seen = argument;
	size_t at;

	seen->calls++;
	seen->broken += !delta_head_is_well_formed(head);
	if (seen->result)
		return seen->result;
	seen->bytenr = head->bytenr;
	seen->transaction = head->transaction;
	seen->refs = head->ref_count;
	seen->roots = head->root_count;
	for (at = 0; at < head->ref_count && seen->count < SEEN_MAX; at++)
		seen->entries[seen->count++] = head->refs[at];
	for (at = 0; at < head->root_count && seen->count < SEEN_MAX; at++)
		seen->entries[seen->count++] = head->roots[at];
	return 0;
}

static struct rs_delta delta_make(uint64_t bytenr, enum rs_delta_type type, uint64_t root,
				  int32_t count)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = root,
		.count = count,
		.length_4k = 1,
		.seq_type = UINT64_C(7) << 8 | (uint64_t)type,
	};
}

static struct rs_delta delta_reserving(uint64_t bytenr, uint64_t root, int32_t count,
				       uint64_t reserved)
{
	struct rs_delta delta = delta_make(bytenr, RS_DELTA_ROOT, root, count);

	delta.reserved = reserved;
	return delta;
}

static void take_all(struct head_stream *stream, const struct rs_delta *deltas, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++)
		assert_int_equal(head_stream_take(stream, &deltas[at]), 0);
}

/* One extent's deltas, with no more than one of a key, come out in the order of the header. */
static void head_order_of_entries(void **state)
{
	const struct rs_delta deltas[] = {
		delta_make(4096, RS_DELTA_ROOT, 5, -1),
		delta_make(4096, RS_DELTA_ROOT, 256, 1),
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, -1),
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 6, 1),
		delta_make(4096, RS_DELTA_EXTENT_DATA_REF, 1, -2),
		delta_make(4096, RS_DELTA_EXTENT_DATA_REF, 2, 3),
		delta_make(4096, RS_DELTA_SHARED_DATA_REF, 1, -1),
	};
	static const unsigned order[] = { 3, 5, 2, 4, 6, 0, 1 };
	struct rs_run_result result = { 0 };
	struct seen seen = { .count = 0 };
	struct head_stream stream;
	size_t at;

	(void)state;
	head_stream_init(&stream, seen_run, &seen, 42, &result);
	take_all(&stream, deltas, 7);
	assert_int_equal(seen.calls, 0);
	assert_int_equal(head_stream_bytenr(&stream), 4096);
	assert_int_equal(head_stream_finish(&stream), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.broken, 0);
	assert_int_equal(seen.bytenr, 4096);
	assert_int_equal(seen.transaction, 42);
	assert_int_equal(seen.refs, 5);
	assert_int_equal(seen.roots, 2);
	for (at = 0; at < 7; at++)
		assert_memory_equal(&seen.entries[at], &deltas[order[at]], sizeof(struct rs_delta));
	assert_int_equal(result.heads, 1);
	assert_int_equal(result.entries, 7);
	assert_int_equal(stream.merged, 0);
	/* Nothing more. */
	assert_int_equal(head_stream_finish(&stream), 0);
	assert_int_equal(seen.calls, 1);
	head_stream_destroy(&stream);
}

struct folding {
	const char *what;
	struct rs_delta deltas[4];
	size_t count;
	struct rs_delta entries[4];
	size_t left;
};

static void head_fold_one(const struct folding *folding)
{
	struct rs_run_result result = { 0 };
	struct seen seen = { .count = 0 };
	struct head_stream stream;
	size_t at;

	print_message("%s\n", folding->what);
	head_stream_init(&stream, seen_run, &seen, 1, &result);
	take_all(&stream, folding->deltas, folding->count);
	assert_int_equal(head_stream_finish(&stream), 0);
	assert_int_equal(seen.calls, folding->left != 0);
	assert_int_equal(result.heads, folding->left != 0);
	assert_int_equal(result.entries, folding->left);
	assert_int_equal(stream.merged, folding->count - folding->left);
	assert_int_equal(seen.count, folding->left);
	for (at = 0; at < folding->left; at++)
		assert_memory_equal(&seen.entries[at], &folding->entries[at],
				    sizeof(struct rs_delta));
	head_stream_destroy(&stream);
}

static void head_folds(void **state)
{
	const struct rs_delta up = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, 1);
	const struct rs_delta down = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, -1);
	const struct rs_delta two = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, 2);
	const struct rs_delta other = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 6, 1);
	const struct rs_delta root = delta_make(4096, RS_DELTA_ROOT, 5, 1);
	const struct rs_delta most = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, INT32_MAX);
	const struct rs_delta least = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, -INT32_MAX);
	struct rs_delta later = up;
	struct rs_delta later_two = two;
	struct rs_delta longer = up;
	struct rs_delta longer_two = two;

	later.seq_type += 9 << 8;
	later_two.seq_type += 9 << 8;
	longer.length_4k = 8;
	longer_two.length_4k = 8;
	(void)state;
	const struct folding table[] = {
		{ "one", { up }, 1, { up }, 1 },
		{ "of one key", { up, up }, 2, { two }, 1 },
		{ "the higher number stays", { up, later }, 2, { later_two }, 1 },
		{ "the larger length stays", { longer, up }, 2, { longer_two }, 1 },
		{ "opposites", { up, down }, 2, { up }, 0 },
		{ "opposites the other way, twice", { down, up, up, down }, 4, { up }, 0 },
		{ "one after opposites", { up, down, up }, 3, { up }, 1 },
		{ "opposites beside another", { up, down, other }, 3, { other }, 1 },
		{ "a root is another key", { root, up }, 2, { up, root }, 2 },
		{ "too much for one", { most, up }, 2, { most, up }, 2 },
		{ "too much, and back", { most, up, down }, 3, { most }, 1 },
		{ "too much, and all back", { most, up, least, down }, 4, { up }, 0 },
		{ "reservations are summed",
		  { delta_reserving(4096, 5, 1, 100), delta_reserving(4096, 5, 1, 11) },
		  2,
		  { delta_reserving(4096, 5, 2, 111) },
		  1 },
		{ "a reservation alone stays",
		  { delta_reserving(4096, 5, 1, 0), delta_reserving(4096, 5, -1, 8) },
		  2,
		  { delta_reserving(4096, 5, 0, 8) },
		  1 },
		{ "reservations too large for one",
		  { delta_reserving(4096, 5, 1, UINT64_MAX), delta_reserving(4096, 5, 1, 1) },
		  2,
		  { delta_reserving(4096, 5, 1, UINT64_MAX), delta_reserving(4096, 5, 1, 1) },
		  2 },
	};
	size_t at;

	for (at = 0; at < sizeof(table) / sizeof(table[0]); at++)
		head_fold_one(&table[at]);
}

/* Each head whose runner fails is whole at the next try; the delta was not taken. */
static void head_runner_fails(void **state)
{
	struct rs_delta deltas[] = {
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, 1),
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, 1),
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 6, 1),
		delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 6, -1),
		delta_make(8192, RS_DELTA_TREE_BLOCK_REF, 5, -1),
	};
	struct rs_run_result result = { .heads = 10, .entries = 20 };
	struct seen seen = { .result = -EIO };
	struct head_stream stream;
	unsigned tries;

	(void)state;
	head_stream_init(&stream, seen_run, &seen, 1, &result);
	take_all(&stream, deltas, 4);
	for (tries = 1; tries < 4; tries++) {
		assert_int_equal(head_stream_take(&stream, &deltas[4]), -EIO);
		assert_int_equal(head_stream_bytenr(&stream), 4096);
		assert_int_equal(seen.calls, tries);
		assert_int_equal(result.heads, 10);
		assert_int_equal(result.entries, 20);
		assert_int_equal(stream.merged, 0);
	}
	seen.result = 0;
	assert_int_equal(head_stream_take(&stream, &deltas[4]), 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.entries[0].count, 2);
	assert_int_equal(stream.merged, 3);
	assert_int_equal(head_stream_bytenr(&stream), 8192);
	seen.result = -ENOSPC;
	assert_int_equal(head_stream_finish(&stream), -ENOSPC);
	seen.result = 0;
	assert_int_equal(head_stream_finish(&stream), 0);
	assert_int_equal(seen.count, 2);
	assert_int_equal(result.heads, 12);
	assert_int_equal(result.entries, 22);
	assert_int_equal(seen.broken, 0);
	head_stream_destroy(&stream);
}

static void head_without_memory(void **state)
{
	struct rs_run_result result = { 0 };
	struct seen seen = { .count = 0 };
	struct head_stream stream;
	unsigned failures = 0;
	uint64_t root;

	(void)state;
	head_stream_init(&stream, seen_run, &seen, 1, &result);
	for (root = 1; root <= 500; root++) {
		struct rs_delta delta = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, root, 1);
		int ret;

		alloc_fail_arm(1, 0);
		ret = head_stream_take(&stream, &delta);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		if (!ret)
			continue;
		failures++;
		assert_int_equal(head_stream_take(&stream, &delta), 0);
	}
	assert_true(failures > 1);
	assert_int_equal(head_stream_finish(&stream), 0);
	assert_int_equal(seen.refs, 500);
	assert_int_equal(seen.broken, 0);
	assert_int_equal(stream.merged, 0);
	head_stream_destroy(&stream);
}

static int compare(const void *a, const void *b)
{
	return delta_order(a, b);
}

/* Random deltas, sorted: what comes out is what the model says. */
static void head_random(void **state)
{
	static struct rs_delta deltas[1000];
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("head_random"), 0);
	for (round = 0; round < 200; round++) {
		size_t count = 1 + random_state_below(&random, 1000);
		unsigned extents = 1 + (unsigned)random_state_below(&random, 60);
		struct rs_run_result result = { 0 };
		static struct seen seen;
		struct head_stream stream;
		struct delta_model model;
		struct delta_nets nets;
		size_t at;

		memset(&seen, 0, sizeof(seen));
		delta_model_init(&model);
		for (at = 0; at < count; at++) {
			delta_random(&random, extents, 1 + random_state_below(&random, 9),
				     &deltas[at]);
			delta_model_add(&model, &deltas[at]);
		}
		qsort(deltas, count, sizeof(deltas[0]), compare);
		head_stream_init(&stream, seen_run, &seen, 1, &result);
		take_all(&stream, deltas, count);
		assert_int_equal(head_stream_finish(&stream), 0);
		delta_model_net(&model, DELTA_MODEL_ALL, UINT64_MAX, false, &nets);
		assert_int_equal(seen.count, nets.count);
		for (at = 0; at < seen.count; at++)
			assert_true(delta_nets_see(&nets, &seen.entries[at]));
		assert_int_equal(seen.broken, 0);
		assert_int_equal(result.heads, seen.calls);
		assert_int_equal(result.entries + stream.merged, count);
		head_stream_destroy(&stream);
		delta_nets_destroy(&nets);
		delta_model_destroy(&model);
	}
}

/* Gathers in any order, into room for `capacity`. */
static void gather_check(const struct rs_delta *deltas, size_t count, size_t capacity)
{
	struct rs_delta *entries = calloc(capacity + 1, sizeof(*entries));
	struct rs_head_pending pending;
	int64_t items = 0;
	int64_t refs = 0;
	uint64_t reserved = 0;
	struct head_gather gather;
	struct delta_model model;
	struct delta_nets nets;
	size_t at;
	int ret;

	assert_non_null(entries);
	delta_model_init(&model);
	head_gather_init(&gather, &pending, entries, capacity);
	for (at = 0; at < count; at++) {
		head_gather_take(&gather, &deltas[at]);
		delta_model_add(&model, &deltas[at]);
	}
	ret = head_gather_finish(&gather);
	delta_model_net(&model, DELTA_MODEL_ALL, UINT64_MAX, false, &nets);
	for (at = 0; at < nets.count; at++) {
		bool root = nets.nets[at].key[1] == RS_DELTA_ROOT;

		*(root ? &items : &refs) += nets.nets[at].count;
		reserved += nets.nets[at].reserved;
	}
	assert_int_equal(pending.items, items);
	assert_int_equal(pending.refs, refs);
	assert_int_equal(pending.reserved, reserved);
	assert_false(pending.running);
	assert_true(pending.entries >= nets.count);
	if (ret) {
		assert_int_equal(ret, -E2BIG);
		assert_true(pending.entries > 0);
	} else {
		assert_int_equal(pending.entries, nets.count);
		for (at = 0; at < nets.count; at++)
			assert_true(delta_nets_see(&nets, &entries[at]));
	}
	if (nets.count > capacity)
		assert_int_equal(ret, -E2BIG);
	delta_nets_destroy(&nets);
	delta_model_destroy(&model);
	free(entries);
}

static void head_gather_truth(void **state)
{
	const struct rs_delta up = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, 1);
	const struct rs_delta down = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 5, -1);
	const struct rs_delta other = delta_make(4096, RS_DELTA_TREE_BLOCK_REF, 4, 1);
	const struct rs_delta root = delta_reserving(4096, 5, -1, 77);
	const struct rs_delta both[] = { up, other, down, root, up };
	struct rs_head_pending pending;
	struct rs_delta entries[3];
	struct head_gather gather;
	unsigned at;

	(void)state;
	gather_check(NULL, 0, 0);
	gather_check(both, 2, 2);
	gather_check(both, 3, 2);
	gather_check(both, 5, 3);
	gather_check(both, 5, 2);
	gather_check(both, 5, 0);
	/* No room at all: sums, and how much room there must be. */
	head_gather_init(&gather, &pending, NULL, 0);
	for (at = 0; at < 5; at++)
		head_gather_take(&gather, &both[at]);
	assert_int_equal(head_gather_finish(&gather), -E2BIG);
	assert_int_equal(pending.refs, 2);
	assert_int_equal(pending.items, -1);
	assert_int_equal(pending.reserved, 77);
	assert_true(pending.entries >= 3);
	/* What went makes room again. */
	head_gather_init(&gather, &pending, entries, 1);
	head_gather_take(&gather, &up);
	head_gather_take(&gather, &down);
	head_gather_take(&gather, &other);
	assert_int_equal(head_gather_finish(&gather), 0);
	assert_int_equal(pending.entries, 1);
	assert_int_equal(entries[0].root, 4);
}

static void head_gather_random(void **state)
{
	static struct rs_delta deltas[300];
	struct random_state random;
	unsigned round;

	(void)state;
	random_state_seed(&random, threads_data_seed("head_gather_random"), 0);
	for (round = 0; round < 500; round++) {
		size_t count = 1 + random_state_below(&random, 300);
		size_t at;

		for (at = 0; at < count; at++)
			delta_random(&random, 1, 1 + random_state_below(&random, 9), &deltas[at]);
		if (round % 2)
			qsort(deltas, count, sizeof(deltas[0]), compare);
		gather_check(deltas, count, 64);
		gather_check(deltas, count, random_state_below(&random, 25));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_order_of_entries), cmocka_unit_test(head_folds),
		cmocka_unit_test(head_runner_fails),     cmocka_unit_test(head_without_memory),
		cmocka_unit_test(head_random),           cmocka_unit_test(head_gather_truth),
		cmocka_unit_test(head_gather_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
