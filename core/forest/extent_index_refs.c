// SPDX-License-Identifier: MIT
#include "core/forest/extent_index_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"

#define TEXT_MAX 128

/* What is left of a head: additions and drops, each ascending. */
struct refs_changes {
	const struct rs_delta *add;
	const struct rs_delta *add_end;
	const struct rs_delta *drop;
	const struct rs_delta *drop_end;
};

struct refs_key {
	unsigned type;
	uint64_t root_or_parent;
	uint64_t owner;
	uint64_t offset;
};

static inline struct refs_key refs_key_of(const struct extent_ref *ref)
{
	return (struct refs_key){ ref->type, ref->root_or_parent, ref->owner, ref->offset };
}

/* A full back reference is the parent's address and no more. */
static inline struct refs_key refs_key_delta(const struct rs_delta *delta)
{
	unsigned type = rs_delta_type(delta);
	bool keyed = type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_EXTENT_DATA_REF;

	return (struct refs_key){ type, delta->root, keyed ? delta->owner : 0,
				  keyed ? delta->offset : 0 };
}

static inline int refs_order(struct refs_key a, struct refs_key b)
{
	if (a.type != b.type)
		return a.type < b.type ? -1 : 1;
	if (a.root_or_parent != b.root_or_parent)
		return a.root_or_parent < b.root_or_parent ? -1 : 1;
	if (a.owner != b.owner)
		return a.owner < b.owner ? -1 : 1;
	return (a.offset > b.offset) - (a.offset < b.offset);
}

static inline void refs_make(struct extent_ref *ref, struct refs_key key, int64_t count)
{
	ref->root_or_parent = key.root_or_parent;
	ref->owner = key.owner;
	ref->offset = key.offset;
	ref->count = (uint32_t)count;
	ref->type = (uint8_t)key.type;
}

/*
 * The first of `count` sorted references from `low` on that is not below the key. From the end, in
 * growing steps: new tree blocks, and new snapshots, mostly come behind all that there is.
 */
static size_t refs_search(const struct extent_ref *refs, size_t low, size_t count,
			  struct refs_key key)
{
	size_t high = count;
	size_t step = 1;

	for (; low < high; step *= 2) {
		size_t at = high - low > step ? high - step : low;

		if (refs_order(refs_key_of(&refs[at]), key) < 0) {
			low = at + 1;
			break;
		}
		high = at;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (refs_order(refs_key_of(&refs[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct refs_changes refs_changes_of(const struct rs_head *head)
{
	const struct rs_delta *end = head->refs + head->ref_count;
	const struct rs_delta *drop = head->refs;

	while (drop < end && drop->count >= 0)
		drop++;
	return (struct refs_changes){
		.add = head->refs,
		.add_end = drop,
		.drop = drop,
		.drop_end = end,
	};
}

/* Sums up what the front says of the key, and takes it off. */
static inline int64_t refs_take(const struct rs_delta **front, const struct rs_delta *end,
				struct refs_key key)
{
	int64_t sum = 0;

	while (*front < end && !refs_order(refs_key_delta(*front), key))
		sum += (*front)++->count;
	return sum;
}

/* The lowest key of what is left; something is. */
static inline struct refs_key refs_changes_first(const struct refs_changes *changes)
{
	struct refs_key add;
	struct refs_key drop;

	if (changes->drop == changes->drop_end)
		return refs_key_delta(changes->add);
	drop = refs_key_delta(changes->drop);
	if (changes->add == changes->add_end)
		return drop;
	add = refs_key_delta(changes->add);
	return refs_order(add, drop) < 0 ? add : drop;
}

static inline struct refs_key refs_changes_last(const struct refs_changes *changes)
{
	struct refs_key last = refs_key_delta(changes->drop_end - 1);
	struct refs_key add;

	if (changes->add == changes->add_end || changes->drop == changes->drop_end)
		return last;
	add = refs_key_delta(changes->add_end - 1);
	return refs_order(add, last) > 0 ? add : last;
}

static const char *refs_text(struct refs_key key, char text[static TEXT_MAX])
{
	if (key.type == RS_DELTA_TREE_BLOCK_REF)
		snprintf(text, TEXT_MAX, "tree %" PRIu64 ", level %" PRIu64, key.root_or_parent,
			 key.owner);
	else if (key.type == RS_DELTA_EXTENT_DATA_REF)
		snprintf(text, TEXT_MAX, "tree %" PRIu64 ", inode %" PRIu64 ", offset %" PRIu64,
			 key.root_or_parent, key.owner, key.offset);
	else
		snprintf(text, TEXT_MAX, "the tree block at %" PRIu64, key.root_or_parent);
	return text;
}

/* `had` references and `net` more: no count that can be. */
static int refs_refuse(const struct extent_entry *entry, struct refs_key key, uint32_t had,
		       int64_t net, struct rs_error *error)
{
	char buffer[TEXT_MAX];
	const char *text = refs_text(key, buffer);

	if (!had && net < 0)
		return error_set_at(error, -EUCLEAN, entry->bytenr,
				    "%" PRId64 " references by %s are dropped, there is none", -net,
				    text);
	if (had + net < 0)
		return error_set_at(error, -EUCLEAN, entry->bytenr,
				    "%" PRId64 " references by %s are dropped, there are %" PRIu32,
				    -net, text, had);
	if (entry->metadata)
		return error_set_at(error, -EUCLEAN, entry->bytenr,
				    "%" PRId64 " references to a tree block by %s, at most 1",
				    had + net, text);
	return error_set_at(error, -EUCLEAN, entry->bytenr,
			    "%" PRId64 " references by %s do not fit", had + net, text);
}

static inline bool refs_count_is_right(const struct extent_entry *entry, int64_t count)
{
	return count >= 0 && count <= (entry->metadata ? 1 : UINT32_MAX);
}

/* From low to high: those that are there with the head's. */
static int refs_merge_range(struct extent_index *index, const struct extent_entry *entry,
			    struct refs_changes *changes, struct extent_merge *merge,
			    struct rs_error *error)
{
	const struct extent_ref *old = extent_entry_refs(entry) + merge->low;
	const struct extent_ref *old_end = extent_entry_refs(entry) + merge->high;
	struct extent_ref *to = index->merged;

	while (changes->add < changes->add_end || changes->drop < changes->drop_end) {
		struct refs_key key = refs_changes_first(changes);
		int64_t net = refs_take(&changes->add, changes->add_end, key) +
			      refs_take(&changes->drop, changes->drop_end, key);
		uint32_t had = 0;

		/* Ends: each turn takes one of those that are there. */
		while (old < old_end && refs_order(refs_key_of(old), key) < 0)
			*to++ = *old++;
		if (old < old_end && !refs_order(refs_key_of(old), key))
			had = old++->count;
		if (!refs_count_is_right(entry, had + net))
			return refs_refuse(entry, key, had, net, error);
		assert(to == index->merged || refs_order(refs_key_of(to - 1), key) < 0);
		if (had + net)
			refs_make(to++, key, had + net);
		merge->change += net;
	}
	assert(old == old_end);
	merge->count = (size_t)(to - index->merged);
	return 0;
}

/* The same for a head of one reference, which most are. */
static int refs_merge_one(struct extent_index *index, const struct extent_entry *entry,
			  const struct rs_delta *delta, struct extent_merge *merge,
			  struct rs_error *error)
{
	const struct extent_ref *refs = extent_entry_refs(entry);
	struct refs_key key = refs_key_delta(delta);
	uint32_t had = 0;
	int64_t count;

	merge->low = refs_search(refs, 0, entry->ref_count, key);
	if (merge->low < entry->ref_count && !refs_order(refs_key_of(&refs[merge->low]), key))
		had = refs[merge->low].count;
	count = had + (int64_t)delta->count;
	if (!refs_count_is_right(entry, count))
		return refs_refuse(entry, key, had, delta->count, error);
	refs_make(index->merged, key, count);
	merge->high = merge->low + (had != 0);
	merge->count = count != 0;
	merge->change = delta->count;
	return 0;
}

int extent_index_refs_merge(struct extent_index *index, const struct extent_entry *entry,
			    const struct rs_head *head, struct extent_merge *merge,
			    struct rs_error *error)
{
	const struct extent_ref *refs = extent_entry_refs(entry);
	struct refs_changes changes = refs_changes_of(head);
	size_t most = head->ref_count;

	*merge = (struct extent_merge){ 0 };
	if (head->ref_count > 1) {
		struct refs_key last = refs_changes_last(&changes);

		merge->low = refs_search(refs, 0, entry->ref_count, refs_changes_first(&changes));
		merge->high = refs_search(refs, merge->low, entry->ref_count, last);
		if (merge->high < entry->ref_count &&
		    !refs_order(refs_key_of(&refs[merge->high]), last))
			merge->high++;
		most += merge->high - merge->low;
	}
	if (most > index->merged_capacity) {
		struct extent_ref *merged = array_grow(index->merged, 0, most,
						       &index->merged_capacity, sizeof(*merged));

		if (!merged)
			return error_no_memory(error, "back references");
		index->merged = merged;
	}
	if (head->ref_count == 1)
		return refs_merge_one(index, entry, head->refs, merge, error);
	return refs_merge_range(index, entry, &changes, merge, error);
}

/* Makes room for `count`, more than there is. 0 or -ENOMEM. */
static int refs_grow(struct extent_index *index, struct extent_entry *entry, size_t count)
{
	const struct extent_ref one = entry->one;
	bool inside = entry->ref_count <= 1;
	size_t had = inside ? 0 : entry->capacity;
	size_t capacity = had + had / 2 > count ? had + had / 2 : count;
	struct extent_ref *array;

	if (capacity > UINT32_MAX)
		return -ENOMEM;
	array = alloc_resize(inside ? NULL : entry->array, capacity, sizeof(*array));
	if (!array)
		return -ENOMEM;
	if (inside)
		array[0] = one;
	entry->array = array;
	entry->capacity = (uint32_t)capacity;
	index->array_bytes += (capacity - had) * sizeof(*array);
	return 0;
}

/* Gives back what the array has too much, and all of it for one reference. */
static void refs_shrink(struct extent_index *index, struct extent_entry *entry)
{
	const struct extent_ref one = entry->array[0];
	uint32_t capacity = entry->ref_count + entry->ref_count / 2;
	struct extent_ref *array;

	if (entry->ref_count == 1) {
		index->array_bytes -= entry->capacity * sizeof(*array);
		alloc_free(entry->array);
		entry->one = one;
		return;
	}
	if (entry->ref_count > entry->capacity / 4)
		return;
	/* Without memory it stays where it is, which is as good. */
	array = alloc_resize(entry->array, capacity, sizeof(*array));
	if (!array)
		return;
	index->array_bytes -= (entry->capacity - capacity) * sizeof(*array);
	entry->array = array;
	entry->capacity = capacity;
}

int extent_index_refs_replace(struct extent_index *index, struct extent_entry *entry,
			      const struct extent_merge *merge)
{
	size_t tail = entry->ref_count - merge->high;
	size_t count = merge->low + merge->count + tail;
	bool inside = entry->ref_count <= 1;
	struct extent_ref *refs = inside ? &entry->one : entry->array;

	if (count > (inside ? 1 : entry->capacity)) {
		int ret = refs_grow(index, entry, count);

		if (ret)
			return ret;
		refs = entry->array;
	}
	if (tail && merge->low + merge->count != merge->high)
		memmove(&refs[merge->low + merge->count], &refs[merge->high], tail * sizeof(*refs));
	memcpy(&refs[merge->low], index->merged, merge->count * sizeof(*refs));
	entry->ref_count = (uint32_t)count;
	entry->refs += (uint64_t)merge->change;
	if (!inside)
		refs_shrink(index, entry);
	return 0;
}

void extent_index_refs_release(struct extent_index *index, const struct extent_entry *entry)
{
	if (entry->ref_count <= 1)
		return;
	index->array_bytes -= entry->capacity * sizeof(*entry->array);
	alloc_free(entry->array);
}
