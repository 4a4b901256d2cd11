// SPDX-License-Identifier: MIT
#include "core/base/segments.h"

#include <assert.h>
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/tally.h"

void segments_init(struct segments *segments, size_t element_bytes, uint32_t limit)
{
	unsigned at;

	assert(limit <= 1U << 31);
	/* Relaxed, all of it: nobody else knows the array yet. */
	for (at = 0; at < SEGMENTS_COUNT; at++)
		order_store_relaxed(&segments->segment[at], NULL);
	segments->element_bytes = element_bytes;
	segments->limit = limit;
	order_store_relaxed(&segments->next, 0);
}

void segments_destroy(struct segments *segments)
{
	unsigned at;

	/* Relaxed: nobody else uses it any more. */
	for (at = 0; at < SEGMENTS_COUNT; at++) {
		alloc_free(order_load_relaxed(&segments->segment[at]));
		order_store_relaxed(&segments->segment[at], NULL);
	}
}

uint32_t segments_used(const struct segments *segments)
{
	uint32_t next = order_load_relaxed(&segments->next); /* relaxed: a count, exact at rest */

	return next < segments->limit ? next : segments->limit;
}

static unsigned segment_of(uint32_t number)
{
	uint32_t biased = number + (1U << SEGMENTS_FIRST_BITS);

	return 31U - (unsigned)__builtin_clz(biased) - SEGMENTS_FIRST_BITS;
}

/* Puts a segment there, or finds that somebody else has. */
static int segment_allocate(struct segments *segments, unsigned index)
{
	void *expected = NULL;
	void *fresh = alloc_aligned(ORDER_LINE, (size_t)1 << (index + SEGMENTS_FIRST_BITS),
				    segments->element_bytes);

	if (!fresh)
		return -ENOMEM;
	/* SEGMENTS.publish: the zeroes of the new segment, before its address. */
	if (!order_cas_acq_rel(&segments->segment[index], &expected, fresh))
		alloc_free(fresh);
	return 0;
}

int segments_reserve(struct segments *segments, uint32_t *number)
{
	/* Relaxed: a number is claimed by the exchange itself. */
	uint32_t mine = order_load_relaxed(&segments->next);

	do {
		unsigned index;

		if (mine >= segments->limit)
			return -E2BIG;
		index = segment_of(mine);
		/* SEGMENTS.publish: whoever put the segment there had zeroed it. */
		if (!order_load_acquire(&segments->segment[index]) &&
		    segment_allocate(segments, index))
			return -ENOMEM;
		/* Ends: a failed exchange means that another thread has got a number. */
	} while (!order_cas_weak_relaxed(&segments->next, &mine, mine + 1) &&
		 tally_retry(TALLY_SEGMENTS_RESERVE));
	*number = mine;
	return 0;
}
