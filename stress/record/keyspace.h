/* SPDX-License-Identifier: MIT */
/*
 * All keys that a run can have, numbered densely, so that sums are flat arrays. Extents have
 * KEYSPACE_SLOTS keys each; behind them stand a few wide ones with KEYSPACE_WIDE_SLOTS.
 *
 * Balanced extents get operations that leave the sum of their references, and that of their
 * items, as it was; plain ones get anything. Callers: any thread, it does not change.
 */
#ifndef REFSTORM_STRESS_RECORD_KEYSPACE_H
#define REFSTORM_STRESS_RECORD_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "refstorm/record.h"

#define KEYSPACE_REFS 12U /* slots below are back references, the others roots */
#define KEYSPACE_SLOTS 16U
#define KEYSPACE_WIDE 4U
#define KEYSPACE_WIDE_ROOTS 2048U
#define KEYSPACE_WIDE_SLOTS (2 * KEYSPACE_WIDE_ROOTS)
#define KEYSPACE_NONE UINT32_MAX

struct keyspace {
	uint32_t narrow;  /* extents; a multiple of 64 */
	uint32_t extents; /* the wide ones besides */
	uint32_t keys;
	uint64_t base[4]; /* of each quarter of the extents */
};

void keyspace_init(struct keyspace *space, uint32_t narrow, bool spread);

static inline bool keyspace_is_wide(const struct keyspace *space, uint32_t extent)
{
	return extent >= space->narrow;
}

static inline bool keyspace_is_balanced(const struct keyspace *space, uint32_t extent)
{
	return keyspace_is_wide(space, extent) ? extent % 2 == 0 : extent % 4 != 3;
}

static inline uint32_t keyspace_key(const struct keyspace *space, uint32_t extent, uint32_t slot)
{
	if (keyspace_is_wide(space, extent))
		return space->narrow * KEYSPACE_SLOTS +
		       (extent - space->narrow) * KEYSPACE_WIDE_SLOTS + slot;
	return extent * KEYSPACE_SLOTS + slot;
}

/* The delta of that key, without a count. */
void keyspace_delta(const struct keyspace *space, uint32_t extent, uint32_t slot,
		    struct rs_delta *delta);

/* The extent at an address, or KEYSPACE_NONE. */
uint32_t keyspace_extent(const struct keyspace *space, uint64_t bytenr);
uint64_t keyspace_bytenr(const struct keyspace *space, uint32_t extent);

/* The number of the delta's key, or KEYSPACE_NONE where no key has just these members. */
uint32_t keyspace_find(const struct keyspace *space, uint32_t extent, const struct rs_delta *delta);

/* An odd number for each key, so that a sum over keys tells which they were. */
static inline uint64_t keyspace_weight(uint32_t key)
{
	uint64_t value = (key + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

	return (value ^ (value >> 29)) | 1;
}

#endif /* REFSTORM_STRESS_RECORD_KEYSPACE_H */
