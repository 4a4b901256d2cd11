/* SPDX-License-Identifier: MIT */
#include "core/forest/leaf.h"

#include <assert.h>

#include "core/disk/put.h"

/* Offsets in items count from here. */
static uint8_t *leaf_base(uint8_t *leaf)
{
	return leaf + sizeof(struct format_header);
}

static struct format_item *leaf_item(uint8_t *leaf, uint32_t slot)
{
	return (struct format_item *)leaf_base(leaf) + slot;
}

static void leaf_count_set(uint8_t *leaf, uint32_t count)
{
	put_le32(&((struct format_header *)leaf)->nritems, count);
}

/* Where the data of the first `count` items begin. */
static uint32_t leaf_data_begin(const uint8_t *leaf, uint32_t node_bytes, uint32_t count)
{
	return count ? format_le32(&node_item(leaf, count - 1)->offset) : leaf_capacity(node_bytes);
}

uint32_t leaf_used_bytes(const uint8_t *leaf, uint32_t node_bytes, uint32_t count)
{
	return count * LEAF_ITEM_BYTES + leaf_capacity(node_bytes) -
	       leaf_data_begin(leaf, node_bytes, count);
}

uint32_t leaf_free_bytes(const uint8_t *leaf, uint32_t node_bytes)
{
	uint32_t count = node_count(leaf);

	return leaf_data_begin(leaf, node_bytes, count) - count * LEAF_ITEM_BYTES;
}

/* Adds `by`, modulo 2^32, to the offsets of the items from `slot` to `end`. */
static void leaf_offsets_add(uint8_t *leaf, uint32_t slot, uint32_t end, uint32_t by)
{
	for (; slot < end; slot++) {
		struct format_item *item = leaf_item(leaf, slot);

		put_le32(&item->offset, format_le32(&item->offset) + by);
	}
}

/*
 * Moves the data of the items from `slot` on, to make room of `bytes` above them, or to give as many back
 * with `down` false.
 */
static void leaf_data_shift(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, uint32_t bytes,
			    bool down)
{
	uint32_t count = node_count(leaf);
	uint32_t begin = leaf_data_begin(leaf, node_bytes, count);
	uint32_t end = leaf_data_begin(leaf, node_bytes, slot);
	uint32_t by = down ? 0 - bytes : bytes;

	memmove(leaf_base(leaf) + (begin + by), leaf_base(leaf) + begin, end - begin);
	leaf_offsets_add(leaf, slot, count, by);
}

void leaf_item_insert(uint8_t *leaf, uint32_t node_bytes, uint32_t slot,
		      const struct format_key *key, uint32_t bytes)
{
	uint32_t count = node_count(leaf);
	uint32_t offset = leaf_data_begin(leaf, node_bytes, slot) - bytes;
	struct format_item *item = leaf_item(leaf, slot);

	assert(slot <= count);
	assert(leaf_free_bytes(leaf, node_bytes) >= bytes + LEAF_ITEM_BYTES);
	leaf_data_shift(leaf, node_bytes, slot, bytes, true);
	memmove(item + 1, item, (count - slot) * sizeof(*item));
	put_key(&item->key, key);
	put_le32(&item->offset, offset);
	put_le32(&item->size, bytes);
	memset(leaf_base(leaf) + offset, 0, bytes);
	leaf_count_set(leaf, count + 1);
}

void leaf_item_rekey(uint8_t *leaf, uint32_t slot, const struct format_key *key)
{
	assert(slot < node_count(leaf));
	put_key(&leaf_item(leaf, slot)->key, key);
}

void leaf_items_remove(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, uint32_t count)
{
	uint32_t all = node_count(leaf);
	uint32_t end = slot + count;
	struct format_item *item = leaf_item(leaf, slot);
	uint32_t bytes;

	assert(end >= slot && end <= all);
	bytes = leaf_data_begin(leaf, node_bytes, slot) - leaf_data_begin(leaf, node_bytes, end);
	leaf_data_shift(leaf, node_bytes, end, bytes, false);
	memmove(item, item + count, (all - end) * sizeof(*item));
	leaf_count_set(leaf, all - count);
}

void leaf_item_resize(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, uint32_t bytes)
{
	struct format_item *item = leaf_item(leaf, slot);
	uint32_t offset = format_le32(&item->offset);
	uint32_t old = format_le32(&item->size);
	uint32_t kept = bytes < old ? bytes : old;

	assert(slot < node_count(leaf));
	assert(bytes <= old || leaf_free_bytes(leaf, node_bytes) >= bytes - old);
	if (bytes > old)
		leaf_data_shift(leaf, node_bytes, slot + 1, bytes - old, true);
	/* Its end stays where it is: its beginning moves. */
	memmove(leaf_base(leaf) + (offset + old - bytes), leaf_base(leaf) + offset, kept);
	if (bytes < old)
		leaf_data_shift(leaf, node_bytes, slot + 1, old - bytes, false);
	else
		memset(leaf_base(leaf) + (offset + 2 * old - bytes), 0, bytes - old);
	put_le32(&item->offset, offset + old - bytes);
	put_le32(&item->size, bytes);
}

void leaf_move_left(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t count)
{
	uint32_t had = node_count(left);
	uint32_t from = leaf_data_begin(right, node_bytes, count);
	uint32_t bytes = leaf_capacity(node_bytes) - from;
	uint32_t to = leaf_data_begin(left, node_bytes, had) - bytes;

	assert(count <= node_count(right));
	assert(leaf_free_bytes(left, node_bytes) >= bytes + count * LEAF_ITEM_BYTES);
	memcpy(leaf_base(left) + to, leaf_base(right) + from, bytes);
	memcpy(leaf_item(left, had), leaf_item(right, 0), count * sizeof(struct format_item));
	leaf_offsets_add(left, had, had + count, to - from);
	leaf_count_set(left, had + count);
	leaf_items_remove(right, node_bytes, 0, count);
}

void leaf_move_right(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t count)
{
	uint32_t all = node_count(left);
	uint32_t had = node_count(right);
	uint32_t from = leaf_data_begin(left, node_bytes, all);
	uint32_t end = leaf_data_begin(left, node_bytes, all - count);
	uint32_t bytes = end - from;
	uint32_t to = leaf_capacity(node_bytes) - bytes;

	assert(count <= all);
	assert(leaf_free_bytes(right, node_bytes) >= bytes + count * LEAF_ITEM_BYTES);
	leaf_data_shift(right, node_bytes, 0, bytes, true);
	memmove(leaf_item(right, count), leaf_item(right, 0), had * sizeof(struct format_item));
	memcpy(leaf_base(right) + to, leaf_base(left) + from, bytes);
	memcpy(leaf_item(right, 0), leaf_item(left, all - count),
	       count * sizeof(struct format_item));
	leaf_offsets_add(right, 0, count, to - from);
	leaf_count_set(right, had + count);
	leaf_count_set(left, all - count);
}

/* Whether both parts get something, and what is needed is in the part that the split says. */
static bool leaf_split_allowed(const struct leaf_split *split, const struct leaf_need *need,
			       uint32_t count)
{
	if (split->right)
		return split->left && need->slot >= split->left &&
		       (!need->grow || split->left < count);
	return split->left < count && need->slot + need->grow <= split->left;
}

/* Beside what is needed, which will be the last of a part or the first. */
static struct leaf_split leaf_split_beside(const struct leaf_need *need)
{
	if (!need->grow)
		return (struct leaf_split){ .left = need->slot };
	return (struct leaf_split){ .left = need->slot ? need->slot : 1, .right = need->slot != 0 };
}

struct leaf_split leaf_split_find(const uint8_t *leaf, uint32_t node_bytes,
				  const struct leaf_need *need)
{
	uint32_t count = node_count(leaf);
	uint32_t all = leaf_used_bytes(leaf, node_bytes, count);
	uint32_t more = need->bytes + (need->grow ? 0 : LEAF_ITEM_BYTES);
	struct leaf_split best = leaf_split_beside(need);
	uint32_t best_bytes = leaf_capacity(node_bytes) + 1; /* of the fuller part */
	uint32_t before = leaf_used_bytes(leaf, node_bytes, need->slot);
	uint32_t most = leaf_capacity(node_bytes) / 4 * 3;
	uint32_t cut;

	/* What comes next in order then fills this part, rather than cut after cut being left half full. */
	if (!need->grow && need->slot < count && before + more <= most && all - before <= most)
		return (struct leaf_split){ .left = need->slot };
	for (cut = 0; cut < 2 * count + 2; cut++) {
		struct leaf_split split = { .left = cut / 2, .right = cut % 2 };
		uint32_t left = leaf_used_bytes(leaf, node_bytes, split.left);
		uint32_t right = all - left + (split.right ? more : 0);
		uint32_t bytes;

		left += split.right ? 0 : more;
		bytes = left > right ? left : right;
		if (bytes < best_bytes && leaf_split_allowed(&split, need, count)) {
			best = split;
			best_bytes = bytes;
		}
	}
	return best;
}
