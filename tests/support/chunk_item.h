/* SPDX-License-Identifier: MIT */
/* Chunk items for tests, and adding them to a map. Nothing here is shared with core/disk/chunk.c. */
#ifndef REFSTORM_TEST_CHUNK_ITEM_H
#define REFSTORM_TEST_CHUNK_ITEM_H

#include "core/disk/chunk.h"

#define CHUNK_SECTOR 4096
#define CHUNK_CELL UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define CHUNK_ITEM_BYTES_MAX                                                                       \
	(offsetof(struct btrfs_chunk, stripe) + 16 * sizeof(struct btrfs_stripe))

/* At an odd address within, since items stand at any alignment. */
struct chunk_item {
	uint8_t bytes[1 + CHUNK_ITEM_BYTES_MAX];
	size_t size;
};

struct btrfs_chunk *chunk_item_fields(struct chunk_item *item);

/* At most 16 stripes; stripe i is on device 10 + i, beginning at (i + 1) MiB. */
void chunk_item_make(struct chunk_item *item, uint64_t bytes, uint64_t flags, unsigned stripes);

/* chunk_map_add, with the error checked for its form. */
int chunk_item_add(struct chunk_map *map, uint64_t logical, struct chunk_item *item);

/* An empty map. */
struct chunk_map *chunk_item_map(void);

/* Writes a little-endian field. */
void chunk_put64(void *at, uint64_t value);

/* xorshift64; the state must not be 0. */
uint64_t chunk_random(uint64_t *state);

#endif /* REFSTORM_TEST_CHUNK_ITEM_H */
