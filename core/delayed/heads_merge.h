/* SPDX-License-Identifier: MIT */
/*
 * Several sorted arrays of entries gone through together, an extent at a time. The arrays of
 * memory are kept from one time to the next. Callers: one thread at a time.
 */
#ifndef REFSTORM_DELAYED_HEADS_MERGE_H
#define REFSTORM_DELAYED_HEADS_MERGE_H

#include "core/delayed/heads_impl.h"

/* Entries of one extent that grow as needed. */
struct heads_entries {
	struct rs_delta *at;
	size_t count;
	size_t capacity;
};

/* One array. Entries that have been run already are passed over, and those past `cut`. */
struct heads_input {
	const struct rs_delta *at;
	const struct rs_delta *end;
	struct heads_done done;
	uint64_t cut;
	bool whole;  /* there is nothing to be passed over */
	bool single; /* all have one number, so that no key comes twice */
};

/* Inputs, and of each the extent it is at, UINT64_MAX at its end. */
struct heads_merge {
	struct heads_input *inputs;
	uint64_t *bytenrs;
	size_t count;
	size_t capacity;
	size_t bytenr_capacity;
	/* Of the extent in hand: where the entries of each input begin, and room to merge them. */
	size_t *starts;
	size_t start_count;
	size_t start_capacity;
	struct heads_entries spare;
};

struct heads_scratch {
	struct heads_merge merge; /* of one part when folding, of all when running */
	struct heads_entries refs;
	struct heads_entries roots;
	struct heads_entries turned;
};

void heads_scratch_destroy(struct heads_scratch *scratch);

/* Adds the array as an input. 0 or -ENOMEM. */
int heads_merge_add(struct heads_merge *merge, const struct rs_delta *entries, size_t count,
		    const struct heads_run *run, struct heads_done done, uint64_t cut)
	__attribute__((warn_unused_result));

/* The lowest extent that inputs are at. */
struct heads_lowest {
	uint64_t bytenr; /* UINT64_MAX: all are at their end */
	size_t input;    /* the first that is at it */
	bool tied;       /* another is too */
};

/* Of the inputs from `first` up to, not including, `end`. Without a branch that depends on them. */
static inline struct heads_lowest heads_merge_lowest(const struct heads_merge *merge, size_t first,
						     size_t end)
{
	struct heads_lowest lowest = { UINT64_MAX, first, false };
	size_t at;

	for (at = first; at < end; at++) {
		uint64_t bytenr = merge->bytenrs[at];
		bool lower = bytenr < lowest.bytenr;

		lowest.tied = (!lower) & (lowest.tied | (bytenr == lowest.bytenr));
		lowest.input = lower ? at : lowest.input;
		lowest.bytenr = lower ? bytenr : lowest.bytenr;
	}
	return lowest;
}

/*
 * The entries of the lowest extent of the inputs up to, not including, `end`, sorted by delta_order,
 * then number, and how many there are: in place where one input has them all, else collected in
 * `room`. The inputs are past them then. `*single` says that no key comes twice. NULL: no memory.
 */
const struct rs_delta *heads_merge_extent(struct heads_merge *merge, struct heads_lowest lowest,
					  size_t end, struct heads_entries *room, size_t *count,
					  bool *single);

/* 0 or -ENOMEM. */
int heads_entries_reserve(struct heads_entries *entries, size_t count)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_DELAYED_HEADS_MERGE_H */
