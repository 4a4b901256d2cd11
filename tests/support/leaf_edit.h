/* SPDX-License-Identifier: MIT */
/*
 * Changing leaves: items are put in, taken out and given other data, and the leaf stays one that
 * node_check accepts, but for its checksum. Keys of slot 0 stand in the parent too: callers that
 * want the tree to stay readable leave slot 0 alone.
 */
#ifndef REFSTORM_TEST_LEAF_EDIT_H
#define REFSTORM_TEST_LEAF_EDIT_H

#include "core/disk/node.h"

/* Bytes between the items and their data. */
uint32_t leaf_room(const uint8_t *leaf, uint32_t node_bytes);

uint8_t *leaf_data(uint8_t *leaf, uint32_t slot);

/* The caller keeps keys in order. */
void leaf_key_set(uint8_t *leaf, uint32_t slot, const struct format_key *key);

/* Gives item `slot` other data; `data` may be NULL: as much of the old as there is. False: no room. */
bool leaf_replace(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, const void *data,
		  uint32_t bytes);

void leaf_remove(uint8_t *leaf, uint32_t node_bytes, uint32_t slot);

/* Where the key belongs. False: no room, or the key is there. */
bool leaf_insert(uint8_t *leaf, uint32_t node_bytes, const struct format_key *key, const void *data,
		 uint32_t bytes);

/* Writing little-endian fields at any alignment. */
void leaf_put32(void *at, uint32_t value);
void leaf_put64(void *at, uint64_t value);

#endif /* REFSTORM_TEST_LEAF_EDIT_H */
