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
#include "core/delayed/batch.h"
#include "tests/support/batch_input.h"
#include "tests/support/threads.h"

#define MIB (UINT64_C(1) << 20)

/* The order that is asked for, said once more. */
static int reference_compare(const void *a, const void *b)
{
	const struct rs_delta *one = a;
	const struct rs_delta *two = b;
	int order = (int)(one->bytenr / MIB % 64) - (int)(two->bytenr / MIB % 64);

	if (!order)
		order = delta_order(one, two);
	if (order)
		return order;
	return (rs_delta_seq(one) > rs_delta_seq(two)) - (rs_delta_seq(one) < rs_delta_seq(two));
}

/* Sums of all that have one key and one group. */
struct sums {
	int64_t count;
	unsigned __int128 reserved;
	uint64_t count_total; /* without signs: whether any order of additions fits */
	uint32_t length;
	size_t deltas;
};

static void sums_take(struct sums *sums, const struct rs_delta *delta)
{
	int64_t count = delta->count;

	sums->count += count;
	sums->count_total += (uint64_t)(count < 0 ? -count : count);
	if (delta_is_root(delta))
		sums->reserved += delta->reserved;
	if (delta->length_4k > sums->length)
		sums->length = delta->length_4k;
	sums->deltas++;
}

static size_t sums_run(const struct rs_delta *deltas, size_t at, size_t count, struct sums *sums)
{
	size_t first = at;

	memset(sums, 0, sizeof(*sums));
	for (; at < count && !reference_compare(&deltas[first], &deltas[at]); at++)
		sums_take(sums, &deltas[at]);
	return at;
}

static bool sums_equal(const struct sums *wanted, const struct sums *found)
{
	bool fits = wanted->count_total <= INT32_MAX && wanted->reserved <= UINT64_MAX;

	if (found->count != wanted->count || found->reserved != wanted->reserved ||
	    found->deltas > wanted->deltas)
		return false;
	if (!fits)
		return true;
	return found->deltas == (wanted->count || wanted->reserved) &&
	       (!found->deltas || found->length == wanted->length);
}

/*
 * Lays `wanted`, sorted, beside the entries: the same sums for every key, and no keys besides.
 * Returns how many entries are wrong.
 */
static size_t compare_all(const struct rs_delta *wanted, size_t wanted_count,
			  const struct rs_delta *found, size_t found_count)
{
	size_t wrong = 0;
	size_t next = 0;
	size_t at = 0;

	while (at < wanted_count) {
		const struct rs_delta *first = &wanted[at];
		struct sums wanted_sums;
		struct sums found_sums = { 0 };

		at = sums_run(wanted, at, wanted_count, &wanted_sums);
		if (next < found_count && !reference_compare(first, &found[next]))
			next = sums_run(found, next, found_count, &found_sums);
		wrong += !sums_equal(&wanted_sums, &found_sums);
	}
	return wrong + (found_count - next);
}

static size_t check_parts(const struct rs_delta *entries, const size_t *begin)
{
	size_t wrong = begin[0] != 0;
	unsigned part;
	size_t at;

	for (part = 0; part < DELTA_PARTS; part++)
		for (at = begin[part]; at < begin[part + 1]; at++) {
			wrong += delta_part(entries[at].bytenr) != part;
			wrong += delta_is_empty(&entries[at]);
			wrong += at && reference_compare(&entries[at - 1], &entries[at]) > 0;
		}
	return wrong;
}

/* Sorted copies of the back references, and behind them of the root deltas, with their groups' numbers. */
static size_t reference_make(const struct batch_input *input, struct rs_delta *wanted)
{
	size_t refs = 0;
	size_t roots = input->count;
	size_t at;

	for (at = 0; at < input->count; at++) {
		struct rs_delta delta = input->deltas[at];

		delta.seq_type = sequence_group(&input->groups, rs_delta_seq(&delta)) << 8 |
				 rs_delta_type(&delta);
		wanted[delta_is_root(&delta) ? --roots : refs++] = delta;
	}
	qsort(wanted, refs, sizeof(*wanted), reference_compare);
	qsort(wanted + refs, input->count - refs, sizeof(*wanted), reference_compare);
	return refs;
}

static size_t check_result(const struct batch_input *input, const struct batch_result *result)
{
	struct rs_delta *wanted = malloc((input->count + 1) * sizeof(*wanted));
	size_t found_refs = result->ref_begin[DELTA_PARTS];
	size_t found_roots = result->root_begin[DELTA_PARTS];
	size_t wrong;
	size_t refs;

	assert_non_null(wanted);
	refs = reference_make(input, wanted);
	wrong = check_parts(result->refs, result->ref_begin);
	wrong += check_parts(result->roots, result->root_begin);
	wrong += compare_all(wanted, refs, result->refs, found_refs);
	wrong += compare_all(wanted + refs, input->count - refs, result->roots, found_roots);
	wrong += result->merged != input->count - found_refs - found_roots;
	free(wanted);
	return wrong;
}

#define GUARD 0x5a

static void merge_and_check(struct batch *batch, const struct batch_input *input, const char *name)
{
	size_t bytes = input->count * sizeof(struct rs_delta);
	unsigned char *room = malloc(bytes + 64);
	struct rs_delta *before = malloc(bytes + 1);
	struct batch_result result;
	size_t wrong;
	size_t at;

	assert_non_null(room);
	assert_non_null(before);
	memcpy(before, input->deltas, bytes);
	memset(room, GUARD, bytes + 64);
	/* Not always aligned to more than a delta has to be. */
	assert_int_equal(batch_merge(batch, &input->groups, input->spans, input->span_count,
				     (struct rs_delta *)(void *)(room + input->count % 2 * 8),
				     &result),
			 0);
	wrong = check_result(input, &result);
	for (at = bytes + input->count % 2 * 8; at < bytes + 64; at++)
		wrong += room[at] != GUARD;
	wrong += !!memcmp(before, input->deltas, bytes);
	if (wrong)
		fail_msg("%s: %zu wrong of %zu deltas", name, wrong, input->count);
	free(before);
	free(room);
}

#define LARGEST 300000U

/* All with one batch, so that each finds the memory of the ones before. */
static void batch_like_the_reference(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 25, 300, 5000, 40000, LARGEST, 1000 };
	uint64_t seed = threads_data_seed("batch_like_the_reference");
	static struct batch_input input;
	struct batch *batch;
	size_t shape;
	size_t at;

	(void)state;
	assert_int_equal(batch_create(&batch), 0);
	for (at = 0; at < sizeof(counts) / sizeof(counts[0]); at++)
		for (shape = 0; shape < BATCH_SHAPES; shape++) {
			struct batch_shape sized = batch_shapes[shape];

			/* The largest take long: some of them each time, by the seed. */
			if (counts[at] == LARGEST && (shape + seed) % 3)
				continue;
			sized.count = counts[at];
			batch_input_make(&input, &sized, seed + shape);
			merge_and_check(batch, &input, sized.name);
			free(input.deltas);
		}
	batch_destroy(batch);
}

/* Shapes and sizes by chance, many and small. */
static void batch_of_chance(void **state)
{
	uint64_t seed = threads_data_seed("batch_of_chance");
	static struct batch_input input;
	struct random_state random;
	struct batch *batch;
	unsigned round;

	(void)state;
	random_state_seed(&random, seed, 1);
	assert_int_equal(batch_create(&batch), 0);
	for (round = 0; round < 400; round++) {
		struct batch_shape shape = batch_shapes[random_state_below(&random, BATCH_SHAPES)];

		shape.count =
			random_state_below(&random, UINT64_C(1) << random_state_below(&random, 15));
		shape.extents =
			1 +
			random_state_below(&random, UINT64_C(1) << random_state_below(&random, 20));
		shape.roots = random_state_below(&random, 1000);
		shape.refs_in = (unsigned)random_state_below(&random, 5);
		shape.whole_in = (unsigned)random_state_below(&random, 10);
		shape.seqs = random_state_below(&random, 300);
		batch_input_make(&input, &shape, seed + round);
		merge_and_check(batch, &input, shape.name);
		free(input.deltas);
	}
	batch_destroy(batch);
}

/* Strange in one field or in all; each of any magnitude. */
static void make_outlier(struct rs_delta *delta, struct random_state *random)
{
	uint64_t field = random_state_below(random, 6);
	uint64_t value = random_state_next(random) >> random_state_below(random, 64);

	if (!field || field == 1)
		delta->bytenr = value & ~UINT64_C(4095);
	if (!field || field == 2)
		delta->root = random_state_below(random, 2) ? value : ~value;
	if (!field || field == 3)
		delta->length_4k = (uint32_t)value;
	if (!field || field == 4)
		delta->count = (int32_t)(random_state_below(random, 2) ? value : ~value);
	if (!field || field == 5)
		delta->reserved = random_state_below(random, 2) * value;
}

/* What the sample cannot know: strange ones among many of one kind, from one place on. */
static void batch_with_outliers(void **state)
{
	uint64_t seed = threads_data_seed("batch_with_outliers");
	static struct batch_input input;
	struct random_state random;
	struct batch *batch;
	size_t at;

	(void)state;
	random_state_seed(&random, seed, 1);
	assert_int_equal(batch_create(&batch), 0);
	for (unsigned round = 0; round < 8; round++) {
		struct batch_shape shape = batch_shapes[0];
		uint64_t one_in = UINT64_C(4) << 2 * round;

		shape.count = 100000;
		shape.base = UINT64_C(1) << 40;
		batch_input_make(&input, &shape, seed + round);
		for (at = 0; at < input.count; at++) {
			struct rs_delta *delta = &input.deltas[at];

			if (random_state_below(&random, one_in))
				continue;
			make_outlier(delta, &random);
		}
		merge_and_check(batch, &input, "outliers");
		free(input.deltas);
	}
	batch_destroy(batch);
}

/* So many that what is written goes past the cache, and a part has several pieces. */
static void batch_of_many(void **state)
{
	static const struct batch_shape shapes[] = {
		/* Hardly two of one key, so that the room of a piece's entries is used to its end. */
		{ .name = "many that do not merge",
		  .count = 360000,
		  .extents = 1440000,
		  .stride = 4096,
		  .roots = 3,
		  .root_step = 1,
		  .groups = 1,
		  .count_max = 1 },
		{ .name = "many, packed",
		  .count = 1100000,
		  .extents = 20000,
		  .stride = 65536,
		  .roots = 9,
		  .root_step = 1,
		  .groups = 1,
		  .count_max = 1 },
		{ .name = "many, of all kinds",
		  .count = 1100000,
		  .extents = 400000,
		  .stride = 4096,
		  .base = UINT64_C(1) << 40,
		  .roots = 300,
		  .root_step = 1,
		  .whole_in = 50,
		  .refs_in = 4,
		  .keys = 1000,
		  .groups = 1,
		  .count_max = 1 },
	};
	uint64_t seed = threads_data_seed("batch_of_many");
	static struct batch_input input;
	struct random_state random;
	struct batch *batch;
	unsigned round;
	size_t at;

	(void)state;
	random_state_seed(&random, seed, 1);
	assert_int_equal(batch_create(&batch), 0);
	for (round = 0; round < sizeof(shapes) / sizeof(shapes[0]); round++) {
		batch_input_make(&input, &shapes[round], seed);
		for (at = 0; at < input.count && shapes[round].whole_in;
		     at += 1 + random_state_below(&random, 2000))
			make_outlier(&input.deltas[at], &random);
		merge_and_check(batch, &input, shapes[round].name);
		free(input.deltas);
	}
	batch_destroy(batch);
}

/* Types without a name, and addresses within a sector: nobody has them, and they are kept apart. */
static void batch_with_strange_ones(void **state)
{
	uint64_t seed = threads_data_seed("batch_with_strange_ones");
	static struct batch_input input;
	struct random_state random;
	struct batch *batch;
	size_t at;

	(void)state;
	random_state_seed(&random, seed, 1);
	assert_int_equal(batch_create(&batch), 0);
	for (unsigned round = 0; round < 6; round++) {
		struct batch_shape shape = batch_shapes[round];

		shape.count = 20000;
		shape.extents = round & 1 ? 3 : 1000;
		batch_input_make(&input, &shape, seed + round);
		for (at = 0; at < input.count; at++) {
			struct rs_delta *delta = &input.deltas[at];

			delta->bytenr += random_state_below(&random, 3) * 1234;
			delta->seq_type = (delta->seq_type & ~UINT64_C(0xff)) |
					  random_state_below(&random, 256);
		}
		merge_and_check(batch, &input, "strange");
		free(input.deltas);
	}
	batch_destroy(batch);
}

/* Each allocation of a merge fails once; the next try finds all as it was. */
static void batch_without_memory(void **state)
{
	static struct batch_input input;
	struct batch_shape shape = batch_shapes[3];
	struct batch_result result;
	struct rs_delta *entries;
	struct batch *batch;
	unsigned failures = 0;
	int ret;

	(void)state;
	alloc_fail_arm(1, 0);
	assert_int_equal(batch_create(&batch), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_int_equal(batch_create(&batch), 0);
	shape.count = 60000;
	batch_input_make(&input, &shape, 1);
	entries = malloc(input.count * sizeof(*entries));
	assert_non_null(entries);
	for (unsigned nth = 1;; nth++) {
		alloc_fail_arm(nth, 0);
		ret = batch_merge(batch, &input.groups, input.spans, input.span_count, entries,
				  &result);
		assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
		alloc_fail_arm(0, 0);
		if (!ret)
			break;
		failures++;
		merge_and_check(batch, &input, "after a failure");
		/* The next one is to need memory again. */
		batch_destroy(batch);
		assert_int_equal(batch_create(&batch), 0);
	}
	assert_true(failures >= 10);
	assert_int_equal(check_result(&input, &result), 0);
	/* What is there is enough for the same once more. */
	alloc_fail_arm(1, 1);
	merge_and_check(batch, &input, "again");
	assert_int_equal(alloc_fail_count(), 0);
	alloc_fail_arm(0, 0);
	batch_destroy(batch);
	free(entries);
	free(input.deltas);
}

/* Opposite deltas on both sides of a cut stay; inside of one group they cancel. */
static void batch_groups_stay_apart(void **state)
{
	struct sequence_groups groups = { .count = 2, .last = { 5, 9 } };
	struct rs_delta deltas[] = {
		{ .bytenr = 4096, .root = 5, .count = 1, .seq_type = 4 << 8 | RS_DELTA_ROOT },
		{ .bytenr = 4096, .root = 5, .count = -1, .seq_type = 6 << 8 | RS_DELTA_ROOT },
		{ .bytenr = 4096, .root = 6, .count = 1, .seq_type = 6 << 8 | RS_DELTA_ROOT },
		{ .bytenr = 4096, .root = 6, .count = -1, .seq_type = 9 << 8 | RS_DELTA_ROOT },
		{ .bytenr = 4096,
		  .root = 7,
		  .count = 1,
		  .seq_type = 5 << 8 | RS_DELTA_TREE_BLOCK_REF },
		{ .bytenr = 4096,
		  .root = 7,
		  .count = -1,
		  .seq_type = 6 << 8 | RS_DELTA_TREE_BLOCK_REF },
	};
	struct batch_span span = { deltas, 6 };
	struct rs_delta entries[6];
	struct batch_result result;
	struct batch *batch;

	(void)state;
	assert_int_equal(batch_create(&batch), 0);
	assert_int_equal(batch_merge(batch, &groups, &span, 1, entries, &result), 0);
	assert_int_equal(result.root_begin[DELTA_PARTS], 2);
	assert_int_equal(result.roots[0].count, 1);
	assert_int_equal(rs_delta_seq(&result.roots[0]), 5);
	assert_int_equal(result.roots[1].count, -1);
	assert_int_equal(rs_delta_seq(&result.roots[1]), 9);
	assert_int_equal(result.ref_begin[DELTA_PARTS], 2);
	assert_int_equal(rs_delta_seq(&result.refs[0]), 5);
	assert_int_equal(rs_delta_seq(&result.refs[1]), 9);
	assert_int_equal(result.merged, 2);
	batch_destroy(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batch_groups_stay_apart),
		cmocka_unit_test(batch_like_the_reference),
		cmocka_unit_test(batch_of_chance),
		cmocka_unit_test(batch_with_outliers),
		cmocka_unit_test(batch_of_many),
		cmocka_unit_test(batch_with_strange_ones),
		cmocka_unit_test(batch_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
