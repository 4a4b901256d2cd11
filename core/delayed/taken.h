/* SPDX-License-Identifier: MIT */
/*
 * What a consumer has taken from queues: whole segments, and parts of segments that their
 * producers go on filling. Callers: one thread at a time.
 */
#ifndef REFSTORM_DELAYED_TAKEN_H
#define REFSTORM_DELAYED_TAKEN_H

#include "core/delayed/batch.h"
#include "core/delayed/segment.h"

/* Deltas claimed from a segment that stays in its thread's queue. */
struct taken_part {
	struct segment *segment;
	uint32_t first;
	uint32_t count;
};

struct taken {
	struct segment *whole; /* by `next`; their counts are final */
	struct taken_part *parts;
	size_t part_count;
	size_t part_capacity;
	size_t deltas;      /* in all of it */
	uint64_t since;     /* not after the oldest was recorded; UINT64_MAX for none */
	struct taken *next; /* where takings wait that could not be merged */
};

void taken_init(struct taken *taken);
void taken_destroy(struct taken *taken);

/* Room for one more part: 0 or -ENOMEM. */
int taken_reserve(struct taken *taken) __attribute__((warn_unused_result));
void taken_add_part(struct taken *taken, struct taken_part part, uint64_t since);
void taken_add_whole(struct taken *taken, struct segment *segment);

/* Puts the deltas as spans behind the first `*count`, in an array that grows as needed. 0 or -ENOMEM. */
int taken_spans(const struct taken *taken, struct batch_span **spans, size_t *capacity,
		size_t *count) __attribute__((warn_unused_result));

/* They have been merged: segments that are used up go back to their pool. It is empty then. */
void taken_release(struct taken *taken);

#endif /* REFSTORM_DELAYED_TAKEN_H */
