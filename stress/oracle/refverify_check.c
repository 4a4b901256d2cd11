/* SPDX-License-Identifier: MIT */
/* Loading, forgetting, and the check at rest. */
#include "stress/oracle/refverify_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

static bool is_full(const struct extent_ref *ref)
{
	return ref->type == RS_DELTA_SHARED_BLOCK_REF || ref->type == RS_DELTA_SHARED_DATA_REF;
}

static bool is_known_type(const struct extent *extent, const struct extent_ref *ref)
{
	return extent->metadata ? ref->type == RS_DELTA_TREE_BLOCK_REF ||
					  ref->type == RS_DELTA_SHARED_BLOCK_REF :
				  ref->type == RS_DELTA_EXTENT_DATA_REF ||
					  ref->type == RS_DELTA_SHARED_DATA_REF;
}

static struct refverify_ref reference_of(const struct extent_ref *ref)
{
	bool data_by_root = ref->type == RS_DELTA_EXTENT_DATA_REF;

	return (struct refverify_ref){
		.root = is_full(ref) ? 0 : ref->root_or_parent,
		.parent = is_full(ref) ? ref->root_or_parent : 0,
		.owner = data_by_root ? ref->owner : 0,
		.offset = data_by_root ? ref->offset : 0,
		.count = ref->count,
	};
}

/* One reference of an extent that is loaded. */
static int load_ref(struct refverify *verify, struct refverify_entry *entry,
		    const struct extent *extent, const struct extent_ref *from)
{
	struct refverify_ref ref = reference_of(from);

	if (!is_known_type(extent, from) || !from->root_or_parent || !from->count)
		return refverify_fail(verify, entry, NULL,
				      "loads a reference of type %u, root or parent %" PRIu64
				      ", count %u",
				      from->type, from->root_or_parent, from->count);
	if (refverify_entry_ref(entry, &ref) || (extent->metadata && ref.count != 1))
		return refverify_fail(verify, entry, NULL,
				      "loads more than once a reference of root %" PRIu64
				      ", parent %" PRIu64,
				      ref.root, ref.parent);
	if (refverify_entry_reserve(entry))
		return -ENOMEM;
	if (from->type == RS_DELTA_TREE_BLOCK_REF)
		entry->level = from->owner;
	refverify_entry_ref_add(entry, &ref);
	return 0;
}

int refverify_load(struct refverify *verify, const struct extent *extent)
{
	struct refverify_shard *shard = refverify_entry_shard(verify, extent->bytenr);
	struct refverify_entry *entry;
	int ret = 0;
	uint32_t at;

	pthread_mutex_lock(&shard->lock);
	entry = refverify_entry_find(shard, extent->bytenr);
	if (entry) {
		ret = refverify_fail(verify, entry, NULL, "loads an extent that is known");
		goto out;
	}
	entry = refverify_entry_add(shard, extent->bytenr);
	if (!entry) {
		ret = -ENOMEM;
		goto out;
	}
	entry->bytes = extent->bytes;
	entry->metadata = extent->metadata;
	entry->from_disk = true;
	for (at = 0; !ret && at < extent_ref_count(extent); at++) {
		const struct extent_ref from = extent_ref_at(extent, at);

		ret = load_ref(verify, entry, extent, &from);
	}
	if (!ret && entry->refs != extent->refs)
		ret = refverify_fail(verify, entry, NULL,
				     "loads an extent that says %" PRIu64 " references",
				     extent->refs);
out:
	pthread_mutex_unlock(&shard->lock);
	return ret;
}

struct forgetting {
	struct refverify *verify;
	uint64_t first;
	uint64_t end;
	int ret;
};

static bool forget_entry(void *argument, struct refverify_entry *entry)
{
	struct forgetting *forgetting = argument;
	uint64_t end = entry->bytenr + entry->bytes;
	bool inside = entry->bytenr >= forgetting->first && end <= forgetting->end;

	if (end <= forgetting->first || entry->bytenr >= forgetting->end)
		return false;
	/* What has no references any more was of other lengths before: it may lie as it likes. */
	if (!entry->refs)
		return inside;
	forgetting->ret = refverify_fail(forgetting->verify, entry, NULL,
					 "removes the range [%" PRIu64 " %" PRIu64
					 "], and an extent %s",
					 forgetting->first, forgetting->end - forgetting->first,
					 inside ? "in it has references" : "lies across its end");
	return inside;
}

int refverify_forget(struct refverify *verify, uint64_t bytenr, uint64_t bytes)
{
	struct forgetting forgetting = { .verify = verify, .first = bytenr, .end = bytenr + bytes };
	unsigned at;

	for (at = 0; at < REFVERIFY_SHARDS; at++) {
		struct refverify_shard *shard = &verify->shards[at];

		pthread_mutex_lock(&shard->lock);
		refverify_entry_sweep(shard, forget_entry, &forgetting);
		pthread_mutex_unlock(&shard->lock);
	}
	return forgetting.ret;
}

/* The check at rest. */
struct checking {
	struct refverify *verify;
	struct refverify_entry **live;
	size_t live_count;
	size_t live_capacity;
	int ret;
};

static int check_extent_refs(struct checking *checking, const struct refverify_entry *entry,
			     const struct extent *extent)
{
	uint32_t at;

	for (at = 0; at < extent_ref_count(extent); at++) {
		const struct extent_ref from = extent_ref_at(extent, at);
		struct refverify_ref ref = reference_of(&from);
		const struct refverify_ref *found = refverify_entry_ref(entry, &ref);

		if (!is_known_type(extent, &from) || !found || found->count != from.count)
			return refverify_fail(checking->verify, entry, NULL,
					      "the index has a reference of type %u, root or parent "
					      "%" PRIu64 ", owner %" PRIu64 ", offset %" PRIu64
					      ", count %u, and the entry has count %" PRIu64,
					      from.type, from.root_or_parent, from.owner,
					      from.offset, from.count, found ? found->count : 0);
		if (from.type == RS_DELTA_TREE_BLOCK_REF && from.owner != entry->level)
			return refverify_fail(checking->verify, entry, NULL,
					      "the index has level %" PRIu64
					      ", and the entry %" PRIu64,
					      from.owner, entry->level);
	}
	return 0;
}

static int check_extent(void *argument, const struct extent *extent)
{
	struct checking *checking = argument;
	struct refverify *verify = checking->verify;
	struct refverify_shard *shard = refverify_entry_shard(verify, extent->bytenr);
	struct refverify_entry *entry = refverify_entry_find(shard, extent->bytenr);
	int ret;

	if (!entry) {
		checking->ret = refverify_fail(verify, NULL, NULL,
					       "the index has an extent at %" PRIu64
					       ", and there is no entry",
					       extent->bytenr);
		return 0;
	}
	entry->seen = true;
	if (entry->bytes != extent->bytes || entry->metadata != extent->metadata ||
	    entry->refs != extent->refs || entry->ref_count != extent_ref_count(extent))
		ret = refverify_fail(verify, entry, NULL,
				     "the index has %s of %" PRIu64 " bytes, %" PRIu64
				     " references of %u kinds; the entry is another",
				     extent->metadata ? "a tree block" : "data", extent->bytes,
				     extent->refs, extent_ref_count(extent));
	else
		ret = check_extent_refs(checking, entry, extent);
	if (ret)
		checking->ret = ret;
	return 0;
}

/* The other direction; and what has references is gathered. */
static bool check_entry(void *argument, struct refverify_entry *entry)
{
	struct checking *checking = argument;
	bool seen = entry->seen;
	struct refverify_entry **live;

	entry->seen = false;
	if (!entry->refs)
		return false;
	if (!seen)
		checking->ret = refverify_fail(checking->verify, entry, NULL,
					       "the index does not have the extent of an entry");
	live = array_grow(checking->live, checking->live_count, 1, &checking->live_capacity,
			  sizeof(struct refverify_entry *));
	if (!live) {
		checking->ret = -ENOMEM;
		return false;
	}
	checking->live = live;
	live[checking->live_count++] = entry;
	return false;
}

static int compare_entries(const void *a, const void *b)
{
	uint64_t left = (*(struct refverify_entry *const *)a)->bytenr;
	uint64_t right = (*(struct refverify_entry *const *)b)->bytenr;

	return left < right ? -1 : left > right;
}

static void check_overlaps(struct checking *checking)
{
	size_t at;

	if (checking->live_count)
		qsort(checking->live, checking->live_count, sizeof(struct refverify_entry *),
		      compare_entries);
	for (at = 1; at < checking->live_count; at++) {
		const struct refverify_entry *before = checking->live[at - 1];

		if (checking->live[at]->bytenr - before->bytenr < before->bytes)
			checking->ret = refverify_fail(checking->verify, before, NULL,
						       "the extent at %" PRIu64
						       " begins inside another",
						       checking->live[at]->bytenr);
	}
}

int refverify_check(struct refverify *verify, const struct extent_index *index)
{
	struct checking checking = { .verify = verify };
	unsigned at;

	(void)extent_index_each(index, check_extent, &checking);
	for (at = 0; at < REFVERIFY_SHARDS; at++)
		refverify_entry_sweep(&verify->shards[at], check_entry, &checking);
	check_overlaps(&checking);
	alloc_free(checking.live);
	return checking.ret;
}
