/* SPDX-License-Identifier: MIT */
/*
 * A growing array of elements of one size that never move: number -> element.
 * Segments double in size, so there are at most 32 of them.
 *
 * Who may call: segments_reserve from any thread; segments_at for a number from
 * any thread that has the number from whoever reserved it, by a release and an
 * acquire (a table entry, the end of a pool job). Progress: segments_at
 * wait-free; segments_reserve lock-free, but for the allocator on the first use
 * of a segment. Shared lines written: one a reservation, none a look-up.
 */
#ifndef REFSTORM_BASE_SEGMENTS_H
#define REFSTORM_BASE_SEGMENTS_H

#include <stddef.h>

#include "core/base/order.h"

#define SEGMENTS_FIRST_BITS 10 /* the first segment has 1024 elements */
#define SEGMENTS_COUNT (32 - SEGMENTS_FIRST_BITS)

struct segments {
	order_ptr segment[SEGMENTS_COUNT];
	size_t element_bytes;
	uint32_t limit; /* numbers stay below this */
	order_u32 next __attribute__((aligned(ORDER_LINE)));
};

/* Numbers begin at 0 and stay below `limit`, at most 2^31. */
void segments_init(struct segments *segments, size_t element_bytes, uint32_t limit);

/* Nobody may be using it. */
void segments_destroy(struct segments *segments);

/* The next number, its element all zero. 0, -ENOMEM, or -E2BIG at the limit. */
int segments_reserve(struct segments *segments, uint32_t *number)
	__attribute__((warn_unused_result));

/* Numbers reserved so far; exact when nobody reserves. */
uint32_t segments_used(const struct segments *segments);

/* Segment k holds the numbers from (2^k - 1) * 1024 on. */
static inline void *segments_at(const struct segments *segments, uint32_t number)
{
	uint32_t biased = number + (1U << SEGMENTS_FIRST_BITS);
	unsigned top = 31U - (unsigned)__builtin_clz(biased);
	/* Relaxed: the number came by a release and an acquire, later than the segment. */
	char *base = (char *)order_load_relaxed(&segments->segment[top - SEGMENTS_FIRST_BITS]);

	return base + (size_t)(biased - (1U << top)) * segments->element_bytes;
}

#endif /* REFSTORM_BASE_SEGMENTS_H */
