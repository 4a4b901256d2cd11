/* SPDX-License-Identifier: MIT */
/*
 * The pass over memory: root deltas are packed, and all are dealt to pieces, a line at a time so
 * that what is written does not have to be read first.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/delayed/batch_impl.h"

#define DEAL_SLAB_MIN (UINT64_C(1) << 16)
#define DEAL_SLAB_MAX (UINT64_C(1) << 25)
#define DEAL_HUGE (UINT64_C(1) << 21)
#define DEAL_AHEAD 12U /* deltas */

/* As much as there is already, so that there are few slabs, and never much more than is used. */
static int deal_slab_add(struct batch *batch)
{
	size_t bytes = batch->slab_bytes;
	size_t align = 64;
	struct batch_slab *slabs;
	struct batch_slab *slab;

	bytes = bytes < DEAL_SLAB_MIN ? DEAL_SLAB_MIN : bytes;
	bytes = bytes > DEAL_SLAB_MAX ? DEAL_SLAB_MAX : bytes;
	if (bytes >= DEAL_HUGE)
		align = DEAL_HUGE;
	slabs = array_grow(batch->slabs, batch->slab_count, 1, &batch->slab_capacity,
			   sizeof(*slabs));
	if (!slabs)
		return -ENOMEM;
	batch->slabs = slabs;
	slab = &slabs[batch->slab_count];
	slab->block = alloc_array(bytes + align, 1);
	if (!slab->block)
		return -ENOMEM;
	slab->begin = (unsigned char *)(((uintptr_t)slab->block + align - 1) & ~(align - 1));
	slab->bytes = bytes;
	/* Lines go to many pages at a time; with small ones each takes a walk of the page table. */
	if (align == DEAL_HUGE)
		(void)madvise(slab->begin, bytes, MADV_HUGEPAGE);
	batch->slab_count++;
	batch->slab_bytes += bytes;
	return 0;
}

static struct batch_chunk *deal_chunk(struct batch *batch)
{
	struct batch_chunk *chunk;

	if ((size_t)(batch->free_end - batch->free_at) < sizeof(*chunk)) {
		const struct batch_slab *slab;

		if (batch->slab_next == batch->slab_count && deal_slab_add(batch))
			return NULL;
		slab = &batch->slabs[batch->slab_next++];
		batch->free_at = slab->begin;
		batch->free_end = slab->begin + slab->bytes;
	}
	chunk = (struct batch_chunk *)(void *)batch->free_at;
	batch->free_at += sizeof(*chunk);
	chunk->next = NULL;
	return chunk;
}

static int deal_tail_extend(struct batch *batch, struct batch_tail *tail)
{
	struct batch_chunk *chunk = deal_chunk(batch);

	if (!chunk)
		return -ENOMEM;
	if (tail->last)
		tail->last->next = chunk;
	else
		tail->first = chunk;
	tail->last = chunk;
	tail->at = chunk->data;
	tail->end = chunk->data + sizeof(chunk->data);
	return 0;
}

static inline int deal_line(struct batch *batch, struct batch_tail *tail, const void *line,
			    size_t bytes, bool stream)
{
	if (__builtin_expect(tail->at == tail->end, 0) && deal_tail_extend(batch, tail))
		return -ENOMEM;
	if (stream)
		batch_stream(tail->at, line, bytes);
	else
		memcpy(tail->at, line, bytes);
	tail->at += bytes;
	return 0;
}

/*
 * Puts an item into the line of its piece, or where `stream` is false straight into the chunk, as
 * all of that stays in the cache.
 */
static inline int deal_item(struct batch *batch, const struct batch_hand *hand, size_t piece,
			    const void *item, size_t bytes, size_t per_line, bool stream)
{
	unsigned char *line = hand->lines + piece * per_line * bytes;
	struct batch_tail *tail = &hand->tails[piece];
	uint32_t fill = hand->fill[piece]++;

	if (!stream)
		return deal_line(batch, tail, item, bytes, false);
	memcpy(line + fill % per_line * bytes, item, bytes);
	if (fill % per_line != per_line - 1)
		return 0;
	return deal_line(batch, tail, line, per_line * bytes, true);
}

/* The piece of a whole delta; rows beyond those expected go to the nearest. */
static inline size_t deal_piece(const struct batch_layout *layout, uint64_t bytenr)
{
	uint64_t row = batch_row(bytenr);
	uint64_t above = row > layout->row_low ? row - layout->row_low : 0;

	if (above > layout->row_mask)
		above = layout->row_mask;
	return ((uint64_t)delta_part(bytenr) << layout->row_bits | above) >> layout->key_bits;
}

static inline int deal_whole(struct batch *batch, const struct batch_layout *layout,
			     const struct rs_delta *delta, uint64_t last, bool stream)
{
	size_t piece = deal_piece(layout, delta->bytenr);
	struct rs_delta copy = *delta;

	copy.seq_type = last << 8 | (delta->seq_type & 0xff);
	batch->roots += delta_is_root(delta);
	return deal_item(batch, &batch->whole, piece, &copy, sizeof(copy), BATCH_WHOLE_LINE,
			 stream);
}

static int deal_compare_u64(const void *a, const void *b)
{
	return delta_order_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* Looks up the group of a number that is not remembered. */
static void __attribute__((noinline))
deal_seq_learn(struct batch *batch, const struct sequence_groups *groups, struct batch_seq *slot,
	       uint64_t seq)
{
	const uint64_t *group;

	slot->seq = seq;
	slot->last = sequence_group(groups, seq);
	batch->seq_first = slot->last < batch->seq_first ? slot->last : batch->seq_first;
	batch->seq_last = slot->last > batch->seq_last ? slot->last : batch->seq_last;
	group = bsearch(&slot->last, batch->groups, batch->group_count, sizeof(*group),
			deal_compare_u64);
	if (group) {
		slot->match = seq << 8 | RS_DELTA_ROOT;
		slot->group_item = (uint64_t)(group - batch->groups) << batch->layout.group_shift;
	} else {
		/* That of another slot's number: not found here. */
		slot->match = (seq + 1) << 8;
	}
}

/* False if it cannot be packed. */
static inline bool deal_pack(const struct batch_layout *layout, const struct batch_seq *slot,
			     const struct rs_delta *delta, size_t *piece, uint64_t *item)
{
	uint64_t bytenr = delta->bytenr;
	uint64_t row = batch_row(bytenr) - layout->row_low;
	uint64_t count = (uint64_t)(int64_t)delta->count + layout->count_bias;
	uint64_t place;

	if (row > layout->row_mask || delta->root > layout->root_max ||
	    delta->length_4k > layout->length_max || count > layout->count_max ||
	    delta->reserved | delta->offset | (bytenr & (RS_DELTA_UNIT - 1)))
		return false;
	place = delta_part(bytenr) * (layout->row_mask + 1) + row;
	*piece = place >> layout->key_bits;
	*item = place * layout->place_unit + delta->root * layout->root_unit + slot->group_item +
		delta->length_4k * layout->length_unit + count;
	return true;
}

static inline int deal_span(struct batch *batch, const struct sequence_groups *groups,
			    const struct batch_span *span, bool stream_packed, bool stream_whole)
{
	/* Copies, which no store can change. */
	const struct batch_layout layout = batch->layout;
	const struct batch_hand hand = batch->packed;
	const struct rs_delta *delta = span->first;
	const struct rs_delta *end = delta + span->count;
	int ret = 0;

	for (; delta != end && !ret; delta++) {
		uint64_t seq = rs_delta_seq(delta);
		struct batch_seq *slot = &batch->seqs[seq % BATCH_SEQS];
		uint64_t item;
		size_t piece;

		__builtin_prefetch(delta + DEAL_AHEAD);
		if (__builtin_expect(slot->seq != seq, 0))
			deal_seq_learn(batch, groups, slot, seq);
		if (delta->seq_type == slot->match &&
		    deal_pack(&layout, slot, delta, &piece, &item))
			ret = deal_item(batch, &hand, piece, &item, sizeof(item), BATCH_PACKED_LINE,
					stream_packed);
		else
			ret = deal_whole(batch, &layout, delta, slot->last, stream_whole);
	}
	return ret;
}

/* Whole deltas are larger, and stream first. */
static int deal_span_as(struct batch *batch, const struct sequence_groups *groups,
			const struct batch_span *span)
{
	if (batch->packed.stream)
		return deal_span(batch, groups, span, true, true);
	if (batch->whole.stream)
		return deal_span(batch, groups, span, false, true);
	return deal_span(batch, groups, span, false, false);
}

static void deal_prefetch(const struct batch_span *span)
{
	size_t at;

	for (at = 0; at < DEAL_AHEAD && at < span->count; at++)
		__builtin_prefetch(span->first + at);
}

/* What is left in lines that are not full. */
static int deal_rest(struct batch *batch, const struct batch_hand *hand, size_t pieces,
		     size_t per_line, size_t item_bytes)
{
	size_t piece;

	for (piece = 0; piece < pieces; piece++) {
		struct batch_tail *tail = &hand->tails[piece];
		size_t left = hand->fill[piece] % per_line;

		if (!left || !hand->stream)
			continue;
		if (tail->at == tail->end && deal_tail_extend(batch, tail))
			return -ENOMEM;
		memcpy(tail->at, hand->lines + piece * per_line * item_bytes, left * item_bytes);
	}
	return 0;
}

static void deal_hand_destroy(struct batch_hand *hand)
{
	alloc_free(hand->lines);
	alloc_free(hand->tails);
	alloc_free(hand->fill);
	memset(hand, 0, sizeof(*hand));
}

static int deal_hand_begin(struct batch_hand *hand, size_t pieces, size_t line_bytes)
{
	if (hand->pieces < pieces) {
		deal_hand_destroy(hand);
		hand->lines = alloc_aligned(64, pieces, line_bytes);
		hand->tails = alloc_array(pieces, sizeof(*hand->tails));
		hand->fill = alloc_array(pieces, sizeof(*hand->fill));
		if (!hand->lines || !hand->tails || !hand->fill) {
			deal_hand_destroy(hand);
			return -ENOMEM;
		}
		hand->pieces = pieces;
	}
	memset(hand->tails, 0, pieces * sizeof(*hand->tails));
	memset(hand->fill, 0, pieces * sizeof(*hand->fill));
	return 0;
}

int batch_deal_all(struct batch *batch, const struct sequence_groups *groups,
		   const struct batch_span *spans, size_t span_count)
{
	size_t pieces = (size_t)1 << batch->layout.piece_bits;
	size_t span;
	size_t piece;
	int ret;

	ret = deal_hand_begin(&batch->packed, pieces, BATCH_PACKED_LINE * sizeof(uint64_t));
	if (!ret)
		ret = deal_hand_begin(&batch->whole, pieces,
				      BATCH_WHOLE_LINE * sizeof(struct rs_delta));
	batch->slab_next = 0;
	batch->free_at = NULL;
	batch->free_end = NULL;
	batch->roots = 0;
	batch->seq_first = UINT64_MAX;
	batch->seq_last = 0;
	batch->packed.stream = batch->total * sizeof(uint64_t) > BATCH_STREAM_BYTES;
	batch->whole.stream = batch->total * sizeof(struct rs_delta) > BATCH_STREAM_BYTES;
	for (span = 0; span < span_count && !ret; span++) {
		/* The machine looks ahead inside of a span, and cannot know where the next one is. */
		if (span + 1 < span_count)
			deal_prefetch(&spans[span + 1]);
		ret = deal_span_as(batch, groups, &spans[span]);
	}
	if (!ret)
		ret = deal_rest(batch, &batch->packed, pieces, BATCH_PACKED_LINE, sizeof(uint64_t));
	if (!ret)
		ret = deal_rest(batch, &batch->whole, pieces, BATCH_WHOLE_LINE,
				sizeof(struct rs_delta));
	for (piece = 0; piece < pieces && !ret; piece++)
		batch->roots += batch->packed.fill[piece];
	return ret;
}

void batch_deal_destroy(struct batch *batch)
{
	size_t at;

	deal_hand_destroy(&batch->packed);
	deal_hand_destroy(&batch->whole);
	for (at = 0; at < batch->slab_count; at++)
		alloc_free(batch->slabs[at].block);
	alloc_free(batch->slabs);
}
