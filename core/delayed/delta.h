/* SPDX-License-Identifier: MIT */
/*
 * What deltas mean to each other: their order, which are of one key, how two become one.
 * Callers: any thread; nothing here is shared.
 */
#ifndef REFSTORM_DELAYED_DELTA_H
#define REFSTORM_DELAYED_DELTA_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/plant.h"
#include "refstorm/record.h"

static_assert(sizeof(struct rs_delta) == 48, "a delta is 48 bytes");

#define DELTA_SEQ_MAX (UINT64_MAX >> 8)

/*
 * Heads are kept in parts by address, each with one writer at a time. A part has stripes of
 * 2^DELTA_STRIPE_BITS bytes, dealt out in turn, so that neighbours are together and small ranges spread.
 */
#define DELTA_PARTS 64U
#define DELTA_STRIPE_BITS 20U

static inline unsigned delta_part(uint64_t bytenr)
{
	return (unsigned)(bytenr >> DELTA_STRIPE_BITS) % DELTA_PARTS;
}

static inline bool delta_is_root(const struct rs_delta *delta)
{
	return rs_delta_type(delta) == RS_DELTA_ROOT;
}

static inline int delta_order_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* By extent, type and key; of root deltas the reservation is no part of the key. 0: the same key. */
static inline int delta_order(const struct rs_delta *a, const struct rs_delta *b)
{
	int order = delta_order_u64(a->bytenr, b->bytenr);

	if (!order)
		order = delta_order_u64(a->seq_type & 0xff, b->seq_type & 0xff);
	if (!order)
		order = delta_order_u64(a->root, b->root);
	if (order || delta_is_root(a))
		return order;
	order = delta_order_u64(a->owner, b->owner);
	return order ? order : delta_order_u64(a->offset, b->offset);
}

/*
 * Adds `from` to `into`, which has the same key: counts and reservations are summed, the higher
 * sequence number stays. False, and nothing is changed, if a sum does not fit; they stay two then.
 */
static inline bool delta_fold(struct rs_delta *into, const struct rs_delta *from)
{
	int32_t count;
	uint64_t reserved = 0;

	if (__builtin_add_overflow(into->count, from->count, &count))
		return false;
	if (delta_is_root(into)) {
		if (__builtin_add_overflow(into->reserved, from->reserved, &reserved))
			return false;
		into->reserved = reserved;
	}
	into->count = count;
	if (from->length_4k > into->length_4k)
		into->length_4k = from->length_4k;
	if (from->seq_type > into->seq_type)
		into->seq_type = from->seq_type;
	return true;
}

/* Nothing is left of it: no change, and no reservation to hand over. */
static inline bool delta_is_empty(const struct rs_delta *delta)
{
	if (delta->count)
		return false;
	return !delta_is_root(delta) || !delta->reserved ||
	       plant_armed("delta.reservation-dropped");
}

#endif /* REFSTORM_DELAYED_DELTA_H */
