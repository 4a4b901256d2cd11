/* SPDX-License-Identifier: MIT */
#include "tests/support/leaf_edit.h"

static struct format_item *item_at(uint8_t *leaf, uint32_t slot)
{
	return (struct format_item *)(leaf + sizeof(struct format_header)) + slot;
}

void leaf_put32(void *at, uint32_t value)
{
	uint32_t disk = format_le32(&value);

	memcpy(at, &disk, sizeof(disk));
}

void leaf_put64(void *at, uint64_t value)
{
	uint64_t disk = format_le64(&value);

	memcpy(at, &disk, sizeof(disk));
}

/* Where the data of all items before `slot` begin, from the end of the header. */
static uint32_t data_begin(const uint8_t *leaf, uint32_t node_bytes, uint32_t slot)
{
	if (!slot)
		return node_bytes - (uint32_t)sizeof(struct format_header);
	return format_le32(&node_item(leaf, slot - 1)->offset);
}

uint32_t leaf_room(const uint8_t *leaf, uint32_t node_bytes)
{
	uint32_t count = node_count(leaf);

	return data_begin(leaf, node_bytes, count) - count * (uint32_t)sizeof(struct format_item);
}

uint8_t *leaf_data(uint8_t *leaf, uint32_t slot)
{
	return leaf + (node_item_data(leaf, slot) - leaf);
}

void leaf_key_set(uint8_t *leaf, uint32_t slot, const struct format_key *key)
{
	struct btrfs_disk_key *disk = &item_at(leaf, slot)->key;

	leaf_put64(&disk->objectid, key->objectid);
	disk->type = key->type;
	leaf_put64(&disk->offset, key->offset);
}

/* The data of item `slot` and all behind it grow downwards by `more`, or shrink. */
static void move_data(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, int64_t more)
{
	uint32_t count = node_count(leaf);
	uint32_t low = data_begin(leaf, node_bytes, count);
	uint32_t end = data_begin(leaf, node_bytes, slot + 1);
	uint8_t *room = leaf + sizeof(struct format_header);
	uint32_t at;

	memmove(room + low - more, room + low, end - low);
	for (at = slot; at < count; at++)
		leaf_put32(&item_at(leaf, at)->offset,
			   (uint32_t)(format_le32(&item_at(leaf, at)->offset) - more));
}

bool leaf_replace(uint8_t *leaf, uint32_t node_bytes, uint32_t slot, const void *data,
		  uint32_t bytes)
{
	uint32_t old = node_item_bytes(leaf, slot);
	uint8_t kept[FORMAT_NODE_BYTES_MAX];

	if (bytes > old && bytes - old > leaf_room(leaf, node_bytes))
		return false;
	memset(kept, 0, bytes);
	if (data)
		memcpy(kept, data, bytes);
	else
		memcpy(kept, node_item_data(leaf, slot), bytes < old ? bytes : old);
	move_data(leaf, node_bytes, slot, (int64_t)bytes - old);
	leaf_put32(&item_at(leaf, slot)->size, bytes);
	memcpy(leaf_data(leaf, slot), kept, bytes);
	return true;
}

static void set_count(uint8_t *leaf, uint32_t count)
{
	leaf_put32(&((struct format_header *)leaf)->nritems, count);
}

void leaf_remove(uint8_t *leaf, uint32_t node_bytes, uint32_t slot)
{
	uint32_t count = node_count(leaf);

	move_data(leaf, node_bytes, slot, -(int64_t)node_item_bytes(leaf, slot));
	memmove(item_at(leaf, slot), item_at(leaf, slot + 1),
		(count - slot - 1) * sizeof(struct format_item));
	set_count(leaf, count - 1);
}

bool leaf_insert(uint8_t *leaf, uint32_t node_bytes, const struct format_key *key, const void *data,
		 uint32_t bytes)
{
	uint32_t slot = node_lower_bound(leaf, key);
	uint32_t count = node_count(leaf);
	uint32_t begin = data_begin(leaf, node_bytes, slot);
	struct format_key there;

	if (leaf_room(leaf, node_bytes) < sizeof(struct format_item) + bytes)
		return false;
	if (slot < count) {
		there = node_key(leaf, slot);
		if (!format_key_compare(&there, key))
			return false;
	}
	memmove(item_at(leaf, slot + 1), item_at(leaf, slot),
		(count - slot) * sizeof(struct format_item));
	set_count(leaf, count + 1);
	leaf_key_set(leaf, slot, key);
	leaf_put32(&item_at(leaf, slot)->offset, begin);
	leaf_put32(&item_at(leaf, slot)->size, 0);
	return leaf_replace(leaf, node_bytes, slot, data, bytes);
}
