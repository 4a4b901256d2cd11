/* SPDX-License-Identifier: MIT */
#include "core/base/random.h"

/* The output function of splitmix64: a permutation of the 64-bit words that keeps 0. */
static uint64_t random_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static uint64_t random_split_next(uint64_t *split)
{
	*split += UINT64_C(0x9e3779b97f4a7c15);
	return random_mix(*split);
}

/* Four successive outputs are permuted different words, so at most one of them is 0. */
void random_state_seed(struct random_state *state, uint64_t seed, uint64_t stream)
{
	uint64_t split = seed ^ random_mix(stream);

	for (int i = 0; i < 4; i++)
		state->word[i] = random_split_next(&split);
}

/*
 * Lemire's method: the high half of a product with the bound. Of the 2^64 draws
 * the first 2^64 mod bound low halves are too many, and are drawn again; the loop
 * ends, since at least half of all draws are kept.
 */
uint64_t random_state_below(struct random_state *state, uint64_t bound)
{
	unsigned __int128 product = (unsigned __int128)random_state_next(state) * bound;

	if ((uint64_t)product < bound) {
		uint64_t surplus = (0 - bound) % bound;

		while ((uint64_t)product < surplus)
			product = (unsigned __int128)random_state_next(state) * bound;
	}
	return (uint64_t)(product >> 64);
}

bool random_state_chance(struct random_state *state, uint64_t numerator, uint64_t denominator)
{
	return random_state_below(state, denominator) < numerator && denominator;
}

void random_state_fill(struct random_state *state, void *bytes, size_t count)
{
	unsigned char *to = bytes;

	while (count) {
		uint64_t value = random_state_next(state);

		for (unsigned i = 0; i < 8 && count; i++, count--) {
			*to++ = (unsigned char)value;
			value >>= 8;
		}
	}
}
