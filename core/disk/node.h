/* SPDX-License-Identifier: MIT */
/*
 * Tree blocks: checked once, when they come in, and read through these
 * functions from then on.
 *
 * Who may call: any thread; a block is plain memory that nobody changes.
 */
#ifndef REFSTORM_DISK_NODE_H
#define REFSTORM_DISK_NODE_H

#include "core/disk/format.h"
#include "refstorm/error.h"

/* What all blocks of one file system have in common. */
struct node_rules {
	uint32_t node_bytes;
	uint32_t sector_bytes;
	uint16_t csum_type;
	uint64_t generation_max; /* of the super block */
	uint8_t fsid[FORMAT_FSID_BYTES];
};

/* `owner` of a block that any subvolume may own, since snapshots share it. */
#define NODE_OWNER_SUBVOLUME 0
/* And of one that any tree may own: copies of trees that a balance works on. */
#define NODE_OWNER_ANY UINT64_MAX

/* What the pointer that led to a block says of it. */
struct node_expect {
	uint64_t bytenr;
	uint64_t generation;
	uint64_t owner; /* root id, or one of the above */
	struct format_key first_key;
	uint8_t level;
	bool is_root; /* may be empty; first_key is not known */
};

/*
 * Checks everything that later code relies on: checksum, own address, file
 * system id, level, generation, owner, number of items, strictly ascending keys,
 * and for leaves that item data lie one against the other inside the block.
 * Returns 0 or -EUCLEAN with the rule that is broken in `error`.
 */
int node_check(const struct node_rules *rules, const struct node_expect *expect,
	       const uint8_t *block, struct rs_error *error) __attribute__((warn_unused_result));

static inline const struct format_header *node_header(const uint8_t *block)
{
	return (const struct format_header *)block;
}

static inline uint32_t node_count(const uint8_t *block)
{
	return format_le32(&node_header(block)->nritems);
}

static inline uint8_t node_level(const uint8_t *block)
{
	return node_header(block)->level;
}

/* Of an interior node: key and pointer number `slot`. */
static inline const struct format_key_ptr *node_pointer(const uint8_t *block, uint32_t slot)
{
	return (const struct format_key_ptr *)(block + sizeof(struct format_header)) + slot;
}

/* Of a leaf. */
static inline const struct format_item *node_item(const uint8_t *block, uint32_t slot)
{
	return (const struct format_item *)(block + sizeof(struct format_header)) + slot;
}

static inline const uint8_t *node_item_data(const uint8_t *block, uint32_t slot)
{
	return block + sizeof(struct format_header) + format_le32(&node_item(block, slot)->offset);
}

static inline uint32_t node_item_bytes(const uint8_t *block, uint32_t slot)
{
	return format_le32(&node_item(block, slot)->size);
}

static inline struct format_key node_key(const uint8_t *block, uint32_t slot)
{
	return format_key_read(node_level(block) ? &node_pointer(block, slot)->key :
						   &node_item(block, slot)->key);
}

/* What pointer `slot` of interior node `block` says of the child; `owner` as in node_expect. */
struct node_expect node_child(const uint8_t *block, uint32_t slot, uint64_t owner);

/* The first slot whose key is not below `key`; node_count() if there is none. */
uint32_t node_lower_bound(const uint8_t *block, const struct format_key *key);

#endif /* REFSTORM_DISK_NODE_H */
