/* SPDX-License-Identifier: MIT */
#include "core/delayed/batch.h"

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/delayed/batch_impl.h"

int batch_create(struct batch **out)
{
	*out = alloc_aligned(ORDER_LINE, 1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void batch_work_destroy(struct batch_work *work)
{
	alloc_free(work->items);
	alloc_free(work->other);
	alloc_free(work->packed);
	alloc_free(work->packed_other);
	alloc_free(work->chunks);
	memset(work, 0, sizeof(*work));
}

void batch_destroy(struct batch *batch)
{
	if (!batch)
		return;
	batch_deal_destroy(batch);
	batch_work_destroy(&batch->work);
	alloc_free(batch);
}

static size_t batch_fill_max(const struct batch_hand *hand, size_t pieces)
{
	size_t max = 0;
	size_t piece;

	for (piece = 0; piece < pieces; piece++)
		if (hand->fill[piece] > max)
			max = hand->fill[piece];
	return max;
}

/* Two arrays of that many items; the old ones go first, since nothing in them is needed. */
static int batch_pair_reserve(uint64_t **first, uint64_t **second, size_t *capacity, size_t count)
{
	if (count <= *capacity)
		return 0;
	/* Some more, so that batches of one size, whose pieces vary, soon need no more. */
	count += count / 4;
	alloc_free(*first);
	alloc_free(*second);
	*first = alloc_array(count, sizeof(**first));
	*second = alloc_array(count, sizeof(**second));
	*capacity = *first && *second ? count : 0;
	return *capacity ? 0 : -ENOMEM;
}

static int batch_work_reserve(struct batch *batch)
{
	struct batch_work *work = &batch->work;
	size_t pieces = (size_t)1 << batch->layout.piece_bits;
	size_t whole = batch_fill_max(&batch->whole, pieces);
	size_t chunks;
	int ret;

	ret = batch_pair_reserve(&work->packed, &work->packed_other, &work->packed_capacity,
				 batch_fill_max(&batch->packed, pieces));
	if (!ret)
		ret = batch_pair_reserve(&work->items, &work->other, &work->capacity, whole);
	if (ret)
		return ret;
	chunks = work->capacity / BATCH_CHUNK_WHOLE + 1;
	if (whole && chunks > work->chunk_capacity) {
		alloc_free(work->chunks);
		work->chunk_capacity = 0;
		work->chunks = alloc_array(chunks, sizeof(*work->chunks));
		if (!work->chunks)
			return -ENOMEM;
		work->chunk_capacity = chunks;
	}
	return 0;
}

static void batch_result_clear(struct batch_result *result, struct rs_delta *entries)
{
	memset(result, 0, sizeof(*result));
	result->refs = entries;
	result->roots = entries;
}

int batch_merge(struct batch *batch, const struct sequence_groups *groups,
		const struct batch_span *spans, size_t span_count, struct rs_delta *entries,
		struct batch_result *result)
{
	size_t span;
	int ret;

	batch_result_clear(result, entries);
	batch->total = 0;
	for (span = 0; span < span_count; span++)
		batch->total += spans[span].count;
	if (!batch->total)
		return 0;
	/* Numbers of items in a piece have 32 bits; so many deltas have no room in memory. */
	if (batch->total > UINT32_MAX)
		return -ENOMEM;
	if (plant_armed("batch.cancel-across-cut") && groups->count) {
		batch->only_group.count = 1;
		batch->only_group.last[0] = groups->last[groups->count - 1];
		groups = &batch->only_group;
	}
	batch_plan_make(batch, groups, spans, span_count);
	ret = batch_deal_all(batch, groups, spans, span_count);
	if (!ret)
		ret = batch_work_reserve(batch);
	if (ret)
		return ret;
	batch_fold_all(batch, entries, result);
	result->seq_first = batch->seq_first;
	result->seq_last = batch->seq_last;
	return 0;
}
