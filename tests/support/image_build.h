/* SPDX-License-Identifier: MIT */
/*
 * A btrfs image built in memory: every block stands apart and can be changed in
 * any way before the image is written. Nothing here is shared with core/disk but
 * the structures and the checksums.
 *
 * Addresses: the first copy of a block stands at its logical address, the second
 * IMAGE_COPY_OFFSET behind it (on the second device for RAID1).
 */
#ifndef REFSTORM_TEST_IMAGE_BUILD_H
#define REFSTORM_TEST_IMAGE_BUILD_H

#include "core/disk/format.h"

#define IMAGE_SYSTEM_AT (UINT64_C(1) << 20)
#define IMAGE_SYSTEM_BYTES (UINT64_C(1) << 20)
#define IMAGE_METADATA_AT (UINT64_C(4) << 20)
#define IMAGE_METADATA_BYTES (UINT64_C(252) << 20)
#define IMAGE_DATA_AT (UINT64_C(1) << 30)
#define IMAGE_DATA_BYTES (UINT64_C(64) << 30)
#define IMAGE_COPY_OFFSET (UINT64_C(256) << 20)
#define IMAGE_FILE_BYTES (UINT64_C(520) << 20) /* sparse */
#define IMAGE_GENERATION UINT64_C(100)
#define IMAGE_FSID 0x5a

enum image_profile {
	IMAGE_SINGLE,
	IMAGE_DUP,
	IMAGE_RAID1, /* two devices */
};

struct image_block {
	uint64_t bytenr;
	uint8_t *bytes; /* node_bytes */
	bool keep_csum; /* write it with the checksum that it has */
	bool absent;    /* leave a hole where it would stand */
};

struct image_item {
	struct format_key key;
	uint8_t *data;
	uint32_t bytes;
};

/* Items of one tree; put in order when the tree is built. */
struct image_items {
	struct image_item *items;
	size_t count;
	size_t capacity;
};

struct image_build {
	uint32_t node_bytes;
	uint16_t csum_type;
	enum image_profile profile;
	struct image_block *blocks;
	size_t block_count;
	size_t block_capacity;
	uint64_t next_system;
	uint64_t next_metadata;
	struct image_items roots;  /* of the root tree */
	struct image_items chunks; /* more than the three usual ones; of the chunk tree */
	struct format_super super;
};

struct image_build *image_build_create(uint32_t node_bytes, enum image_profile profile);
void image_build_free(struct image_build *build);

/* An empty block with its header filled in. It stays where it is until image_build_free. */
uint8_t *image_build_block(struct image_build *build, uint64_t owner, uint8_t level);

/* What stands beside the bytes of a block. Valid until the next block is made. */
struct image_block *image_build_find(struct image_build *build, const uint8_t *block);

static inline struct format_header *image_header(uint8_t *block)
{
	return (struct format_header *)block;
}

static inline uint64_t image_bytenr(const uint8_t *block)
{
	return format_le64(&((const struct format_header *)block)->bytenr);
}

/* Appends to a leaf. False if there is no room. */
bool image_leaf_add(const struct image_build *build, uint8_t *leaf, const struct image_item *item);

/* Appends a pointer to `child`, whose first key is the pointer's, to an interior node. */
void image_node_add(uint8_t *node, const uint8_t *child);
struct format_item *image_item_at(uint8_t *leaf, uint32_t slot);
struct format_key_ptr *image_pointer_at(uint8_t *node, uint32_t slot);
uint8_t *image_data_at(uint8_t *leaf, uint32_t slot);

/* A copy of `bytes` bytes of data is kept. */
void image_items_add(struct image_items *items, uint64_t objectid, uint8_t type, uint64_t offset,
		     const void *data, size_t bytes);
void image_items_free(struct image_items *items);

/*
 * A whole tree of the items, which are sorted and stay the caller's. At most
 * `leaf_items` items a leaf and `fanout` pointers a node; 0 for as many as go in.
 * Returns the root block; of no items an empty leaf.
 */
uint8_t *image_build_tree(struct image_build *build, uint64_t owner, struct image_items *items,
			  unsigned leaf_items, unsigned fanout);

/* Builds the chunk tree and the root tree from their items, and fills in the super block. */
void image_build_finish(struct image_build *build);

/* The root blocks of those two, once finished. */
uint8_t *image_build_root_tree(struct image_build *build);
uint8_t *image_build_chunk_tree(struct image_build *build);

/* Writes device 0 or 1: the super block and all blocks, each with its checksum. */
void image_build_write(const struct image_build *build, unsigned device, int fd);

/* Where copy 0 or 1 of a block stands on its device. */
uint64_t image_build_physical(const struct image_build *build, uint64_t bytenr, unsigned copy);

#endif /* REFSTORM_TEST_IMAGE_BUILD_H */
