/* SPDX-License-Identifier: MIT */
#include "core/delayed/heads_merge.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

/* Entries that are fetched ahead of their use: about those of a stripe, when it is come to next. */
#define HEADS_AHEAD 24

void heads_scratch_destroy(struct heads_scratch *scratch)
{
	if (!scratch)
		return;
	alloc_free(scratch->merge.inputs);
	alloc_free(scratch->merge.bytenrs);
	alloc_free(scratch->merge.starts);
	alloc_free(scratch->merge.spare.at);
	alloc_free(scratch->refs.at);
	alloc_free(scratch->roots.at);
	alloc_free(scratch->turned.at);
}

int heads_entries_reserve(struct heads_entries *entries, size_t count)
{
	void *grown;

	if (count <= entries->capacity)
		return 0;
	grown = array_grow(entries->at, 0, count, &entries->capacity, sizeof(entries->at[0]));
	if (!grown)
		return -ENOMEM;
	entries->at = grown;
	return 0;
}

static bool heads_input_skips(const struct heads_input *input)
{
	return rs_delta_seq(input->at) > input->cut || heads_is_done(input->done, input->at);
}

/* Passes over what is not wanted; the extent that the input is at then. */
static uint64_t heads_input_settle(struct heads_input *input)
{
	if (!input->whole)
		while (input->at < input->end && heads_input_skips(input))
			input->at++;
	return input->at < input->end ? input->at->bytenr : UINT64_MAX;
}

int heads_merge_add(struct heads_merge *merge, const struct rs_delta *entries, size_t count,
		    const struct heads_run *run, struct heads_done done, uint64_t cut)
{
	struct heads_input *input;
	void *grown = array_grow(merge->inputs, merge->count, 1, &merge->capacity,
				 sizeof(merge->inputs[0]));

	if (!grown)
		return -ENOMEM;
	merge->inputs = grown;
	grown = array_grow(merge->bytenrs, merge->count, 1, &merge->bytenr_capacity,
			   sizeof(merge->bytenrs[0]));
	if (!grown)
		return -ENOMEM;
	merge->bytenrs = grown;
	input = &merge->inputs[merge->count];
	*input = (struct heads_input){
		.at = entries,
		.end = entries + count,
		.done = done,
		.cut = cut,
		.whole = run->seq_last <= cut && (!done.below || run->seq_first > done.cut),
		.single = run->seq_first == run->seq_last,
	};
	merge->bytenrs[merge->count++] = heads_input_settle(input);
	return 0;
}

static int heads_entry_order(const struct rs_delta *a, const struct rs_delta *b)
{
	int order = delta_order(a, b);

	return order ? order : delta_order_u64(a->seq_type, b->seq_type);
}

/* Appends the input's entries of the extent to the room; it is past them then. */
static int heads_input_collect(struct heads_input *input, uint64_t bytenr,
			       struct heads_entries *room)
{
	while (input->at < input->end && input->at->bytenr == bytenr) {
		const struct rs_delta *from = input->at;
		size_t count;

		if (!input->whole && heads_input_skips(input)) {
			input->at++;
			continue;
		}
		do
			input->at++;
		while (input->at < input->end && input->at->bytenr == bytenr &&
		       (input->whole || !heads_input_skips(input)));
		count = (size_t)(input->at - from);
		if (heads_entries_reserve(room, room->count + count))
			return -ENOMEM;
		memcpy(room->at + room->count, from, count * sizeof(from[0]));
		room->count += count;
	}
	return 0;
}

/* Merges [from, middle) and [middle, end), both sorted. Entries that are alike are in any order. */
static void heads_pair(const struct rs_delta *from, const struct rs_delta *middle,
		       const struct rs_delta *end, struct rs_delta *to)
{
	const struct rs_delta *right = middle;

	while (from < middle && right < end)
		*to++ = heads_entry_order(from, right) <= 0 ? *from++ : *right++;
	memcpy(to, from, (size_t)(middle - from) * sizeof(from[0]));
	memcpy(to + (middle - from), right, (size_t)(end - right) * sizeof(from[0]));
}

/* What the inputs had of the extent becomes one sorted array, by pairs, so that many inputs stay cheap. */
static int heads_merge_sort(struct heads_merge *merge, struct heads_entries *room)
{
	size_t *starts = merge->starts;
	size_t slices = merge->start_count;

	if (slices > 1 && heads_entries_reserve(&merge->spare, room->count))
		return -ENOMEM;
	while (slices > 1) {
		struct heads_entries sorted = merge->spare;
		size_t kept = 0;
		size_t at;

		sorted.count = room->count;
		for (at = 0; at < slices; at += 2) {
			size_t middle = at + 1 < slices ? starts[at + 1] : room->count;
			size_t end = at + 2 < slices ? starts[at + 2] : room->count;

			heads_pair(room->at + starts[at], room->at + middle, room->at + end,
				   sorted.at + starts[at]);
			starts[kept++] = starts[at];
		}
		slices = kept;
		merge->spare = *room;
		*room = sorted;
	}
	return 0;
}

/* The entries of the extent where they stand. */
static const struct rs_delta *heads_merge_in_place(struct heads_merge *merge, size_t input,
						   size_t *count, bool *single)
{
	struct heads_input *in = &merge->inputs[input];
	const struct rs_delta *from = in->at;
	uint64_t bytenr = from->bytenr;

	/* More arrays than the machine follows by itself. */
	__builtin_prefetch(from + HEADS_AHEAD);
	__builtin_prefetch((const char *)(from + HEADS_AHEAD) + 47);
	do
		in->at++;
	while (in->at < in->end && in->at->bytenr == bytenr);
	merge->bytenrs[input] = in->at < in->end ? in->at->bytenr : UINT64_MAX;
	*count = (size_t)(in->at - from);
	*single = in->single;
	return from;
}

const struct rs_delta *heads_merge_extent(struct heads_merge *merge, struct heads_lowest lowest,
					  size_t end, struct heads_entries *room, size_t *count,
					  bool *single)
{
	size_t at;

	if (!lowest.tied && merge->inputs[lowest.input].whole)
		return heads_merge_in_place(merge, lowest.input, count, single);
	room->count = 0;
	merge->start_count = 0;
	for (at = lowest.input; at < end; at++) {
		void *grown;

		if (merge->bytenrs[at] != lowest.bytenr)
			continue;
		grown = array_grow(merge->starts, merge->start_count, 1, &merge->start_capacity,
				   sizeof(merge->starts[0]));
		if (!grown)
			return NULL;
		merge->starts = grown;
		merge->starts[merge->start_count++] = room->count;
		if (heads_input_collect(&merge->inputs[at], lowest.bytenr, room))
			return NULL;
		merge->bytenrs[at] = heads_input_settle(&merge->inputs[at]);
	}
	if (heads_merge_sort(merge, room))
		return NULL;
	*count = room->count;
	*single = false;
	return room->at;
}
