/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that a seed repeats: xoshiro256++ (Blackman and Vigna), its
 * state filled by splitmix64 (Vigna). Not for secrets.
 *
 * Callers: a state belongs to one thread at a time. Threads that draw side by
 * side take one seed and a stream each.
 */
#ifndef REFSTORM_BASE_RANDOM_H
#define REFSTORM_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random_state {
	uint64_t word[4]; /* never all 0 */
};

/*
 * Any seed, any stream. Stream 0 is the seeding that the generator's authors
 * publish; each other stream starts splitmix64 at another place that is hashed
 * from its number: streams of one seed always differ, and overlap no sooner than chance has it.
 */
void random_state_seed(struct random_state *state, uint64_t seed, uint64_t stream);

static inline uint64_t random_rotate(uint64_t value, unsigned bits)
{
	return (value << bits) | (value >> (64 - bits));
}

/* 64 bits, all equally good. */
static inline uint64_t random_state_next(struct random_state *state)
{
	uint64_t *word = state->word;
	uint64_t result = random_rotate(word[0] + word[3], 23) + word[0];
	uint64_t shifted = word[1] << 17;

	word[2] ^= word[0];
	word[3] ^= word[1];
	word[1] ^= word[2];
	word[0] ^= word[3];
	word[2] ^= shifted;
	word[3] = random_rotate(word[3], 45);
	return result;
}

/* 0 .. bound - 1, each equally likely; 0 for bound 0. */
uint64_t random_state_below(struct random_state *state, uint64_t bound);

/* True `numerator` times out of `denominator` on average; never for denominator 0. */
bool random_state_chance(struct random_state *state, uint64_t numerator, uint64_t denominator);

/* The same bytes on every machine, however the length is cut into calls of multiples of 8. */
void random_state_fill(struct random_state *state, void *bytes, size_t count);

#endif /* REFSTORM_BASE_RANDOM_H */
