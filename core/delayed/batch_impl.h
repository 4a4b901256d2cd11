/* SPDX-License-Identifier: MIT */
/*
 * What the files batch*.c share: how packed items are laid out, where dealt items are kept, and
 * the calls between them. Callers: as core/delayed/batch.h.
 *
 * A place is an address as the result is ordered: the part on top, then the row, the number of
 * the sector among those of its part. Pieces are equal ranges of places between the lowest and
 * the highest row that the batch is expected to have.
 *
 * A packed item is a root delta in 8 bytes, from the top: place within the piece, root, group,
 * length, count. All else is kept whole, with the number of its group in place of its own.
 */
#ifndef REFSTORM_DELAYED_BATCH_IMPL_H
#define REFSTORM_DELAYED_BATCH_IMPL_H

#include <assert.h>
#include <errno.h>
#include <string.h>
#ifdef __x86_64__
#include <emmintrin.h>
#endif

#include "core/base/order.h"
#include "core/delayed/batch.h"

#define BATCH_UNIT_BITS 12U
#define BATCH_PART_BITS 6U
#define BATCH_STRIPE_ROW_BITS (DELTA_STRIPE_BITS - BATCH_UNIT_BITS)
static_assert(DELTA_PARTS == 1U << BATCH_PART_BITS, "parts are a power of two");
static_assert(RS_DELTA_UNIT == 1U << BATCH_UNIT_BITS, "units are a power of two");

#define BATCH_PIECE_BITS_MAX 11U
#define BATCH_GROUPS_MAX 256U /* in packed items */
#define BATCH_SEQS 64U        /* numbers whose group is remembered */
#define BATCH_SAMPLES_MAX 4096U

/* What is written at once, so that a line of a piece is written once: 8 packed items, 4 whole deltas. */
#define BATCH_PACKED_LINE 8U
#define BATCH_WHOLE_LINE 4U
#define BATCH_CHUNK_BYTES 6144U
#define BATCH_CHUNK_PACKED (BATCH_CHUNK_BYTES / sizeof(uint64_t))
#define BATCH_CHUNK_WHOLE (BATCH_CHUNK_BYTES / sizeof(struct rs_delta))
static_assert(BATCH_CHUNK_PACKED % BATCH_PACKED_LINE == 0, "a chunk is whole lines");
static_assert(BATCH_CHUNK_WHOLE % BATCH_WHOLE_LINE == 0, "a chunk is whole lines");

/* Past this many bytes, of one kind if all are of that, what is written is not kept in the cache. */
#define BATCH_STREAM_BYTES (UINT64_C(1) << 23)
#define BATCH_STREAM_ENTRIES_BYTES (UINT64_C(1) << 24)

struct batch_layout {
	uint64_t row_low;
	uint64_t row_mask;
	uint64_t root_max;
	uint64_t length_max;
	uint64_t count_max; /* of count + count_bias */
	uint64_t count_bias;
	uint64_t place_unit; /* factors in place of shifts, which take longer by a variable number */
	uint64_t root_unit;
	uint64_t length_unit;
	unsigned row_bits;
	unsigned key_bits; /* of a place within a piece */
	unsigned piece_bits;
	unsigned root_shift;
	unsigned group_shift;
	unsigned length_shift;
};

/* A number's group. */
struct batch_seq {
	uint64_t match; /* seq_type of a root delta that may be packed; else one that never comes here */
	uint64_t seq;
	uint64_t last;       /* of its group */
	uint64_t group_item; /* the group's index, where an item has it */
};

struct batch_chunk {
	struct batch_chunk *next;
	unsigned char data[BATCH_CHUNK_BYTES] __attribute__((aligned(64)));
};

/* Where the next line of a piece goes. */
struct batch_tail {
	unsigned char *at;
	unsigned char *end;
	struct batch_chunk *first;
	struct batch_chunk *last;
};

/* One kind of items, dealt to pieces. */
struct batch_hand {
	unsigned char *lines; /* a line of each piece that is not full yet */
	struct batch_tail *tails;
	uint32_t *fill; /* items of each piece */
	size_t pieces;  /* for which there is memory */
	bool stream;    /* lines go past the cache */
};

struct batch_slab {
	void *block; /* as allocated */
	unsigned char *begin;
	size_t bytes;
};

/* What a piece is sorted with; as many items as the largest piece had. */
struct batch_work {
	uint64_t *packed;
	uint64_t *packed_other;
	size_t packed_capacity;
	uint64_t *items; /* of whole deltas */
	uint64_t *other;
	size_t capacity;
	struct batch_chunk **chunks; /* of the piece's whole deltas */
	size_t chunk_capacity;
};

struct batch {
	struct batch_layout layout;
	struct batch_hand packed;
	struct batch_hand whole;
	struct batch_slab *slabs;
	size_t slab_count;
	size_t slab_capacity;
	size_t slab_bytes;
	size_t slab_next; /* the one that is taken when the current one is used up */
	unsigned char *free_at;
	unsigned char *free_end;
	struct batch_work work;
	size_t total;
	size_t roots;
	uint64_t seq_first; /* the lowest and the highest group that a number had */
	uint64_t seq_last;
	unsigned group_count;
	uint64_t groups[BATCH_GROUPS_MAX]; /* last numbers, ascending; the index is what items have */
	struct batch_seq seqs[BATCH_SEQS];
	struct sequence_groups only_group; /* for a planted bug */
	uint64_t rows[BATCH_SAMPLES_MAX];
	uint64_t rows_other[BATCH_SAMPLES_MAX];
};

static inline uint64_t batch_row(uint64_t bytenr)
{
	uint64_t sector = bytenr >> BATCH_UNIT_BITS;
	uint64_t mask = (UINT64_C(1) << BATCH_STRIPE_ROW_BITS) - 1;

	return (sector >> BATCH_PART_BITS & ~mask) | (sector & mask);
}

static inline uint64_t batch_bytenr(uint64_t part, uint64_t row)
{
	uint64_t mask = (UINT64_C(1) << BATCH_STRIPE_ROW_BITS) - 1;

	return ((row & ~mask) << BATCH_PART_BITS | part << BATCH_STRIPE_ROW_BITS | (row & mask))
	       << BATCH_UNIT_BITS;
}

static inline unsigned batch_bits(uint64_t value)
{
	return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}

/* As the result is ordered: part, delta_order, group. */
static inline int batch_order(const struct rs_delta *a, const struct rs_delta *b)
{
	int order = delta_order_u64(delta_part(a->bytenr), delta_part(b->bytenr));

	if (!order)
		order = delta_order(a, b);
	return order ? order : delta_order_u64(a->seq_type, b->seq_type);
}

/* Looks at some deltas and lays out items and pieces for the batch. */
void batch_plan_make(struct batch *batch, const struct sequence_groups *groups,
		     const struct batch_span *spans, size_t span_count);

/* Deals all deltas to pieces. 0 or -ENOMEM. */
int batch_deal_all(struct batch *batch, const struct sequence_groups *groups,
		   const struct batch_span *spans, size_t span_count)
	__attribute__((warn_unused_result));
void batch_deal_destroy(struct batch *batch);

/*
 * Sorts by the bits of `mask`; `other` has as much room. Returns the one of both that has the
 * result. Items that differ in other bits only are in any order. Time is linear in the items for
 * each digit of the mask, whatever they are.
 */
uint64_t *batch_sort_items(uint64_t *items, uint64_t *other, size_t count, uint64_t mask);

/* Sorts and folds piece after piece. */
void batch_fold_all(struct batch *batch, struct rs_delta *entries, struct batch_result *result);

/* The whole deltas of a piece, sorted, back references first. */
struct batch_whole {
	struct batch_chunk **chunks;
	const uint64_t *items;
	uint64_t index_mask; /* of an item, the bits that are the delta's number */
	size_t count;
	size_t refs; /* so many of them are back references */
};
void batch_whole_sort(struct batch *batch, size_t piece, struct batch_whole *whole);

static inline const struct rs_delta *batch_whole_number(struct batch_chunk **chunks,
							uint64_t number)
{
	const void *data = chunks[number / BATCH_CHUNK_WHOLE]->data;

	return (const struct rs_delta *)data + number % BATCH_CHUNK_WHOLE;
}

static inline const struct rs_delta *batch_whole_at(const struct batch_whole *whole, size_t at)
{
	return batch_whole_number(whole->chunks, whole->items[at] & whole->index_mask);
}

#ifdef __x86_64__
/* Copies `bytes`, past the cache where that is possible. Both are aligned to 16. */
static inline void batch_stream(void *to, const void *from, size_t bytes)
{
	__m128i *into = (__m128i *)to;
	const __m128i *source = (const __m128i *)from;
	size_t at;

	for (at = 0; at < bytes / sizeof(*into); at++)
		_mm_stream_si128(into + at, _mm_load_si128(source + at));
}

/* What was streamed comes before all that other threads learn of later. */
static inline void batch_stream_end(void)
{
	_mm_sfence();
}
#else
static inline void batch_stream(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

static inline void batch_stream_end(void)
{
}
#endif

#endif /* REFSTORM_DELAYED_BATCH_IMPL_H */
