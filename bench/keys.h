/* SPDX-License-Identifier: MIT */
/*
 * Streams of root deltas, one for each thread that records: which extent is changed next, by
 * which root, and whether it gains or loses. A delta costs a few ns to make, so that a stream can
 * run inside a measured loop; what that costs is measured beside it.
 *
 * Callers: a stream belongs to one thread. The same numbers give the same stream.
 */
#ifndef REFSTORM_BENCH_KEYS_H
#define REFSTORM_BENCH_KEYS_H

#include <stdint.h>

#include "core/base/random.h"
#include "refstorm/record.h"

enum keys_kind {
	KEYS_UNIFORM, /* any extent, any of some hundred roots */
	KEYS_ZIPF,    /* extents by Zipf's law of exponent 1, the most used far from each other */
	KEYS_HOT,     /* one extent, some hundred roots */
	KEYS_SEQUENTIAL, /* one extent after the other, each thread in a stretch of its own */
	KEYS_DEFRAG, /* an extent that 5,000 snapshots share: each loses it and gains one of its own */
};

#define KEYS_ROOTS 300U
#define KEYS_SNAPSHOTS 5000U
#define KEYS_FIRST_ROOT 256U

struct keys {
	enum keys_kind kind;
	uint64_t extents;
	struct random_state random;
	uint64_t at; /* deltas so far; where the thread's stretch begins */
	double log2_extents;
};

/* "uniform", "zipf", ... */
const char *keys_name(enum keys_kind kind);

/* `extents` is a power of two, at least 2 and at most 2^32. */
void keys_init(struct keys *keys, enum keys_kind kind, uint64_t extents, unsigned thread,
	       unsigned threads);

/* Makes the next `count` deltas, which are whole but for their sequence number. */
void keys_fill(struct keys *keys, struct rs_delta *deltas, unsigned count);

#endif /* REFSTORM_BENCH_KEYS_H */
