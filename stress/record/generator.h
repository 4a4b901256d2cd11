/* SPDX-License-Identifier: MIT */
/*
 * Random operations, a few nanoseconds a delta. All but those on plain extents leave the sums of
 * each extent as they were: what one key gains another one loses in the same operation.
 *
 * Callers: a generator belongs to one thread at a time.
 */
#ifndef REFSTORM_STRESS_RECORD_GENERATOR_H
#define REFSTORM_STRESS_RECORD_GENERATOR_H

#include "core/base/random.h"
#include "stress/record/keyspace.h"

#define GENERATOR_PAIRS_MAX 6U
#define GENERATOR_DELTAS_MAX (2 * GENERATOR_PAIRS_MAX)
#define GENERATOR_COUNT_MAX 8

struct generator_operation {
	unsigned count;
	uint32_t keys[GENERATOR_DELTAS_MAX];
	struct rs_delta deltas[GENERATOR_DELTAS_MAX];
};

/* Moves `count` references, or items, of an extent from one key to another. */
struct generator_pair {
	uint32_t extent;
	uint32_t from;
	uint32_t to;
	int32_t count;
};

struct generator {
	const struct keyspace *space;
	struct random_state random;
	uint32_t cursor;            /* of the operations that go along the addresses */
	struct generator_pair last; /* may be taken back by the next operation */
};

void generator_init(struct generator *generator, const struct keyspace *space, uint64_t seed,
		    uint64_t stream);

void generator_next(struct generator *generator, struct generator_operation *operation);

/* One on plain extents: any part of it may be left out. */
void generator_next_plain(struct generator *generator, struct generator_operation *operation);

#endif /* REFSTORM_STRESS_RECORD_GENERATOR_H */
