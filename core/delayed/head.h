/* SPDX-License-Identifier: MIT */
/*
 * Heads on their way out: from sorted deltas to the runner, and what a look-up gathers.
 * All three record paths end here. Callers: any thread, each with its own struct.
 */
#ifndef REFSTORM_DELAYED_HEAD_H
#define REFSTORM_DELAYED_HEAD_H

#include "core/delayed/delta.h"

/*
 * Gives the heads of one transaction to a runner. Deltas come in the order of delta_order
 * (whatever their sequence numbers), root deltas of an extent with its back references.
 */
struct head_stream {
	rs_head_fn *run;
	void *argument;
	uint64_t transaction;
	struct rs_run_result *result; /* heads and entries are counted here */
	uint64_t merged; /* of the heads that were run, and of those that came to nothing */
	struct rs_delta *entries; /* of the extent that is being gathered */
	size_t count;
	size_t capacity;
	size_t taken; /* deltas in the entries */
};

void head_stream_init(struct head_stream *stream, rs_head_fn *run, void *argument,
		      uint64_t transaction, struct rs_run_result *result);
void head_stream_destroy(struct head_stream *stream);

/*
 * Takes the next delta. When it is of another extent than the last one, the head that is complete
 * now is run first. 0, -ENOMEM, or what the runner returned; then the delta is not taken, and the
 * head that was to be run is still gathered: head_stream_bytenr says which.
 */
int head_stream_take(struct head_stream *stream, const struct rs_delta *delta)
	__attribute__((warn_unused_result));

/* Runs the last head. 0, or what the runner returned; then that head is still gathered. */
int head_stream_finish(struct head_stream *stream) __attribute__((warn_unused_result));

/* The extent that is being gathered; there is one. */
static inline uint64_t head_stream_bytenr(const struct head_stream *stream)
{
	return stream->entries[0].bytenr;
}

/*
 * Folds what a look-up found for one key into `pending` and the `capacity` entries; an entry that
 * nets to nothing goes again. -E2BIG once there were more keys than room (the sums go on); then
 * pending->entries is enough room for the next try, and may be more than there are keys.
 */
struct head_gather {
	struct rs_head_pending *pending;
	struct rs_delta *entries; /* in the order of delta_order */
	size_t capacity;
	size_t count;
	bool overflowed;
};

void head_gather_init(struct head_gather *gather, struct rs_head_pending *pending,
		      struct rs_delta *entries, size_t capacity);
void head_gather_take(struct head_gather *gather, const struct rs_delta *delta);
int head_gather_finish(struct head_gather *gather) __attribute__((warn_unused_result));

#endif /* REFSTORM_DELAYED_HEAD_H */
