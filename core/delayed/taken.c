/* SPDX-License-Identifier: MIT */
#include "core/delayed/taken.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/delayed/thread_queue.h"

void taken_init(struct taken *taken)
{
	*taken = (struct taken){ .since = UINT64_MAX };
}

void taken_destroy(struct taken *taken)
{
	alloc_free(taken->parts);
}

int taken_reserve(struct taken *taken)
{
	void *grown = array_grow(taken->parts, taken->part_count, 1, &taken->part_capacity,
				 sizeof(taken->parts[0]));

	if (!grown)
		return -ENOMEM;
	taken->parts = grown;
	return 0;
}

static void taken_count(struct taken *taken, size_t deltas, uint64_t since)
{
	if (deltas && since < taken->since)
		taken->since = since;
	taken->deltas += deltas;
}

void taken_add_part(struct taken *taken, struct taken_part part, uint64_t since)
{
	taken->parts[taken->part_count++] = part;
	taken_count(taken, part.count, since);
}

void taken_add_whole(struct taken *taken, struct segment *segment)
{
	segment->next = taken->whole;
	taken->whole = segment;
	/* QUEUE.publish: sees the deltas; the count is final, see cpu_queue_take. */
	taken_count(taken, order_load_acquire(&segment->count),
		    /* Relaxed: set before the segment was published. */
		    order_load_relaxed(&segment->since));
}

int taken_spans(const struct taken *taken, struct batch_span **spans, size_t *capacity,
		size_t *count)
{
	const struct segment *segment;
	size_t more = taken->part_count;
	size_t at = *count;
	size_t part;
	void *grown;

	for (segment = taken->whole; segment; segment = segment->next)
		more++;
	if (!more)
		return 0;
	grown = array_grow(*spans, at, more, capacity, sizeof((*spans)[0]));
	if (!grown)
		return -ENOMEM;
	*spans = grown;
	for (part = 0; part < taken->part_count; part++)
		(*spans)[at++] = (struct batch_span){
			&taken->parts[part].segment->deltas[taken->parts[part].first],
			taken->parts[part].count,
		};
	for (segment = taken->whole; segment; segment = segment->next)
		/* Relaxed: final, and seen when it was taken. */
		(*spans)[at++] =
			(struct batch_span){ segment->deltas, order_load_relaxed(&segment->count) };
	*count = at;
	return 0;
}

void taken_release(struct taken *taken)
{
	struct segment *list = taken->whole;
	size_t at;

	for (at = 0; at < taken->part_count; at++) {
		struct segment *segment = taken->parts[at].segment;

		if (!thread_queue_done(segment, taken->parts[at].count))
			continue;
		segment->next = list;
		list = segment;
	}
	segment_release(list);
	taken->whole = NULL;
	taken->part_count = 0;
	taken->deltas = 0;
	taken->since = UINT64_MAX;
}
