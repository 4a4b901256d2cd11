/* SPDX-License-Identifier: MIT */
#include "core/delayed/head.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

/*
 * The entries' array has twice the room of its capacity: where additions and drops of an extent
 * are mixed, its references are put in order behind the entries, and the entries stay as they are.
 */
#define HEAD_ROOM (2 * sizeof(struct rs_delta))

void head_stream_init(struct head_stream *stream, rs_head_fn *run, void *argument,
		      uint64_t transaction, struct rs_run_result *result)
{
	*stream = (struct head_stream){
		.run = run,
		.argument = argument,
		.transaction = transaction,
		.result = result,
	};
}

void head_stream_destroy(struct head_stream *stream)
{
	alloc_free(stream->entries);
}

/* Takes out the entries that net to nothing. */
static void head_compact(struct head_stream *stream)
{
	struct rs_delta *entries = stream->entries;
	size_t from;
	size_t to = 0;

	for (from = 0; from < stream->count; from++) {
		if (delta_is_empty(&entries[from]))
			continue;
		if (to != from)
			entries[to] = entries[from];
		to++;
	}
	stream->count = to;
}

/* The references, additions before drops: where they stand, or a copy behind the entries. */
static const struct rs_delta *head_order_refs(const struct head_stream *stream, size_t first)
{
	const struct rs_delta *refs = stream->entries + first;
	struct rs_delta *copy = stream->entries + stream->capacity;
	size_t count = stream->count - first;
	size_t turns = 0; /* drops that an addition follows */
	size_t to = 0;
	size_t at;

	for (at = 1; at < count; at++)
		turns += refs[at - 1].count < 0 && refs[at].count > 0;
	if (!turns)
		return refs;
	for (at = 0; at < count; at++)
		if (refs[at].count > 0)
			copy[to++] = refs[at];
	for (at = 0; at < count; at++)
		if (refs[at].count < 0)
			copy[to++] = refs[at];
	return copy;
}

/* Root deltas come first: theirs is the lowest type. */
static int head_run(struct head_stream *stream)
{
	struct rs_head head = { .transaction = stream->transaction };
	int ret;

	while (head.root_count < stream->count && delta_is_root(&stream->entries[head.root_count]))
		head.root_count++;
	head.bytenr = stream->entries[0].bytenr;
	head.roots = stream->entries;
	head.refs = head_order_refs(stream, head.root_count);
	head.ref_count = stream->count - head.root_count;
	ret = stream->run(stream->argument, &head);
	if (ret)
		return ret;
	stream->result->heads++;
	stream->result->entries += stream->count;
	return 0;
}

int head_stream_finish(struct head_stream *stream)
{
	int ret;

	head_compact(stream);
	if (stream->count) {
		ret = head_run(stream);
		if (ret)
			return ret;
	}
	stream->merged += stream->taken - stream->count;
	stream->count = 0;
	stream->taken = 0;
	return 0;
}

/*
 * Into the last entry, if that is of the same key. Entries of one key that stayed apart since
 * their sum did not fit may fit now. The loop ends: each fold takes an entry away.
 */
static bool head_fold(struct head_stream *stream, const struct rs_delta *delta)
{
	struct rs_delta *last = stream->entries + stream->count - 1;

	if (delta_order(last, delta) || !delta_fold(last, delta))
		return false;
	while (last > stream->entries && !delta_order(last - 1, last) &&
	       delta_fold(last - 1, last)) {
		last--;
		stream->count--;
	}
	return true;
}

static int head_grow(struct head_stream *stream)
{
	struct rs_delta *entries =
		array_grow(stream->entries, stream->count, 1, &stream->capacity, HEAD_ROOM);

	if (!entries)
		return -ENOMEM;
	stream->entries = entries;
	return 0;
}

int head_stream_take(struct head_stream *stream, const struct rs_delta *delta)
{
	int ret;

	if (stream->count && head_stream_bytenr(stream) != delta->bytenr) {
		ret = head_stream_finish(stream);
		if (ret)
			return ret;
	}
	if (!stream->count || !head_fold(stream, delta)) {
		if (stream->count == stream->capacity && head_grow(stream))
			return -ENOMEM;
		stream->entries[stream->count++] = *delta;
	}
	stream->taken++;
	return 0;
}

void head_gather_init(struct head_gather *gather, struct rs_head_pending *pending,
		      struct rs_delta *entries, size_t capacity)
{
	*pending = (struct rs_head_pending){ 0 };
	*gather = (struct head_gather){
		.pending = pending,
		.entries = entries,
		.capacity = capacity,
	};
}

/* The first entry whose key is not lower. What comes in order belongs at the end, or to the last. */
static size_t head_gather_find(const struct head_gather *gather, const struct rs_delta *delta)
{
	size_t low = 0;
	size_t high = gather->count;

	if (high && delta_order(&gather->entries[high - 1], delta) < 0)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (delta_order(&gather->entries[middle], delta) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void head_gather_remove(struct head_gather *gather, size_t at)
{
	gather->count--;
	gather->pending->entries--;
	memmove(&gather->entries[at], &gather->entries[at + 1],
		(gather->count - at) * sizeof(*gather->entries));
}

/* After the room was too small once nothing is put in: it could be a part of its key's sum only. */
static void head_gather_insert(struct head_gather *gather, size_t at, const struct rs_delta *delta)
{
	gather->pending->entries++;
	gather->overflowed |= gather->count == gather->capacity;
	if (gather->overflowed)
		return;
	memmove(&gather->entries[at + 1], &gather->entries[at],
		(gather->count - at) * sizeof(*gather->entries));
	gather->entries[at] = *delta;
	gather->count++;
}

void head_gather_take(struct head_gather *gather, const struct rs_delta *delta)
{
	size_t at = head_gather_find(gather, delta);

	if (delta_is_root(delta)) {
		gather->pending->items += delta->count;
		gather->pending->reserved += delta->reserved;
	} else {
		gather->pending->refs += delta->count;
	}
	for (; at < gather->count && !delta_order(&gather->entries[at], delta); at++) {
		if (!delta_fold(&gather->entries[at], delta))
			continue;
		if (delta_is_empty(&gather->entries[at]))
			head_gather_remove(gather, at);
		return;
	}
	if (!delta_is_empty(delta))
		head_gather_insert(gather, at, delta);
}

int head_gather_finish(struct head_gather *gather)
{
	return gather->overflowed ? -E2BIG : 0;
}
