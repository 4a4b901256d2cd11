/* SPDX-License-Identifier: MIT */
#include "core/forest/refs.h"

#include <inttypes.h>

#include "core/base/plant.h"
#include "core/forest/trans.h"

/* Deltas that a writer counts by itself before it adds them to the forest's number. */
#define REFS_COUNTED 4096U

static int refs_record(struct rs_writer *writer, const struct rs_delta *delta)
{
	int result = rs_operation_record(writer->producer, delta);

	if (result)
		return trans_abort(writer->forest, result,
				   "a reference of %" PRIu64 " cannot be recorded", delta->bytenr);
	if (++writer->deltas == REFS_COUNTED) {
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&writer->forest->deltas, REFS_COUNTED);
		writer->deltas = 0;
	}
	return 0;
}

int refs_change(struct rs_writer *writer, const struct rs_ref_action *action)
{
	struct forest_accounts *tracer = writer->forest->tracer;
	const struct rs_observer *observer = writer->forest->observer;
	struct rs_delta delta = {
		.bytenr = action->bytenr,
		.count = action->kind == RS_REF_DROP ? -1 : 1,
		.length_4k = (uint32_t)(action->bytes / RS_DELTA_UNIT),
	};
	int result;

	if (action->metadata) {
		delta.owner = action->owner;
		delta.seq_type = action->parent ? RS_DELTA_SHARED_BLOCK_REF :
						  RS_DELTA_TREE_BLOCK_REF;
	} else if (action->parent) {
		delta.seq_type = RS_DELTA_SHARED_DATA_REF;
	} else {
		delta.owner = action->owner;
		delta.offset = action->offset;
		delta.seq_type = RS_DELTA_EXTENT_DATA_REF;
	}
	delta.root = action->parent ? action->parent : action->root;
	if (observer && observer->ref) {
		result = observer->ref(observer->argument, action);
		if (result)
			return trans_abort(
				writer->forest, result,
				"the observer refuses a change of a reference of %" PRIu64,
				action->bytenr);
	}
	if (tracer)
		tracer->hooks->trace(tracer, action->bytenr, action->bytes, action->metadata);
	return refs_record(writer, &delta);
}

int refs_account(struct rs_writer *writer, uint64_t root, uint64_t bytenr, uint64_t bytes,
		 int count, uint64_t allocated)
{
	/* Without accounts only what was allocated is told, so that it comes back if nothing refers to it in the end. */
	const struct rs_delta delta = {
		.bytenr = bytenr,
		.root = root,
		.reserved = allocated,
		.count = writer->forest->root_deltas ? count : 0,
		.length_4k = (uint32_t)(bytes / RS_DELTA_UNIT),
		.seq_type = RS_DELTA_ROOT,
	};

	if (!delta.count && !allocated)
		return 0;
	if (count < 0 && plant_armed("refs.account-lost"))
		return 0;
	return refs_record(writer, &delta);
}
