// SPDX-License-Identifier: MIT
#include "core/forest/extent_index_impl.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

int extent_index_create(struct extent_index **out)
{
	*out = alloc_zeroed(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static int index_release(void *argument, struct extent_entry *entry)
{
	extent_index_refs_release(argument, entry);
	return 0;
}

void extent_index_destroy(struct extent_index *index)
{
	if (!index)
		return;
	extent_index_map_each(&index->map, 0, index_release, index);
	extent_index_map_destroy(&index->map);
	alloc_free(index->merged.keyed);
	alloc_free(index->merged.full);
	alloc_free(index);
}

static int index_check_length(const struct rs_delta *delta, uint64_t bytenr, uint64_t bytes,
			      struct rs_error *error)
{
	uint64_t length = (uint64_t)delta->length_4k * RS_DELTA_UNIT;

	if (length == bytes && length)
		return 0;
	return error_set_at(error, -EUCLEAN, bytenr,
			    "an extent of %" PRIu64 " bytes is changed as one of %" PRIu64, bytes,
			    length);
}

static inline uint64_t index_bytes(const struct extent_entry *entry)
{
	return (uint64_t)entry->length_4k * RS_DELTA_UNIT;
}

/* All deltas speak of one extent: `entry`, or where that is NULL the one that the first describes. */
static int index_check(const struct extent_entry *entry, const struct rs_head *head,
		       struct extent_entry *fresh, struct rs_error *error)
{
	const struct rs_delta *first = head->ref_count ? head->refs : head->roots;
	int ret = 0;
	size_t at;

	if (!entry) {
		fresh->length_4k = first->length_4k;
		fresh->metadata = extent_type_is_metadata(rs_delta_type(first)) ? 1 : 0;
		entry = fresh;
	}
	for (at = 0; at < head->ref_count && !ret; at++) {
		unsigned type = rs_delta_type(&head->refs[at]);

		if (!extent_type_is_known(type))
			return error_set_at(error, -EUCLEAN, head->bytenr,
					    "%u is no type of a back reference", type);
		if (extent_type_is_metadata(type) != entry->metadata)
			return error_set_at(error, -EUCLEAN, head->bytenr,
					    "a back reference of type %u to %s", type,
					    entry->metadata ? "a tree block" : "data");
		ret = index_check_length(&head->refs[at], head->bytenr, index_bytes(entry), error);
	}
	for (at = 0; at < head->root_count && !ret; at++)
		ret = index_check_length(&head->roots[at], head->bytenr, index_bytes(entry), error);
	return ret;
}

/* What becomes of an extent that was not there and is not there. */
static enum extent_outcome index_outcome_without(const struct rs_head *head)
{
	size_t at;

	for (at = 0; at < head->root_count; at++)
		if (head->roots[at].reserved)
			return EXTENT_FREED;
	return EXTENT_ABSENT;
}

static bool merge_leaves_none(const struct extent_entry *entry, const struct extent_merge *merge)
{
	return entry->keyed_count + merge->keyed.count == merge->keyed.high - merge->keyed.low &&
	       entry->full_count + merge->full.count == merge->full.high - merge->full.low;
}

/* `entry` is in the index, or is `fresh`, which is not yet. */
static int index_change(struct extent_index *index, struct extent_entry *entry, bool fresh,
			const struct rs_head *head, enum extent_outcome *outcome,
			struct rs_error *error)
{
	struct extent_merge merge;
	int ret = extent_index_refs_merge(index, entry, head, &merge, error);

	if (ret)
		return ret;
	if (merge_leaves_none(entry, &merge)) {
		*outcome = fresh ? index_outcome_without(head) : EXTENT_FREED;
		if (fresh)
			return 0;
		extent_index_refs_release(index, entry);
		extent_index_map_remove(&index->map, head->bytenr);
		return 0;
	}
	ret = extent_index_refs_replace(index, entry, &merge);
	if (!ret && fresh) {
		ret = extent_index_map_insert(&index->map, entry);
		if (ret)
			extent_index_refs_release(index, entry);
	}
	if (ret)
		return error_no_memory(error, "the index of extents");
	*outcome = fresh ? EXTENT_MADE : EXTENT_KEPT;
	return 0;
}

int extent_index_apply(struct extent_index *index, const struct rs_head *head,
		       struct extent_result *result, struct rs_error *error)
{
	struct extent_entry fresh = { .bytenr = head->bytenr };
	struct extent_entry *entry = extent_index_map_seek(&index->map, head->bytenr);
	int ret;

	*result = (struct extent_result){ .outcome = EXTENT_ABSENT };
	if (entry)
		*result = (struct extent_result){ EXTENT_KEPT, entry->account, index_bytes(entry),
						  entry->metadata };
	if (head->bytenr % RS_DELTA_UNIT)
		return error_set_at(error, -EUCLEAN, head->bytenr,
				    "no extent begins between units of %u bytes", RS_DELTA_UNIT);
	if (!head->ref_count && !head->root_count)
		return 0;
	ret = index_check(entry, head, &fresh, error);
	if (ret)
		return ret;
	if (!entry) {
		result->bytes = index_bytes(&fresh);
		result->metadata = fresh.metadata;
	}
	if (head->ref_count)
		return index_change(index, entry ? entry : &fresh, !entry, head, &result->outcome,
				    error);
	if (!entry)
		result->outcome = index_outcome_without(head);
	return 0;
}

/* As a head: a count that is too large for one delta takes several of one key. */
int extent_index_load(struct extent_index *index, uint64_t bytenr, uint64_t bytes, bool metadata,
		      const struct extent_ref *ref)
{
	struct rs_head head = { .bytenr = bytenr };
	struct rs_delta deltas[3];
	struct extent_result result;
	uint32_t left;

	if (bytes % RS_DELTA_UNIT || bytes / RS_DELTA_UNIT > UINT32_MAX || !ref->count ||
	    extent_type_is_metadata(ref->type) != metadata)
		return -EUCLEAN;
	for (left = ref->count; left; head.ref_count++) {
		uint32_t part = left < INT32_MAX ? left : INT32_MAX;

		deltas[head.ref_count] = (struct rs_delta){
			.bytenr = bytenr,
			.root = ref->root_or_parent,
			.owner = ref->owner,
			.offset = ref->offset,
			.count = (int32_t)part,
			.length_4k = (uint32_t)(bytes / RS_DELTA_UNIT),
			.seq_type = ref->type,
		};
		left -= part;
	}
	head.refs = deltas;
	return extent_index_apply(index, &head, &result, NULL);
}

static void index_show(const struct extent_entry *entry, struct extent *extent)
{
	*extent = (struct extent){
		.bytenr = entry->bytenr,
		.bytes = index_bytes(entry),
		.account = entry->account,
		.refs = entry->refs,
		.metadata = entry->metadata,
		.keyed_count = entry->keyed_count,
		.full_count = entry->full_count,
		.keyed = extent_entry_keyed(entry),
		.full = extent_entry_full(entry),
	};
}

struct extent_ref extent_ref_at(const struct extent *extent, uint32_t at)
{
	uint64_t word;

	if (at < extent->keyed_count)
		return extent->keyed[at];
	word = extent->full[at - extent->keyed_count];
	return (struct extent_ref){
		.root_or_parent = word & ~EXTENT_FULL_COUNT,
		.count = (uint32_t)(word & EXTENT_FULL_COUNT),
		.type = extent->metadata ? RS_DELTA_SHARED_BLOCK_REF : RS_DELTA_SHARED_DATA_REF,
	};
}

bool extent_index_find(const struct extent_index *index, uint64_t bytenr, struct extent *extent)
{
	const struct extent_entry *entry = extent_index_map_find(&index->map, bytenr);

	if (!entry || entry->bytenr != bytenr)
		return false;
	index_show(entry, extent);
	return true;
}

struct index_each {
	int (*fn)(void *argument, const struct extent *extent);
	void *argument;
};

static int index_each_one(void *argument, struct extent_entry *entry)
{
	const struct index_each *each = argument;
	struct extent extent;

	index_show(entry, &extent);
	return each->fn(each->argument, &extent);
}

int extent_index_each_from(const struct extent_index *index, uint64_t from,
			   int (*fn)(void *argument, const struct extent *extent), void *argument)
{
	struct index_each each = { .fn = fn, .argument = argument };

	return extent_index_map_each(&index->map, from, index_each_one, &each);
}

int extent_index_each(const struct extent_index *index,
		      int (*fn)(void *argument, const struct extent *extent), void *argument)
{
	return extent_index_each_from(index, 0, fn, argument);
}

bool extent_index_account_set(struct extent_index *index, uint64_t bytenr, uint32_t account)
{
	struct extent_entry *entry = extent_index_map_find(&index->map, bytenr);

	if (!entry)
		return false;
	entry->account = account;
	return true;
}

static int index_account_clear(void *unused, struct extent_entry *entry)
{
	(void)unused;
	entry->account = 0;
	return 0;
}

void extent_index_accounts_clear(struct extent_index *index)
{
	extent_index_map_each(&index->map, 0, index_account_clear, NULL);
}

uint64_t extent_index_count(const struct extent_index *index)
{
	/* Relaxed: a number that was right a moment ago. */
	return order_load_relaxed(&index->map.count);
}

uint64_t extent_index_memory(const struct extent_index *index)
{
	return sizeof(*index) + extent_index_map_memory(&index->map) +
	       index->merged.keyed_capacity * sizeof(*index->merged.keyed) +
	       index->merged.full_capacity * sizeof(*index->merged.full);
}

void extent_index_prefetch(const struct extent_index *index, const uint64_t ahead[RS_HEAD_AHEAD])
{
	const struct extent_entry *entry;

	if (ahead[0])
		extent_index_map_prefetch(&index->map, ahead[0]);
	entry = ahead[1] ? extent_index_map_find(&index->map, ahead[1]) : NULL;
	if (entry)
		__builtin_prefetch(entry, 1);
	entry = ahead[2] ? extent_index_map_find(&index->map, ahead[2]) : NULL;
	/* Where new references mostly go. */
	if (entry && !extent_entry_is_inside(entry))
		__builtin_prefetch((uint64_t *)entry->block + extent_entry_words(entry) - 1, 1);
}
