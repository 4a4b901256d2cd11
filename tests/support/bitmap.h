/* SPDX-License-Identifier: MIT */
/* A plain bitmap of positions: what unions of runs and root sets are compared with. */
#ifndef REFSTORM_TEST_BITMAP_H
#define REFSTORM_TEST_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/random.h"
#include "core/qgroup/runs.h"

#define BITMAP_BITS 512

struct bitmap {
	uint64_t words[BITMAP_BITS / 64];
};

void bitmap_set(struct bitmap *bitmap, unsigned bit);
bool bitmap_has(const struct bitmap *bitmap, unsigned bit);
void bitmap_add_run(struct bitmap *bitmap, struct run run);
void bitmap_add(struct bitmap *bitmap, const struct bitmap *more);
unsigned bitmap_count(const struct bitmap *bitmap);
bool bitmap_equal(const struct bitmap *a, const struct bitmap *b);
bool bitmap_meets(const struct bitmap *a, const struct bitmap *b);
bool bitmap_within(const struct bitmap *a, const struct bitmap *b);

/* The maximal runs of the bitmap in ascending order, at most BITMAP_BITS / 2; returns how many. */
unsigned bitmap_runs(const struct bitmap *bitmap, struct run *runs);

/* Whether the union is the bitmap, in canonical form: ascending, with a gap between each two runs. */
bool bitmap_is_union(const struct bitmap *bitmap, const struct runs *runs);

/* A run within the first `bits` positions, `longest` at most. */
struct run bitmap_random_run(struct random_state *random, unsigned bits, unsigned longest);

/* Of the first `bits` positions: from one run to a scattering, at times all or one bit; never none. */
void bitmap_random(struct random_state *random, unsigned bits, struct bitmap *bitmap);

#endif /* REFSTORM_TEST_BITMAP_H */
