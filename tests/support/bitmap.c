/* SPDX-License-Identifier: MIT */
#include "tests/support/bitmap.h"

#include <string.h>

void bitmap_set(struct bitmap *bitmap, unsigned bit)
{
	bitmap->words[bit / 64] |= UINT64_C(1) << bit % 64;
}

bool bitmap_has(const struct bitmap *bitmap, unsigned bit)
{
	return bitmap->words[bit / 64] >> bit % 64 & 1;
}

void bitmap_add_run(struct bitmap *bitmap, struct run run)
{
	uint32_t bit;

	for (bit = run.begin; bit < run.end; bit++)
		bitmap_set(bitmap, bit);
}

void bitmap_add(struct bitmap *bitmap, const struct bitmap *more)
{
	unsigned at;

	for (at = 0; at < BITMAP_BITS / 64; at++)
		bitmap->words[at] |= more->words[at];
}

unsigned bitmap_count(const struct bitmap *bitmap)
{
	unsigned sum = 0;
	unsigned at;

	for (at = 0; at < BITMAP_BITS / 64; at++)
		sum += (unsigned)__builtin_popcountll(bitmap->words[at]);
	return sum;
}

bool bitmap_equal(const struct bitmap *a, const struct bitmap *b)
{
	return !memcmp(a, b, sizeof(*a));
}

bool bitmap_meets(const struct bitmap *a, const struct bitmap *b)
{
	unsigned at;

	for (at = 0; at < BITMAP_BITS / 64; at++)
		if (a->words[at] & b->words[at])
			return true;
	return false;
}

bool bitmap_within(const struct bitmap *a, const struct bitmap *b)
{
	unsigned at;

	for (at = 0; at < BITMAP_BITS / 64; at++)
		if (a->words[at] & ~b->words[at])
			return false;
	return true;
}

unsigned bitmap_runs(const struct bitmap *bitmap, struct run *runs)
{
	unsigned count = 0;
	unsigned bit;

	for (bit = 0; bit < BITMAP_BITS; bit++) {
		if (!bitmap_has(bitmap, bit))
			continue;
		if (!bit || !bitmap_has(bitmap, bit - 1))
			runs[count++].begin = bit;
		runs[count - 1].end = bit + 1;
	}
	return count;
}

bool bitmap_is_union(const struct bitmap *bitmap, const struct runs *runs)
{
	struct run wanted[BITMAP_BITS / 2];
	unsigned count = bitmap_runs(bitmap, wanted);
	struct run single;
	const struct run *found;
	unsigned at;

	if (runs_read(runs, &single, &found) != count)
		return false;
	for (at = 0; at < count; at++)
		if (found[at].begin != wanted[at].begin || found[at].end != wanted[at].end)
			return false;
	return true;
}

struct run bitmap_random_run(struct random_state *random, unsigned bits, unsigned longest)
{
	struct run run;

	run.begin = (uint32_t)random_state_below(random, bits);
	run.end = run.begin + 1 + (uint32_t)random_state_below(random, longest);
	if (run.end > bits)
		run.end = bits;
	return run;
}

void bitmap_random(struct random_state *random, unsigned bits, struct bitmap *bitmap)
{
	uint64_t shape = random_state_below(random, 8);
	uint64_t runs = shape < 4 ? 1 : shape < 6 ? 1 + random_state_below(random, 4) : bits / 4;
	unsigned longest = shape == 0 ? 1 : shape == 1 ? bits : shape < 6 ? 1 + bits / 4 : 2;

	memset(bitmap, 0, sizeof(*bitmap));
	if (random_state_chance(random, 1, 64))
		bitmap_add_run(bitmap, (struct run){ 0, bits });
	while (runs--)
		bitmap_add_run(bitmap, bitmap_random_run(random, bits, longest));
}
