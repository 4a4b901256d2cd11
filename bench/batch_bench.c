// SPDX-License-Identifier: MIT
/* What merging a batch costs: root deltas and back references, spread and clustered, small and large. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/shim.h"
#include "core/base/random.h"
#include "core/delayed/batch.h"

#define SEGMENT 680U /* deltas of a span */
#define ROOTS 300U
#define HOT_ROOTS 5000U
#define SMALL (UINT64_C(1) << 16)
#define MIDDLE (UINT64_C(1) << 20)
#define LARGE (UINT64_C(1) << 24)
#define TINY UINT64_C(300)

typedef void make_fn(struct random_state *random, uint64_t at, uint64_t extents,
		     struct rs_delta *delta);

/* Shared by all variants, one after the other: the memory of the largest is touched once. */
static struct {
	struct rs_delta *deltas;
	struct rs_delta *entries;
	struct batch_span *spans;
	size_t room;
	size_t span_count;
	make_fn *made; /* what the deltas are now */
	uint64_t made_count;
	int64_t sum; /* of their counts */
} input;

static uint64_t extent_bytenr(uint64_t extent)
{
	return (extent + 4096) * 4096;
}

static void root_delta(struct random_state *random, uint64_t extent, uint64_t roots,
		       struct rs_delta *delta)
{
	delta->bytenr = extent_bytenr(extent);
	delta->root = 256 + random_state_below(random, roots);
	delta->count = random_state_next(random) & 1 ? 1 : -1;
	delta->length_4k = 1;
	delta->seq_type = 7 << 8 | RS_DELTA_ROOT;
}

static void make_uniform(struct random_state *random, uint64_t at, uint64_t extents,
			 struct rs_delta *delta)
{
	(void)at;
	root_delta(random, random_state_below(random, extents), ROOTS, delta);
}

static uint64_t zipf(struct random_state *random, uint64_t extents)
{
	double part = (double)(random_state_next(random) >> 11) / (double)(UINT64_C(1) << 53);

	return (uint64_t)exp(part * log((double)extents)) - 1;
}

/* The most used are neighbours too. */
static void make_zipf(struct random_state *random, uint64_t at, uint64_t extents,
		      struct rs_delta *delta)
{
	(void)at;
	root_delta(random, zipf(random, extents), ROOTS, delta);
}

/* Runs of 64 neighbours, each with several roots at once. */
static void make_runs(struct random_state *random, uint64_t at, uint64_t extents,
		      struct rs_delta *delta)
{
	static uint64_t first;
	uint64_t root;

	if (at % 512 == 0)
		first = random_state_below(random, extents / 64) * 64;
	root_delta(random, first + at / 8 % 64, 1, delta);
	root = first / 64 % ROOTS;
	delta->root = 256 + root + at % 8;
}

/* Every other one is of a single extent. */
static void make_hot(struct random_state *random, uint64_t at, uint64_t extents,
		     struct rs_delta *delta)
{
	if (at & 1)
		root_delta(random, extents / 2, HOT_ROOTS, delta);
	else
		root_delta(random, random_state_below(random, extents), ROOTS, delta);
}

static void ref_delta(struct random_state *random, uint64_t extent, struct rs_delta *delta)
{
	enum rs_delta_type type = random_state_below(random, 4) ? RS_DELTA_EXTENT_DATA_REF :
								  RS_DELTA_SHARED_DATA_REF;

	root_delta(random, extent, ROOTS, delta);
	delta->seq_type = 7 << 8 | type;
	if (type == RS_DELTA_SHARED_DATA_REF) {
		delta->parent = (UINT64_C(1) << 40) + random_state_below(random, 1 << 20) * 16384;
		return;
	}
	delta->owner = 257 + random_state_below(random, 100000);
	delta->offset = random_state_below(random, 1 << 18) * 4096;
}

static void make_refs(struct random_state *random, uint64_t at, uint64_t extents,
		      struct rs_delta *delta)
{
	(void)at;
	ref_delta(random, random_state_below(random, extents), delta);
}

static void make_refs_zipf(struct random_state *random, uint64_t at, uint64_t extents,
			   struct rs_delta *delta)
{
	(void)at;
	ref_delta(random, zipf(random, extents), delta);
}

/* As an overwrite records them: a root delta beside each back reference. */
static void make_mixed(struct random_state *random, uint64_t at, uint64_t extents,
		       struct rs_delta *delta)
{
	static uint64_t extent;

	if (at & 1) {
		root_delta(random, extent, ROOTS, delta);
		return;
	}
	extent = random_state_below(random, extents);
	ref_delta(random, extent, delta);
}

static bool input_reserve(uint64_t count)
{
	if (count <= input.room)
		return true;
	free(input.deltas);
	free(input.entries);
	free(input.spans);
	memset(&input, 0, sizeof(input));
	input.deltas = malloc(count * sizeof(*input.deltas));
	input.entries = malloc(count * sizeof(*input.entries));
	input.spans = malloc((count / SEGMENT + 1) * sizeof(*input.spans));
	if (!input.deltas || !input.entries || !input.spans)
		return false;
	memset(input.entries, 0, count * sizeof(*input.entries));
	input.room = count;
	return true;
}

/* A benchmark is run several times, with more iterations each time: its input is made once. */
static bool input_make(make_fn *make, uint64_t count)
{
	struct random_state random;
	uint64_t at;

	if (input.made == make && input.made_count == count)
		return true;
	if (!input_reserve(count))
		return false;
	random_state_seed(&random, 1, 0);
	input.sum = 0;
	memset(input.deltas, 0, count * sizeof(*input.deltas));
	for (at = 0; at < count; at++) {
		make(&random, at, count, &input.deltas[at]);
		input.sum += input.deltas[at].count;
	}
	input.span_count = 0;
	for (at = 0; at < count; at += SEGMENT) {
		struct batch_span *span = &input.spans[input.span_count++];

		span->first = input.deltas + at;
		span->count = count - at < SEGMENT ? count - at : SEGMENT;
	}
	/* Segments come in the order in which they were filled, which is not that of their addresses. */
	for (at = input.span_count - 1; at; at--) {
		uint64_t other = random_state_below(&random, at + 1);
		struct batch_span swap = input.spans[at];

		input.spans[at] = input.spans[other];
		input.spans[other] = swap;
	}
	input.made = make;
	input.made_count = count;
	return true;
}

/* Sorted, in their part, not empty; adds up the counts. */
static bool entries_right(const struct rs_delta *entries, const size_t *begin, int64_t *sum)
{
	bool right = true;
	unsigned part;
	size_t at;

	for (part = 0; part < DELTA_PARTS; part++)
		for (at = begin[part]; at < begin[part + 1]; at++) {
			right &= delta_part(entries[at].bytenr) == part;
			right &= !delta_is_empty(&entries[at]);
			right &= at == begin[part] ||
				 delta_order(&entries[at - 1], &entries[at]) < 0;
			*sum += entries[at].count;
		}
	return right;
}

static void merge(struct bench_state *state, make_fn *make, uint64_t count)
{
	struct sequence_groups groups = { .count = 1, .last = { 9 } };
	struct batch_result result;
	struct batch *batch = NULL;
	uint64_t done = 0;
	int64_t sum = 0;
	int ret;

	if (!input_make(make, count) || batch_create(&batch)) {
		bench_fail(state, "no memory");
		return;
	}
	/* Touches the memory that the batch keeps. */
	ret = batch_merge(batch, &groups, input.spans, input.span_count, input.entries, &result);
	while (bench_running(state)) {
		ret |= batch_merge(batch, &groups, input.spans, input.span_count, input.entries,
				   &result);
		done += count;
	}
	if (ret || !entries_right(result.refs, result.ref_begin, &sum) ||
	    !entries_right(result.roots, result.root_begin, &sum) || sum != input.sum)
		bench_fail(state, "the entries are not what the deltas add up to");
	bench_done(state, "delta", done);
	batch_destroy(batch);
}

#define VARIANT(name, make, count)                                                                 \
	static void name(struct bench_state *state)                                                \
	{                                                                                          \
		merge(state, make, count);                                                         \
	}

VARIANT(uniform_tiny, make_uniform, TINY)
VARIANT(uniform_small, make_uniform, SMALL)
VARIANT(uniform_large, make_uniform, LARGE)
VARIANT(uniform_middle, make_uniform, MIDDLE)
VARIANT(refs_middle, make_refs, MIDDLE)
VARIANT(zipf_small, make_zipf, SMALL)
VARIANT(zipf_large, make_zipf, LARGE)
VARIANT(runs_small, make_runs, SMALL)
VARIANT(runs_large, make_runs, LARGE)
VARIANT(hot_small, make_hot, SMALL)
VARIANT(hot_large, make_hot, LARGE)
VARIANT(refs_tiny, make_refs, TINY)
VARIANT(refs_small, make_refs, SMALL)
VARIANT(refs_large, make_refs, LARGE)
VARIANT(refs_zipf_small, make_refs_zipf, SMALL)
VARIANT(refs_zipf_large, make_refs_zipf, LARGE)
VARIANT(mixed_small, make_mixed, SMALL)
VARIANT(mixed_large, make_mixed, LARGE)

void bench_register_batch(void)
{
	/* Large ones side by side, so that the memory grows once. */
	bench_register("merge/batch/roots/uniform/16Mi", uniform_large, 1);
	bench_register("merge/batch/roots/clustered/zipf/16Mi", zipf_large, 1);
	bench_register("merge/batch/roots/clustered/runs/16Mi", runs_large, 1);
	bench_register("merge/batch/roots/clustered/hot/16Mi", hot_large, 1);
	bench_register("merge/batch/refs/uniform/16Mi", refs_large, 1);
	bench_register("merge/batch/refs/zipf/16Mi", refs_zipf_large, 1);
	bench_register("merge/batch/mixed/uniform/16Mi", mixed_large, 1);
	bench_register("merge/batch/roots/uniform/1Mi", uniform_middle, 1);
	bench_register("merge/batch/refs/uniform/1Mi", refs_middle, 1);
	bench_register("merge/batch/roots/uniform/64Ki", uniform_small, 1);
	bench_register("merge/batch/roots/clustered/zipf/64Ki", zipf_small, 1);
	bench_register("merge/batch/roots/clustered/runs/64Ki", runs_small, 1);
	bench_register("merge/batch/roots/clustered/hot/64Ki", hot_small, 1);
	bench_register("merge/batch/refs/uniform/64Ki", refs_small, 1);
	bench_register("merge/batch/refs/zipf/64Ki", refs_zipf_small, 1);
	bench_register("merge/batch/mixed/uniform/64Ki", mixed_small, 1);
	bench_register("merge/batch/roots/uniform/300", uniform_tiny, 1);
	bench_register("merge/batch/refs/uniform/300", refs_tiny, 1);
}
