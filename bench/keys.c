/* SPDX-License-Identifier: MIT */
#include "bench/keys.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define KEYS_SEED 1U
/* Extents of 4 KiB, not at the beginning of the address space. */
#define KEYS_FIRST UINT64_C(4096)
/* 2^(at / KEYS_STEPS), for a Zipf rank without a call of exp. */
#define KEYS_STEPS 4096U
/* Odd, so that multiplying by it deals the ranks out over a power of two. */
#define KEYS_SCATTER UINT64_C(0x9e3779b97f4a7c15)

static float keys_powers[KEYS_STEPS];

const char *keys_name(enum keys_kind kind)
{
	static const char *const names[] = {
		[KEYS_UNIFORM] = "uniform",       [KEYS_ZIPF] = "zipf",     [KEYS_HOT] = "hot",
		[KEYS_SEQUENTIAL] = "sequential", [KEYS_DEFRAG] = "defrag",
	};

	return names[kind];
}

void keys_init(struct keys *keys, enum keys_kind kind, uint64_t extents, unsigned thread,
	       unsigned threads)
{
	unsigned at;

	assert(extents >= 2 && extents <= UINT64_C(1) << 32 && !(extents & (extents - 1)));
	memset(keys, 0, sizeof(*keys));
	keys->kind = kind;
	keys->extents = extents;
	keys->log2_extents = log2((double)extents);
	keys->at = extents / threads * thread;
	if (kind == KEYS_DEFRAG)
		/* A shared extent of its own for each thread, and two deltas for each root. */
		keys->at = UINT64_C(2) * KEYS_SNAPSHOTS * (keys->at / (2 * KEYS_SNAPSHOTS));
	random_state_seed(&keys->random, KEYS_SEED, thread);
	/* The same values by every thread that makes a stream before it is used. */
	if (thread == 0 && kind == KEYS_ZIPF)
		for (at = 0; at < KEYS_STEPS; at++)
			keys_powers[at] = (float)exp2((double)at / KEYS_STEPS);
}

static inline void keys_set(struct rs_delta *delta, uint64_t extent, uint64_t root, int32_t count)
{
	delta->bytenr = (extent + KEYS_FIRST) * RS_DELTA_UNIT;
	delta->root = KEYS_FIRST_ROOT + root;
	delta->reserved = 0;
	delta->offset = 0;
	delta->count = count;
	delta->length_4k = 1;
	delta->seq_type = RS_DELTA_ROOT;
}

/* Lowest bits of a random number: the sign, then 16 for the root; the upper 32 are for the extent. */
static inline int32_t keys_count(uint64_t random)
{
	return random & 1 ? 1 : -1;
}

static inline uint64_t keys_root(uint64_t random)
{
	return ((random >> 1 & 0xffff) * KEYS_ROOTS) >> 16;
}

static inline uint64_t keys_uniform(const struct keys *keys, uint64_t random)
{
	return ((random >> 32) * keys->extents) >> 32;
}

/* extents^part for a random part of 1: the rank, and so each power of two is as likely as any other. */
static inline uint64_t keys_zipf(const struct keys *keys, uint64_t random)
{
	double power = (double)(random >> 32) * 0x1p-32 * keys->log2_extents;
	unsigned whole = (unsigned)power;
	unsigned step = (unsigned)((power - whole) * KEYS_STEPS);
	uint64_t rank = (uint64_t)(keys_powers[step] * (float)(UINT64_C(1) << whole)) - 1;

	return rank * KEYS_SCATTER & (keys->extents - 1);
}

static void keys_defrag(struct keys *keys, struct rs_delta *delta)
{
	uint64_t root = keys->at / 2 % KEYS_SNAPSHOTS;
	uint64_t file = keys->at / (UINT64_C(2) * KEYS_SNAPSHOTS);

	/* The shared ones stand beside the space that the new ones come from. */
	if (keys->at & 1)
		keys_set(delta, keys->at / 2 & (keys->extents - 1), root, 1);
	else
		keys_set(delta, keys->extents + file, root, -1);
	keys->at++;
}

void keys_fill(struct keys *keys, struct rs_delta *deltas, unsigned count)
{
	struct rs_delta *end = deltas + count;
	struct rs_delta *delta;

	for (delta = deltas; delta < end; delta++) {
		uint64_t random = random_state_next(&keys->random);
		uint64_t extent = 0;

		switch (keys->kind) {
		case KEYS_UNIFORM:
			extent = keys_uniform(keys, random);
			break;
		case KEYS_ZIPF:
			extent = keys_zipf(keys, random);
			break;
		case KEYS_HOT:
			break;
		case KEYS_SEQUENTIAL:
			extent = keys->at++ & (keys->extents - 1);
			break;
		case KEYS_DEFRAG:
			keys_defrag(keys, delta);
			continue;
		}
		keys_set(delta, extent, keys_root(random), keys_count(random));
	}
}
