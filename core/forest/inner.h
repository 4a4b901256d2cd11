/* SPDX-License-Identifier: MIT */
/*
 * Interior nodes, as bytes: an array of pointers with their children's first keys.
 *
 * Who may call: the one thread that may change the block. The caller keeps keys in order.
 */
#ifndef REFSTORM_FOREST_INNER_H
#define REFSTORM_FOREST_INNER_H

#include "core/disk/node.h"

struct inner_pointer {
	struct format_key key;
	uint64_t bytenr;
	uint64_t generation;
};

/* Pointers that a node holds. */
static inline uint32_t inner_capacity(uint32_t node_bytes)
{
	return (node_bytes - (uint32_t)sizeof(struct format_header)) /
	       (uint32_t)sizeof(struct format_key_ptr);
}

/* Before `slot`; there is room. */
void inner_pointer_insert(uint8_t *node, uint32_t slot, const struct inner_pointer *pointer);
void inner_pointer_remove(uint8_t *node, uint32_t slot);
void inner_key_set(uint8_t *node, uint32_t slot, const struct format_key *key);

/* The first `count` of `right` to the end of `left`, which has room. */
void inner_move_left(uint8_t *left, uint8_t *right, uint32_t count);

/* The last `count` of `left` to the front of `right`, which has room. */
void inner_move_right(uint8_t *left, uint8_t *right, uint32_t count);

#endif /* REFSTORM_FOREST_INNER_H */
