/* SPDX-License-Identifier: MIT */
/* From dealt pieces to entries, each piece in the cache. */
#include "core/delayed/batch_impl.h"

#define FOLD_BUFFER 128U /* entries that are written out at once */
#define FOLD_BLOCK 64U   /* packed items between two looks at how much room there is */
#define FOLD_AHEAD 8U    /* whole deltas */

/* Entries go to `slot`, straight into the result or to a buffer that is streamed there. */
struct fold_writer {
	struct rs_delta *slot;
	struct rs_delta *base;
	struct rs_delta *limit;
	struct rs_delta *to; /* where what is at `base` goes; the same if there is no buffer */
	struct rs_delta *begin;
	bool buffered;
	bool open; /* the entry at `slot` may still be added to */
	struct rs_delta buffer[FOLD_BUFFER] __attribute__((aligned(64)));
};

static void fold_writer_init(struct fold_writer *writer, struct rs_delta *entries, size_t room,
			     bool buffered)
{
	writer->begin = entries;
	writer->to = entries;
	writer->buffered = buffered;
	writer->open = false;
	writer->base = buffered ? writer->buffer : entries;
	writer->limit = buffered ? writer->buffer + FOLD_BUFFER : entries + room;
	writer->slot = writer->base;
}

/* No entry is open. */
static void fold_writer_flush(struct fold_writer *writer)
{
	size_t count = (size_t)(writer->slot - writer->base);

	if (!writer->buffered)
		return;
	batch_stream(writer->to, writer->base, count * sizeof(*writer->base));
	writer->to += count;
	writer->slot = writer->base;
}

static size_t fold_writer_count(const struct fold_writer *writer)
{
	return (size_t)(writer->to - writer->begin) + (size_t)(writer->slot - writer->base);
}

static inline void fold_writer_close(struct fold_writer *writer)
{
	if (writer->open && !delta_is_empty(writer->slot))
		writer->slot++;
	writer->open = false;
}

/* Takes the next delta in the order of the result. */
static inline void fold_writer_take(struct fold_writer *writer, const struct rs_delta *delta)
{
	if (writer->open && writer->slot->bytenr == delta->bytenr &&
	    writer->slot->seq_type == delta->seq_type && !delta_order(writer->slot, delta) &&
	    delta_fold(writer->slot, delta))
		return;
	fold_writer_close(writer);
	if (writer->slot == writer->limit)
		fold_writer_flush(writer);
	*writer->slot = *delta;
	writer->open = true;
}

/* A packed item as a delta; `place` is where its piece begins. */
static inline void fold_unpack(const struct batch *batch, const struct batch_layout *layout,
			       uint64_t place, uint64_t item, struct rs_delta *delta)
{
	uint64_t root_mask = layout->root_max;
	uint64_t group_mask = (UINT64_C(1) << (layout->root_shift - layout->group_shift)) - 1;
	uint64_t group = item >> layout->group_shift & group_mask;

	place |= item >> (64 - layout->key_bits);
	delta->bytenr = batch_bytenr(place >> layout->row_bits,
				     (place & layout->row_mask) + layout->row_low);
	delta->root = item >> layout->root_shift & root_mask;
	delta->reserved = 0;
	delta->offset = 0;
	delta->count = (int32_t)((int64_t)(item & layout->count_max) - (int64_t)layout->count_bias);
	delta->length_4k = (uint32_t)(item >> layout->length_shift & layout->length_max);
	delta->seq_type = batch->groups[group] << 8 | RS_DELTA_ROOT;
}

/* What is known of the entry that packed items are being added to. */
struct fold_run {
	uint64_t key;
	int64_t sum;
	uint64_t length;
};

/*
 * Every item writes the entry as it is with it, and the next one either overwrites that or goes
 * behind it: there is nothing to mispredict. Returns where the last one is.
 */
static struct rs_delta *fold_block(const struct batch *batch, const struct batch_layout *layout,
				   uint64_t place, const uint64_t *items, size_t count,
				   struct fold_run *run, struct rs_delta *slot)
{
	uint64_t key = run->key;
	uint64_t length = run->length;
	int64_t sum = run->sum;
	size_t at;

	for (at = 0; at < count; at++) {
		uint64_t item = items[at];
		uint64_t next = item >> layout->group_shift;
		uint64_t same = (uint64_t)0 - (next == key);
		struct rs_delta delta;

		slot += (next != key) & (sum != 0);
		fold_unpack(batch, layout, place, item, &delta);
		sum = (int64_t)((uint64_t)sum & same) + delta.count;
		length &= same;
		length = length > delta.length_4k ? length : delta.length_4k;
		delta.count = (int32_t)sum;
		delta.length_4k = (uint32_t)length;
		*slot = delta;
		key = next;
	}
	run->key = key;
	run->length = length;
	run->sum = sum;
	return slot;
}

static void fold_packed(const struct batch *batch, size_t piece, const uint64_t *items,
			size_t count, struct fold_writer *writer)
{
	const struct batch_layout layout = batch->layout;
	uint64_t place = (uint64_t)piece << layout.key_bits;
	/* Keys have fewer bits, so that the first item begins an entry. */
	struct fold_run run = { .key = UINT64_MAX };
	size_t at;
	size_t block;

	for (at = 0; at < count; at += block) {
		block = count - at < FOLD_BLOCK ? count - at : FOLD_BLOCK;
		if (writer->buffered && (size_t)(writer->limit - writer->slot) < block + 1) {
			const struct rs_delta *open = writer->slot;

			fold_writer_flush(writer);
			/* With a sum of 0 nothing stands at `open`, which may be the buffer's end. */
			if (run.sum)
				*writer->slot = *open;
		}
		writer->slot =
			fold_block(batch, &layout, place, items + at, block, &run, writer->slot);
	}
	writer->slot += run.sum != 0;
}

/* Packed items and whole root deltas, one by one. */
static void fold_both(const struct batch *batch, size_t piece, const uint64_t *items, size_t count,
		      const struct batch_whole *whole, struct fold_writer *writer)
{
	uint64_t place = (uint64_t)piece << batch->layout.key_bits;
	size_t at = 0;
	size_t whole_at = whole->refs;
	struct rs_delta packed;

	if (count)
		fold_unpack(batch, &batch->layout, place, items[0], &packed);
	while (at < count || whole_at < whole->count) {
		if (whole_at < whole->count &&
		    (at == count || batch_order(batch_whole_at(whole, whole_at), &packed) < 0)) {
			fold_writer_take(writer, batch_whole_at(whole, whole_at++));
			continue;
		}
		fold_writer_take(writer, &packed);
		if (++at < count)
			fold_unpack(batch, &batch->layout, place, items[at], &packed);
	}
	fold_writer_close(writer);
}

static void fold_refs(const struct batch_whole *whole, struct fold_writer *writer)
{
	size_t at;

	for (at = 0; at < whole->refs; at++) {
		if (at + FOLD_AHEAD < whole->refs)
			__builtin_prefetch(batch_whole_at(whole, at + FOLD_AHEAD));
		fold_writer_take(writer, batch_whole_at(whole, at));
	}
	fold_writer_close(writer);
}

/* The packed items of a piece, one behind the other, sorted. */
static const uint64_t *fold_packed_sort(struct batch *batch, size_t piece, uint64_t *items,
					uint64_t *other)
{
	const struct batch_chunk *chunk = batch->packed.tails[piece].first;
	size_t count = batch->packed.fill[piece];
	size_t at;
	size_t here;

	for (at = 0; at < count; at += here, chunk = chunk->next) {
		here = count - at < BATCH_CHUNK_PACKED ? count - at : BATCH_CHUNK_PACKED;
		memcpy(items + at, chunk->data, here * sizeof(*items));
	}
	return batch_sort_items(items, other, count, UINT64_MAX << batch->layout.group_shift);
}

static void fold_piece(struct batch *batch, size_t piece, struct fold_writer *refs,
		       struct fold_writer *roots)
{
	struct batch_work *work = &batch->work;
	struct batch_whole whole = { .count = 0 };
	size_t packed = batch->packed.fill[piece];
	const uint64_t *items = NULL;

	if (batch->whole.fill[piece]) {
		batch_whole_sort(batch, piece, &whole);
		fold_refs(&whole, refs);
	}
	/* Packed items have room of their own: both are needed where there are whole root deltas. */
	if (packed)
		items = fold_packed_sort(batch, piece, work->packed, work->packed_other);
	if (whole.refs == whole.count && packed * batch->layout.count_bias <= INT32_MAX)
		fold_packed(batch, piece, items, packed, roots);
	else
		fold_both(batch, piece, items, packed, &whole, roots);
}

/* The first of `count` entries from `from` on that is of `part` or a higher one. */
static size_t fold_part_find(const struct rs_delta *entries, size_t from, size_t count,
			     unsigned part)
{
	size_t to = from;
	size_t step;

	for (step = 1; to < count && delta_part(entries[to].bytenr) < part; step *= 2) {
		from = to + 1;
		to += step;
	}
	to = to < count ? to : count;
	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (delta_part(entries[middle].bytenr) < part)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static void fold_parts_find(const struct rs_delta *entries, size_t count, size_t *begin)
{
	unsigned part;

	begin[0] = 0;
	for (part = 1; part < DELTA_PARTS; part++)
		begin[part] = fold_part_find(entries, begin[part - 1], count, part);
	begin[DELTA_PARTS] = count;
}

void batch_fold_all(struct batch *batch, struct rs_delta *entries, struct batch_result *result)
{
	size_t pieces = (size_t)1 << batch->layout.piece_bits;
	bool buffered = batch->total * sizeof(*entries) > BATCH_STREAM_ENTRIES_BYTES &&
			(uintptr_t)entries % 16 == 0;
	struct fold_writer refs;
	struct fold_writer roots;
	size_t piece;

	result->roots = entries;
	result->refs = entries + batch->roots;
	fold_writer_init(&roots, result->roots, batch->roots, buffered);
	fold_writer_init(&refs, result->refs, batch->total - batch->roots, buffered);
	for (piece = 0; piece < pieces; piece++)
		if (batch->packed.fill[piece] || batch->whole.fill[piece])
			fold_piece(batch, piece, &refs, &roots);
	fold_writer_flush(&refs);
	fold_writer_flush(&roots);
	batch_stream_end();
	fold_parts_find(result->refs, fold_writer_count(&refs), result->ref_begin);
	fold_parts_find(result->roots, fold_writer_count(&roots), result->root_begin);
	result->merged = batch->total - fold_writer_count(&refs) - fold_writer_count(&roots);
}
