/* SPDX-License-Identifier: MIT */
/*
 * Leaves, as bytes: items grow up from the header, their data down from the end, without gaps.
 * Changing them keeps what node_check asks of a leaf, but for its checksum, and for keys,
 * which the caller keeps in order.
 *
 * Who may call: the one thread that may change the block. `node_bytes` is 4096 to 65536.
 */
#ifndef REFSTORM_FOREST_LEAF_H
#define REFSTORM_FOREST_LEAF_H

#include "core/disk/node.h"

/* What an item takes besides its data. */
#define LEAF_ITEM_BYTES ((uint32_t)sizeof(struct format_item))

/* For items and their data, of an empty leaf. */
static inline uint32_t leaf_capacity(uint32_t node_bytes)
{
	return node_bytes - (uint32_t)sizeof(struct format_header);
}

/* Of the first `count` items and their data. */
uint32_t leaf_used_bytes(const uint8_t *leaf, uint32_t node_bytes, uint32_t count);

/* Between the last item and the data. */
uint32_t leaf_free_bytes(const uint8_t *leaf, uint32_t node_bytes);

/* A new item before `slot`, of `bytes` zeros; there is room for it. */
void leaf_item_insert(uint8_t *leaf, uint32_t node_bytes, uint32_t slot,
		      const struct format_key *key, uint32_t bytes);

void leaf_item_rekey(uint8_t *leaf, uint32_t slot, const struct format_key *key);

void leaf_items_remove(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, uint32_t count);

/* Cut at the end of its data, or with zeros there, for which there is room. */
void leaf_item_resize(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, uint32_t bytes);

/* The first `count` items of `right` to the end of `left`, which has room. */
void leaf_move_left(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t count);

/* The last `count` items of `left` to the front of `right`, which has room. */
void leaf_move_right(uint8_t *left, uint8_t *right, uint32_t node_bytes, uint32_t count);

/* What a leaf is to be split for. */
struct leaf_need {
	uint32_t slot;
	uint32_t bytes; /* of data, of the new item; or that the one at `slot` grows by */
	bool grow;
};

struct leaf_split {
	uint32_t left; /* items that stay; 0: a new item comes in their place */
	bool right;    /* what is needed happens in the part that is split off */
};

/*
 * Where to cut so that both parts are about as full; behind a new item if that fills neither by more than
 * three quarters. If what is needed fits into neither part whatever the cut, the cut is beside it, and
 * another one makes room. Never for an item that is alone.
 */
struct leaf_split leaf_split_find(const uint8_t *leaf, uint32_t node_bytes,
				  const struct leaf_need *need);

#endif /* REFSTORM_FOREST_LEAF_H */
