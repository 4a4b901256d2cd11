/* SPDX-License-Identifier: MIT */
/*
 * Merging a batch of drained deltas: partition, sort, fold. One pass over memory deals the deltas
 * out into pieces that fit the cache; the rest happens there.
 *
 * Callers: one thread at a time a batch; any number of batches side by side, nothing is shared.
 */
#ifndef REFSTORM_DELAYED_BATCH_H
#define REFSTORM_DELAYED_BATCH_H

#include <stddef.h>

#include "core/delayed/delta.h"
#include "core/treemod/sequence.h"

/* Deltas one behind the other. */
struct batch_span {
	const struct rs_delta *first;
	size_t count;
};

/*
 * Entries by part: those of part p are refs[ref_begin[p]] up to, not including,
 * refs[ref_begin[p + 1]], and the same for roots. Within a part they are in the order of
 * delta_order, and where that says 0 (one key in several groups) by sequence number.
 */
struct batch_result {
	struct rs_delta *refs;
	struct rs_delta *roots;
	size_t ref_begin[DELTA_PARTS + 1];
	size_t root_begin[DELTA_PARTS + 1];
	size_t merged;      /* deltas in less entries out */
	uint64_t seq_first; /* the lowest and the highest number that an entry may have */
	uint64_t seq_last;
};

struct batch; /* memory that is kept from one merge to the next */

int batch_create(struct batch **out) __attribute__((warn_unused_result));
void batch_destroy(struct batch *batch);

/*
 * Merges the deltas of all spans: those of one key and one group (sequence_group) become one entry,
 * whose number is the group's last; those that net to nothing go (delta_is_empty). `entries` has
 * room for as many as there are deltas; the result points into it. The deltas are not changed and
 * must not change meanwhile. 0, or -ENOMEM (2^32 deltas or more too), and then nothing has happened.
 */
int batch_merge(struct batch *batch, const struct sequence_groups *groups,
		const struct batch_span *spans, size_t span_count, struct rs_delta *entries,
		struct batch_result *result) __attribute__((warn_unused_result));

#endif /* REFSTORM_DELAYED_BATCH_H */
