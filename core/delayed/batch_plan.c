/* SPDX-License-Identifier: MIT */
/*
 * How a batch is dealt: a sample of it says which rows, roots, lengths and groups are to be
 * expected. What is not as expected is kept whole, which costs more and is as right.
 */
#include "core/delayed/batch_impl.h"

#define PLAN_PIECE_ITEMS 4096U /* deltas of a piece on average */
#define PLAN_ROOT_BITS_MAX 32U /* higher ones are rare: kept whole */
#define PLAN_COUNT_BITS 8U     /* given to counts if there is room: their sums in a piece fit 32 */
#define PLAN_FAR_BITS 4U       /* by which a few rows widen the range if they are far off */
#define PLAN_SAMPLE_ONE_IN 32U
#define PLAN_SAMPLE_MIN 1024U

/* Bits that the fields of sampled root deltas need. */
struct plan_sample {
	size_t rows;
	unsigned root_bits;
	unsigned length_bits;
	unsigned count_bits;
};

/* The group of a number is one that packed items may have, if there is room. */
static void plan_group_add(struct batch *batch, uint64_t last)
{
	unsigned at = batch->group_count;

	while (at && batch->groups[at - 1] > last)
		at--;
	if (batch->group_count == BATCH_GROUPS_MAX || (at && batch->groups[at - 1] == last))
		return;
	memmove(batch->groups + at + 1, batch->groups + at,
		(batch->group_count - at) * sizeof(batch->groups[0]));
	batch->groups[at] = last;
	batch->group_count++;
}

static unsigned plan_max(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static void plan_sample_take(struct batch *batch, const struct sequence_groups *groups,
			     struct plan_sample *sample, const struct rs_delta *delta)
{
	struct batch_seq *seq = &batch->seqs[rs_delta_seq(delta) % BATCH_SEQS];
	int64_t count = delta->count;

	batch->rows[sample->rows++] = batch_row(delta->bytenr);
	if (!delta_is_root(delta) || delta->reserved || delta->offset ||
	    batch_bits(delta->root) > PLAN_ROOT_BITS_MAX)
		return;
	if (seq->seq != rs_delta_seq(delta)) {
		seq->seq = rs_delta_seq(delta);
		plan_group_add(batch, sequence_group(groups, seq->seq));
	}
	sample->root_bits = plan_max(sample->root_bits, batch_bits(delta->root));
	sample->length_bits = plan_max(sample->length_bits, batch_bits(delta->length_4k));
	sample->count_bits = plan_max(sample->count_bits,
				      1 + batch_bits((uint64_t)(count < 0 ? -count : count)));
}

static void plan_sample_all(struct batch *batch, const struct sequence_groups *groups,
			    const struct batch_span *spans, size_t span_count,
			    struct plan_sample *sample)
{
	size_t samples = batch->total / PLAN_SAMPLE_ONE_IN;
	size_t step;
	size_t at = 0; /* in the span */
	size_t span;

	samples = samples < PLAN_SAMPLE_MIN ? PLAN_SAMPLE_MIN : samples;
	samples = samples > BATCH_SAMPLES_MAX ? BATCH_SAMPLES_MAX : samples;
	step = batch->total / samples + 1;
	for (span = 0; span < span_count; span++) {
		for (; at < spans[span].count; at += step)
			plan_sample_take(batch, groups, sample, &spans[span].first[at]);
		at -= spans[span].count;
	}
}

/* Rows from `low` up to `high` and some beyond, to the next power of two. */
static void plan_rows_set(struct batch_layout *layout, uint64_t low, uint64_t high)
{
	uint64_t slack;

	layout->row_bits = plan_max(batch_bits(high - low), 1);
	layout->row_mask = (UINT64_C(1) << layout->row_bits) - 1;
	slack = (layout->row_mask - (high - low)) / 2;
	layout->row_low = high <= layout->row_mask || low < slack ? 0 : low - slack;
}

static void plan_pieces(struct batch *batch)
{
	struct batch_layout *layout = &batch->layout;
	unsigned most = BATCH_PART_BITS + layout->row_bits - 1;

	layout->piece_bits = batch_bits((batch->total - 1) / PLAN_PIECE_ITEMS);
	if (layout->piece_bits > BATCH_PIECE_BITS_MAX)
		layout->piece_bits = BATCH_PIECE_BITS_MAX;
	if (layout->piece_bits > most)
		layout->piece_bits = most;
	layout->key_bits = BATCH_PART_BITS + layout->row_bits - layout->piece_bits;
}

/*
 * Rows as sampled. Without the lowest and highest few if those are far off, or if the fields of
 * packed items fit only then.
 */
static void plan_rows(struct batch *batch, const struct plan_sample *sample, unsigned field_bits)
{
	struct batch_layout *layout = &batch->layout;
	size_t few = sample->rows / 256;
	size_t more = sample->rows / 32;
	size_t last = sample->rows - 1;
	const uint64_t *sorted;

	sorted = batch_sort_items(batch->rows, batch->rows_other, sample->rows, UINT64_MAX);
	plan_rows_set(layout, sorted[0], sorted[last]);
	if (layout->row_bits >= PLAN_FAR_BITS + batch_bits(sorted[last - few] - sorted[few]))
		plan_rows_set(layout, sorted[few], sorted[last - few]);
	plan_pieces(batch);
	if (layout->key_bits + field_bits <= 64)
		return;
	plan_rows_set(layout, sorted[more], sorted[last - more]);
	plan_pieces(batch);
}

static void plan_fields(struct batch *batch, const struct plan_sample *sample, unsigned group_bits)
{
	struct batch_layout *layout = &batch->layout;
	unsigned room = 64 - layout->key_bits;
	unsigned fixed = group_bits + sample->length_bits + sample->count_bits;
	unsigned root_bits = sample->root_bits;
	unsigned spare;

	if (fixed > room) {
		/* No group may be packed, and so nothing is. */
		batch->group_count = 0;
		return;
	}
	if (root_bits > room - fixed)
		root_bits = room - fixed;
	spare = room - fixed - root_bits;
	layout->root_shift = 64 - layout->key_bits - root_bits;
	layout->group_shift = layout->root_shift - group_bits;
	/* What is left over makes lengths and counts fit that the sample has missed. */
	layout->length_shift = sample->count_bits + spare / 2;
	if (layout->length_shift > PLAN_COUNT_BITS)
		layout->length_shift = plan_max(sample->count_bits, PLAN_COUNT_BITS);
	layout->root_max = (UINT64_C(1) << root_bits) - 1;
	layout->length_max = (UINT64_C(1) << (layout->group_shift - layout->length_shift)) - 1;
	layout->count_max = (UINT64_C(1) << layout->length_shift) - 1;
	layout->count_bias = UINT64_C(1) << (layout->length_shift - 1);
	layout->place_unit = UINT64_C(1) << (64 - layout->key_bits);
	layout->root_unit = UINT64_C(1) << layout->root_shift;
	layout->length_unit = UINT64_C(1) << layout->length_shift;
}

static void plan_seqs_clear(struct batch *batch)
{
	unsigned at;

	/* A number that belongs elsewhere is never found here. */
	for (at = 0; at < BATCH_SEQS; at++) {
		batch->seqs[at].seq = (at + 1) % BATCH_SEQS;
		batch->seqs[at].match = batch->seqs[at].seq << 8;
	}
}

void batch_plan_make(struct batch *batch, const struct sequence_groups *groups,
		     const struct batch_span *spans, size_t span_count)
{
	/* A count needs two bits at least, for its sign. */
	struct plan_sample sample = { .count_bits = 2 };
	unsigned group_bits;

	batch->group_count = 0;
	plan_seqs_clear(batch);
	plan_sample_all(batch, groups, spans, span_count, &sample);
	plan_seqs_clear(batch);
	group_bits = batch->group_count ? batch_bits(batch->group_count - 1) : 0;
	plan_rows(batch, &sample,
		  group_bits + sample.root_bits + sample.length_bits + sample.count_bits);
	plan_fields(batch, &sample, group_bits);
}
