/* SPDX-License-Identifier: MIT */
/*
 * Exact sums over all keys: what went in, by producer, against what came out. Callers: one thread
 * adds to a tally; compared while nobody adds.
 */
#ifndef REFSTORM_STRESS_RECORD_TALLY_H
#define REFSTORM_STRESS_RECORD_TALLY_H

#include "stress/record/keyspace.h"

struct tally {
	int64_t *counts;
	uint64_t *reserved;
};

/* 0 or -ENOMEM. */
int tally_create(struct tally *tally, const struct keyspace *space)
	__attribute__((warn_unused_result));
void tally_destroy(struct tally *tally);

static inline void tally_add(struct tally *tally, uint32_t key, int32_t count, uint64_t reserved)
{
	tally->counts[key] += count;
	if (__builtin_expect(reserved != 0, 0))
		tally->reserved[key] += reserved;
}

/* One difference, all sums of a key: what went in, what came out. */
typedef void tally_difference_fn(const struct keyspace *space, uint32_t key, int64_t counts[2],
				 uint64_t reserved[2]);

/* The sum of those in `in` (the first `count`) against `out`; returns how many keys differ. */
uint64_t tally_compare(const struct keyspace *space, const struct tally *const *in, unsigned count,
		       const struct tally *out, tally_difference_fn *fn);

#endif /* REFSTORM_STRESS_RECORD_TALLY_H */
