/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/batch_input.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"

#define MIB (UINT64_C(1) << 20)

const struct batch_shape batch_shapes[BATCH_SHAPES] = {
	{ .name = "uniform",
	  .extents = 100000,
	  .stride = 4096,
	  .roots = 300,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1 },
	{ .name = "far apart",
	  .extents = 100000,
	  .stride = 5 * MIB,
	  .roots = 300,
	  .root_step = 1,
	  .groups = 2,
	  .seqs = 6,
	  .count_max = 3 },
	{ .name = "anywhere",
	  .extents = 1000,
	  .roots = 4,
	  .groups = 1,
	  .count_max = 2,
	  .refs_in = 2,
	  .keys = 5 },
	{ .name = "few extents",
	  .extents = 300,
	  .stride = 4096,
	  .base = 3 * MIB,
	  .roots = 700,
	  .root_step = 1,
	  .groups = 3,
	  .seqs = 20,
	  .count_max = 1,
	  .refs_in = 3,
	  .keys = 9 },
	{ .name = "one extent",
	  .extents = 1,
	  .stride = 4096,
	  .base = 17 * MIB,
	  .roots = 5000,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1 },
	{ .name = "one extent, all kinds",
	  .extents = 1,
	  .stride = 4096,
	  .roots = 50,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1,
	  .refs_in = 2,
	  .whole_in = 3,
	  .keys = 50 },
	{ .name = "one extent, keys anywhere",
	  .extents = 1,
	  .stride = 4096,
	  .roots = 5000,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1,
	  .refs_in = 1 },
	{ .name = "one key", .extents = 1, .stride = 4096, .roots = 1, .groups = 1, .count_max = 1 },
	{ .name = "one key, extreme",
	  .extents = 1,
	  .stride = 4096,
	  .roots = 1,
	  .groups = 1,
	  .count_max = 1,
	  .extreme = true,
	  .whole_in = 3 },
	{ .name = "sequential",
	  .extents = 1000000,
	  .stride = 4096,
	  .roots = 40,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1,
	  .sequential = true },
	{ .name = "skewed",
	  .extents = 100000,
	  .stride = 4096,
	  .roots = 5000,
	  .root_step = 1,
	  .groups = 2,
	  .seqs = 4,
	  .count_max = 1,
	  .skewed = true },
	{ .name = "skewed refs",
	  .extents = 100000,
	  .stride = 16384,
	  .roots = 300,
	  .root_step = 1,
	  .groups = 2,
	  .seqs = 4,
	  .count_max = 1,
	  .skewed = true,
	  .refs_in = 1,
	  .keys = 100 },
	{ .name = "full keys",
	  .extents = 30000,
	  .stride = 4096,
	  .roots = 300,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 4,
	  .refs_in = 1,
	  .keys = 1000000 },
	{ .name = "roots anywhere", .extents = 3000, .stride = 4096, .groups = 1, .count_max = 1 },
	{ .name = "few roots, far apart",
	  .extents = 900,
	  .stride = 4096,
	  .roots = 3,
	  .root_step = UINT64_MAX / 3,
	  .groups = 1,
	  .count_max = 1,
	  .refs_in = 4,
	  .keys = 2 },
	{ .name = "reservations",
	  .extents = 5000,
	  .stride = 4096,
	  .roots = 9,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 1,
	  .whole_in = 4 },
	{ .name = "extreme",
	  .extents = 2000,
	  .stride = 8192,
	  .roots = 9,
	  .root_step = 1,
	  .groups = 2,
	  .seqs = 5,
	  .extreme = true,
	  .whole_in = 5,
	  .refs_in = 2,
	  .keys = 3 },
	{ .name = "wide counts",
	  .extents = 2000,
	  .stride = 4096,
	  .roots = 9,
	  .root_step = 1,
	  .groups = 1,
	  .count_max = 100000 },
	{ .name = "many groups",
	  .extents = 200,
	  .stride = 4096,
	  .roots = 9,
	  .root_step = 1,
	  .groups = 256,
	  .seqs = 2000,
	  .count_max = 1,
	  .refs_in = 3,
	  .keys = 2 },
	{ .name = "no groups",
	  .extents = 200,
	  .stride = 4096,
	  .roots = 3,
	  .root_step = 1,
	  .seqs = 70,
	  .count_max = 1,
	  .refs_in = 3,
	  .keys = 2 },
	{ .name = "each a group",
	  .extents = 20,
	  .stride = 4096,
	  .roots = 3,
	  .root_step = 1,
	  .seqs = 100000,
	  .count_max = 1,
	  .refs_in = 3,
	  .keys = 2 },
};

static uint64_t make_bytenr(const struct batch_shape *shape, struct random_state *random, size_t at)
{
	uint64_t extent = shape->sequential ? at % shape->extents :
					      random_state_below(random, shape->extents);

	if (shape->skewed && random_state_below(random, 2))
		extent = 0;
	if (shape->stride)
		return shape->base + extent * shape->stride;
	/* The same for the same extent, and spread over all of the addresses. */
	return ((extent + 1) * UINT64_C(0x9e3779b97f4a7c15)) & ~(uint64_t)(RS_DELTA_UNIT - 1);
}

static uint64_t make_key(struct random_state *random, uint64_t keys, uint64_t step)
{
	return keys ? random_state_below(random, keys) * step : random_state_next(random);
}

static void make_ref(const struct batch_shape *shape, struct random_state *random,
		     struct rs_delta *delta, uint64_t seq)
{
	static const enum rs_delta_type types[] = {
		RS_DELTA_TREE_BLOCK_REF,
		RS_DELTA_EXTENT_DATA_REF,
		RS_DELTA_SHARED_BLOCK_REF,
		RS_DELTA_SHARED_DATA_REF,
	};
	enum rs_delta_type type = types[random_state_below(random, 4)];

	delta->seq_type = seq << 8 | type;
	if (type == RS_DELTA_SHARED_BLOCK_REF || type == RS_DELTA_SHARED_DATA_REF)
		delta->parent = make_key(random, shape->keys, 16384);
	if (type == RS_DELTA_EXTENT_DATA_REF)
		delta->offset = make_key(random, shape->keys, 4096);
	if (type == RS_DELTA_EXTENT_DATA_REF || type == RS_DELTA_TREE_BLOCK_REF)
		delta->owner = make_key(random, shape->keys, 1);
}

static int32_t make_count(const struct batch_shape *shape, struct random_state *random)
{
	static const int32_t counts[] = { INT32_MAX, INT32_MIN, 1, -1, 0, INT32_MAX - 1 };
	int32_t count;

	if (shape->extreme)
		return counts[random_state_below(random, 6)];
	count = 1 + (int32_t)random_state_below(random, shape->count_max);
	return random_state_below(random, 2) ? count : -count;
}

static void make_delta(const struct batch_shape *shape, struct random_state *random, size_t at,
		       struct rs_delta *delta)
{
	uint64_t seq = 1 + (shape->seqs ? random_state_below(random, shape->seqs) : 0);

	memset(delta, 0, sizeof(*delta));
	delta->bytenr = make_bytenr(shape, random, at);
	delta->length_4k = (uint32_t)(delta->bytenr >> 12) % 31 + 1;
	delta->count = make_count(shape, random);
	delta->root = make_key(random, shape->roots, shape->root_step ? shape->root_step : 1);
	if (shape->root_step == 1)
		delta->root += 256;
	if (shape->refs_in && !random_state_below(random, shape->refs_in)) {
		make_ref(shape, random, delta, seq);
		return;
	}
	delta->seq_type = seq << 8 | RS_DELTA_ROOT;
	if (shape->whole_in && !random_state_below(random, shape->whole_in))
		delta->reserved = shape->extreme ? UINT64_MAX - random_state_below(random, 3) :
						   4096 * random_state_below(random, 3);
}

static void make_groups(const struct batch_shape *shape, struct sequence_groups *groups)
{
	unsigned at;

	groups->count = shape->groups;
	/* What is past the last of them is in none. */
	for (at = 0; at < shape->groups; at++)
		groups->last[at] =
			(at + 1) * (shape->seqs ? shape->seqs : 1) / (shape->groups + 1) + 1;
}

/* Spans of segments and of chance, some empty. */
static void make_spans(struct batch_input *input, struct random_state *random)
{
	size_t usual = input->count / (BATCH_INPUT_SPANS / 2) + 1;
	size_t at = 0;

	input->span_count = 0;
	while (at < input->count) {
		struct batch_span *span = &input->spans[input->span_count++];

		span->first = input->deltas + at;
		span->count = random_state_below(random, 4) ? (usual < 680 ? 680 : usual) :
							      random_state_below(random, 3);
		if (span->count > input->count - at || input->span_count == BATCH_INPUT_SPANS)
			span->count = input->count - at;
		at += span->count;
	}
}

void batch_input_make(struct batch_input *input, const struct batch_shape *shape, uint64_t seed)
{
	struct random_state random;
	size_t at;

	random_state_seed(&random, seed, 0);
	input->count = shape->count;
	input->deltas = malloc((shape->count + 1) * sizeof(*input->deltas));
	assert_non_null(input->deltas);
	for (at = 0; at < shape->count; at++)
		make_delta(shape, &random, at, &input->deltas[at]);
	make_groups(shape, &input->groups);
	make_spans(input, &random);
}
