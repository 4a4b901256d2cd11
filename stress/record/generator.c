/* SPDX-License-Identifier: MIT */
#include "stress/record/generator.h"

#include <string.h>

/* Shares of the kinds of operations, out of 256; what is left is plain. */
#define SHARE_UNIFORM 88U
#define SHARE_HOT 60U
#define SHARE_SEQUENTIAL 44U
#define SHARE_BACK 24U
#define SHARE_WIDE 16U

#define HOT_EXTENTS 12U /* among the balanced ones */
#define PLAIN_HOT 4U

void generator_init(struct generator *generator, const struct keyspace *space, uint64_t seed,
		    uint64_t stream)
{
	memset(generator, 0, sizeof(*generator));
	generator->space = space;
	random_state_seed(&generator->random, seed, stream);
	generator->cursor = (uint32_t)random_state_below(&generator->random, space->narrow / 4 * 3);
	generator->last.to = 1;
	generator->last.count = 1;
}

/* 0 .. bound - 1 from the upper half of a random number: near enough to even, and cheap. */
static uint32_t generator_pick(uint64_t random, uint32_t bound)
{
	return (uint32_t)(((random >> 32) * bound) >> 32);
}

/* The `number`-th balanced extent. */
static uint32_t generator_balanced(uint32_t number)
{
	return number + number / 3;
}

static void generator_add(const struct generator *generator, struct generator_operation *operation,
			  unsigned at, uint32_t extent, uint32_t slot, int32_t count)
{
	struct rs_delta *delta = &operation->deltas[at];

	keyspace_delta(generator->space, extent, slot, delta);
	delta->count = count;
	operation->keys[at] = keyspace_key(generator->space, extent, slot);
}

/* Two keys of the same sort. */
static void generator_keys(struct generator_pair *pair, uint64_t random)
{
	uint32_t first = random & 1 ? 0 : KEYSPACE_REFS;
	uint32_t count = random & 1 ? KEYSPACE_REFS : KEYSPACE_SLOTS - KEYSPACE_REFS;
	uint32_t from = generator_pick(random << 8, count);
	uint32_t to = from + 1 + generator_pick(random << 16, count - 1);

	pair->from = first + from;
	pair->to = first + (to < count ? to : to - count);
	pair->count = random & 2 ? 1 : 1 + (int32_t)((random >> 2) % GENERATOR_COUNT_MAX);
}

static void generator_wide(const struct generator *generator, struct generator_pair *pair,
			   uint64_t random)
{
	uint32_t first = random & 1 ? 0 : KEYSPACE_WIDE_ROOTS;
	uint32_t from = generator_pick(random << 8, KEYSPACE_WIDE_ROOTS);

	pair->extent = generator->space->narrow + (random & 2 ? 2 : 0);
	pair->from = first + from;
	pair->to = first + (from + 1 + (random >> 8) % 100) % KEYSPACE_WIDE_ROOTS;
	pair->count = 1;
}

static void generator_pair(struct generator *generator, unsigned kind, struct generator_pair *pair)
{
	uint64_t random = random_state_next(&generator->random);
	uint32_t balanced = generator->space->narrow / 4 * 3;

	generator_keys(pair, random);
	if (kind < SHARE_UNIFORM) {
		pair->extent = generator_balanced(generator_pick(random, balanced));
	} else if (kind < SHARE_UNIFORM + SHARE_HOT) {
		pair->extent = generator_balanced(generator_pick(random, HOT_EXTENTS));
	} else if (kind < SHARE_UNIFORM + SHARE_HOT + SHARE_SEQUENTIAL) {
		pair->extent = generator_balanced(generator->cursor);
		generator->cursor = (generator->cursor + 1) % balanced;
	} else if (kind < SHARE_UNIFORM + SHARE_HOT + SHARE_SEQUENTIAL + SHARE_BACK) {
		/* Takes back what came last, and the one after takes back that. */
		*pair = generator->last;
		pair->count = -pair->count;
	} else {
		generator_wide(generator, pair, random);
	}
	generator->last = *pair;
}

void generator_next_plain(struct generator *generator, struct generator_operation *operation)
{
	uint64_t random = random_state_next(&generator->random);
	unsigned at;

	operation->count = 1 + generator_pick(random, GENERATOR_DELTAS_MAX);
	for (at = 0; at < operation->count; at++) {
		uint32_t most;
		uint32_t extent;
		int32_t count;

		random = random_state_next(&generator->random);
		most = random & 1 ? PLAIN_HOT : generator->space->narrow / 4;
		extent = 4 * generator_pick(random, most) + 3;
		count = 1 + (int32_t)((random >> 1) % GENERATOR_COUNT_MAX);
		if (random & 16)
			count = -count;
		generator_add(generator, operation, at, extent,
			      generator_pick(random << 16, KEYSPACE_SLOTS), count);
		if (operation->keys[at] % KEYSPACE_SLOTS < KEYSPACE_REFS || (random >> 5) % 4)
			continue;
		operation->deltas[at].reserved = 1 + (random >> 7) % 1048576;
		if (random & (1 << 30))
			operation->deltas[at].count = 0;
	}
}

void generator_next(struct generator *generator, struct generator_operation *operation)
{
	static const uint8_t pairs[8] = { 1, 1, 1, 2, 2, 3, 4, GENERATOR_PAIRS_MAX };
	uint64_t random = random_state_next(&generator->random);
	unsigned kind = random & 255;
	unsigned count = pairs[(random >> 8) & 7];
	bool apart = (random >> 11) & 1; /* all losses behind all gains, or each behind its own */
	unsigned at;

	if (kind >= SHARE_UNIFORM + SHARE_HOT + SHARE_SEQUENTIAL + SHARE_BACK + SHARE_WIDE) {
		generator_next_plain(generator, operation);
		return;
	}
	operation->count = 2 * count;
	for (at = 0; at < count; at++) {
		struct generator_pair pair;

		generator_pair(generator, kind, &pair);
		generator_add(generator, operation, apart ? at : 2 * at, pair.extent, pair.to,
			      pair.count);
		generator_add(generator, operation, apart ? count + at : 2 * at + 1, pair.extent,
			      pair.from, -pair.count);
	}
}
