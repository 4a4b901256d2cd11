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

/* The keyed references of an extent, or its full ones. */
struct refs_old {
	const struct extent_ref *keyed; /* NULL: full ones */
	const uint64_t *full;
	size_t count;
	unsigned full_type;
};

static struct refs_old refs_old_keyed(const struct extent_entry *entry)
{
	return (struct refs_old){ .keyed = extent_entry_keyed(entry), .count = entry->keyed_count };
}

static struct refs_old refs_old_full(const struct extent_entry *entry)
{
	return (struct refs_old){
		.full = extent_entry_full(entry),
		.count = entry->full_count,
		.full_type = entry->metadata ? RS_DELTA_SHARED_BLOCK_REF : RS_DELTA_SHARED_DATA_REF,
	};
}

static inline struct refs_key refs_old_key(const struct refs_old *old, size_t at)
{
	const struct extent_ref *ref;

	if (!old->keyed)
		return (struct refs_key){ old->full_type, old->full[at] & ~EXTENT_FULL_COUNT, 0,
					  0 };
	ref = &old->keyed[at];
	return (struct refs_key){ ref->type, ref->root_or_parent, ref->owner, ref->offset };
}

static inline uint32_t refs_old_count(const struct refs_old *old, size_t at)
{
	return old->keyed ? old->keyed[at].count : (uint32_t)(old->full[at] & EXTENT_FULL_COUNT);
}

/* A full back reference is the parent's address and no more. */
static inline struct refs_key refs_key_delta(const struct rs_delta *delta)
{
	unsigned type = rs_delta_type(delta);
	bool keyed = extent_type_is_keyed(type);

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

/* Puts one behind what has been merged; there is room. */
static inline void refs_put(struct extent_merged *merged, struct extent_splice *splice,
			    struct refs_key key, int64_t count)
{
	if (extent_type_is_keyed(key.type))
		merged->keyed[splice->count] = (struct extent_ref){
			.root_or_parent = key.root_or_parent,
			.owner = key.owner,
			.offset = key.offset,
			.count = (uint32_t)count,
			.type = (uint8_t)key.type,
		};
	else
		merged->full[splice->count] = key.root_or_parent | (uint64_t)count;
	splice->count++;
}

/*
 * The first from `low` on that is not below the key. From the end, in growing steps: new tree blocks,
 * and new snapshots, mostly come behind all that there is.
 */
static size_t refs_search(const struct refs_old *old, size_t low, struct refs_key key)
{
	size_t high = old->count;
	size_t step = 1;

	for (; low < high; step *= 2) {
		size_t at = high - low > step ? high - step : low;

		if (refs_order(refs_old_key(old, at), key) < 0) {
			low = at + 1;
			break;
		}
		high = at;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (refs_order(refs_old_key(old, middle), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first of the ascending deltas that is of a full back reference. */
static const struct rs_delta *refs_first_full(const struct rs_delta *delta,
					      const struct rs_delta *end)
{
	while (delta < end && extent_type_is_keyed(rs_delta_type(delta)))
		delta++;
	return delta;
}

static void refs_changes_of(const struct rs_head *head, struct refs_changes *keyed,
			    struct refs_changes *full)
{
	const struct rs_delta *end = head->refs + head->ref_count;
	const struct rs_delta *drop = head->refs;
	const struct rs_delta *add_full;
	const struct rs_delta *drop_full;

	while (drop < end && drop->count >= 0)
		drop++;
	add_full = refs_first_full(head->refs, drop);
	drop_full = refs_first_full(drop, end);
	*keyed = (struct refs_changes){ head->refs, add_full, drop, drop_full };
	*full = (struct refs_changes){ add_full, drop, drop_full, end };
}

static inline size_t refs_changes_count(const struct refs_changes *changes)
{
	return (size_t)(changes->add_end - changes->add) +
	       (size_t)(changes->drop_end - changes->drop);
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
	struct refs_key add;
	struct refs_key drop;

	if (changes->drop == changes->drop_end)
		return refs_key_delta(changes->add_end - 1);
	drop = refs_key_delta(changes->drop_end - 1);
	if (changes->add == changes->add_end)
		return drop;
	add = refs_key_delta(changes->add_end - 1);
	return refs_order(add, drop) > 0 ? add : drop;
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
	if (!extent_type_is_keyed(key.type) && key.root_or_parent % RS_DELTA_UNIT)
		return error_set_at(error, -EUCLEAN, entry->bytenr,
				    "%s begins between units of %u bytes", text, RS_DELTA_UNIT);
	if (entry->metadata)
		return error_set_at(error, -EUCLEAN, entry->bytenr,
				    "%" PRId64 " references to a tree block by %s, at most 1",
				    had + net, text);
	return error_set_at(error, -EUCLEAN, entry->bytenr,
			    "%" PRId64 " references by %s do not fit", had + net, text);
}

static inline bool refs_count_is_right(const struct extent_entry *entry, struct refs_key key,
				       int64_t count)
{
	if (count < 0 || (entry->metadata && count > 1))
		return false;
	if (extent_type_is_keyed(key.type))
		return count <= UINT32_MAX;
	return (uint64_t)count <= EXTENT_FULL_COUNT && key.root_or_parent % RS_DELTA_UNIT == 0;
}

static int refs_reserve(struct extent_merged *merged, bool keyed, size_t most)
{
	void *grown;

	if (most <= (keyed ? merged->keyed_capacity : merged->full_capacity))
		return 0;
	grown = keyed ? array_grow(merged->keyed, 0, most, &merged->keyed_capacity,
				   sizeof(*merged->keyed)) :
			array_grow(merged->full, 0, most, &merged->full_capacity,
				   sizeof(*merged->full));
	if (!grown)
		return -ENOMEM;
	if (keyed)
		merged->keyed = grown;
	else
		merged->full = grown;
	return 0;
}

/* From splice->low to splice->high: those that are there with the head's. */
static int refs_merge_range(struct extent_merged *merged, const struct extent_entry *entry,
			    const struct refs_old *old, struct refs_changes *changes,
			    struct extent_splice *splice, int64_t *change, struct rs_error *error)
{
	size_t at = splice->low;

	while (changes->add < changes->add_end || changes->drop < changes->drop_end) {
		struct refs_key key = refs_changes_first(changes);
		int64_t net = refs_take(&changes->add, changes->add_end, key) +
			      refs_take(&changes->drop, changes->drop_end, key);
		uint32_t had = 0;

		/* Ends: each turn goes past one of those that are there. */
		for (; at < splice->high && refs_order(refs_old_key(old, at), key) < 0; at++)
			refs_put(merged, splice, refs_old_key(old, at), refs_old_count(old, at));
		if (at < splice->high && !refs_order(refs_old_key(old, at), key))
			had = refs_old_count(old, at++);
		if (!refs_count_is_right(entry, key, had + net))
			return refs_refuse(entry, key, had, net, error);
		if (had + net)
			refs_put(merged, splice, key, had + net);
		*change += net;
	}
	assert(at == splice->high);
	return 0;
}

/* Of the keyed references, or of the full ones: those that change, and what becomes of them. */
static int refs_merge_kind(struct extent_merged *merged, const struct extent_entry *entry,
			   const struct refs_old *old, struct refs_changes *changes,
			   struct extent_splice *splice, int64_t *change, struct rs_error *error)
{
	size_t count = refs_changes_count(changes);
	struct refs_key first;
	struct refs_key last;

	*splice = (struct extent_splice){ 0 };
	if (!count)
		return 0;
	first = refs_changes_first(changes);
	splice->low = refs_search(old, 0, first);
	splice->high = splice->low;
	last = count == 1 ? first : refs_changes_last(changes);
	if (count > 1)
		splice->high = refs_search(old, splice->low, last);
	if (splice->high < old->count && !refs_order(refs_old_key(old, splice->high), last))
		splice->high++;
	if (refs_reserve(merged, old->keyed, count + splice->high - splice->low))
		return error_no_memory(error, "back references");
	return refs_merge_range(merged, entry, old, changes, splice, change, error);
}

int extent_index_refs_merge(struct extent_index *index, const struct extent_entry *entry,
			    const struct rs_head *head, struct extent_merge *merge,
			    struct rs_error *error)
{
	const struct refs_old old_keyed = refs_old_keyed(entry);
	const struct refs_old old_full = refs_old_full(entry);
	struct refs_changes keyed;
	struct refs_changes full;
	int ret;

	refs_changes_of(head, &keyed, &full);
	merge->change = 0;
	ret = refs_merge_kind(&index->merged, entry, &old_keyed, &keyed, &merge->keyed,
			      &merge->change, error);
	if (ret)
		return ret;
	return refs_merge_kind(&index->merged, entry, &old_full, &full, &merge->full,
			       &merge->change, error);
}

static inline size_t refs_room(size_t words)
{
	const size_t line_words = EXTENT_SLAB_LINE / sizeof(uint64_t);

	return extent_slab_room((words + line_words - 1) / line_words);
}

static inline uint32_t refs_room_words(size_t room)
{
	return (uint32_t)(room * (EXTENT_SLAB_LINE / sizeof(uint64_t)));
}

/* Moves all words of the entry to a block of its own with room for so many. 0 or -ENOMEM. */
static int refs_move(struct extent_slab *slab, struct extent_entry *entry, bool inside,
		     size_t words)
{
	size_t had = extent_entry_words(entry);
	size_t room = refs_room(words);
	void *block;

	if (room > UINT32_MAX / EXTENT_SLAB_LINE)
		return -ENOMEM;
	block = extent_slab_take(slab, room);
	if (!block)
		return -ENOMEM;
	memcpy(block, inside ? entry->few : entry->block,
	       (had < words ? had : words) * sizeof(uint64_t));
	if (!inside)
		extent_slab_give(slab, entry->block, refs_room(entry->capacity));
	entry->block = block;
	entry->capacity = refs_room_words(room);
	return 0;
}

static void refs_words_move(uint64_t *words, size_t from, size_t to, size_t count)
{
	if (from != to && count)
		memmove(words + to, words + from, count * sizeof(*words));
}

/* In a place with room enough; the counts are still the old ones. */
static void refs_splice(const struct extent_merged *merged, const struct extent_entry *entry,
			const struct extent_merge *merge, uint64_t *words)
{
	const struct extent_splice *keyed = &merge->keyed;
	const struct extent_splice *full = &merge->full;
	size_t old_full = entry->keyed_count * EXTENT_KEYED_WORDS;
	size_t new_full =
		(entry->keyed_count + keyed->count + keyed->low - keyed->high) * EXTENT_KEYED_WORDS;
	/* Keyed ones behind those that change, with the full ones before those that change. */
	size_t middle = keyed->high * EXTENT_KEYED_WORDS;
	size_t middle_to = (keyed->low + keyed->count) * EXTENT_KEYED_WORDS;
	size_t middle_count = old_full + full->low - middle;
	size_t end = old_full + full->high;
	size_t end_to = new_full + full->low + full->count;
	size_t end_count = entry->full_count - full->high;

	/* What goes up goes last first: the end never goes down further than the middle ends then. */
	if (middle_to >= middle)
		refs_words_move(words, end, end_to, end_count);
	refs_words_move(words, middle, middle_to, middle_count);
	if (middle_to < middle)
		refs_words_move(words, end, end_to, end_count);
	if (keyed->count)
		memcpy(words + keyed->low * EXTENT_KEYED_WORDS, merged->keyed,
		       keyed->count * sizeof(*merged->keyed));
	if (full->count)
		memcpy(words + new_full + full->low, merged->full,
		       full->count * sizeof(*merged->full));
}

/* Gives back what the block has too much, and all of it for what fits inside. */
static void refs_shrink(struct extent_slab *slab, struct extent_entry *entry)
{
	size_t words = extent_entry_words(entry);

	if (words <= EXTENT_WORDS_INSIDE) {
		void *block = entry->block;
		uint32_t capacity = entry->capacity;

		memcpy(entry->few, block, words * sizeof(uint64_t));
		extent_slab_give(slab, block, refs_room(capacity));
	} else if (words <= entry->capacity / 4) {
		/* Without memory it stays where it is, which is as good. */
		(void)refs_move(slab, entry, false, words + words / 2);
	}
}

int extent_index_refs_replace(struct extent_index *index, struct extent_entry *entry,
			      const struct extent_merge *merge)
{
	struct extent_slab *slab = &index->map.slab;
	size_t keyed_count =
		entry->keyed_count + merge->keyed.count + merge->keyed.low - merge->keyed.high;
	size_t full_count =
		entry->full_count + merge->full.count + merge->full.low - merge->full.high;
	size_t words = keyed_count * EXTENT_KEYED_WORDS + full_count;
	bool inside = extent_entry_is_inside(entry);

	if (keyed_count > INT32_MAX || full_count > UINT32_MAX)
		return -ENOMEM;
	if (words > (inside ? EXTENT_WORDS_INSIDE : entry->capacity)) {
		int ret = refs_move(slab, entry, inside, words);

		if (ret)
			return ret;
		inside = false;
	}
	refs_splice(&index->merged, entry, merge, inside ? entry->few : entry->block);
	entry->keyed_count = (uint32_t)keyed_count & INT32_MAX;
	entry->full_count = (uint32_t)full_count;
	entry->refs += (uint64_t)merge->change;
	if (!inside)
		refs_shrink(slab, entry);
	return 0;
}

void extent_index_refs_release(struct extent_index *index, const struct extent_entry *entry)
{
	if (!extent_entry_is_inside(entry))
		extent_slab_give(&index->map.slab, entry->block, refs_room(entry->capacity));
}
