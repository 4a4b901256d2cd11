/* SPDX-License-Identifier: MIT */
#include "stress/oracle/recount_impl.h"

#include <inttypes.h>

#define KEY_FORMAT "(%" PRIu64 " %u %" PRIu64 ")"

static bool check_header(struct recount *recount, const struct buffer *buffer)
{
	const struct format_header *header = node_header(buffer->data);
	uint64_t generation = format_le64(&header->generation);

	if (format_le64(&header->bytenr) != buffer->bytenr)
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "header says it is the block at %" PRIu64,
			     format_le64(&header->bytenr));
	else if (header->level != buffer->level || header->level >= FORMAT_LEVELS)
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "header says level %u, the buffer level %u", header->level,
			     buffer->level);
	else if (generation != buffer->generation)
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "header says generation %" PRIu64 ", the buffer %" PRIu64, generation,
			     buffer->generation);
	else if (!format_is_subvolume(format_le64(&header->owner)))
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "owner is tree %" PRIu64 ", which is no subvolume",
			     format_le64(&header->owner));
	else if (memcmp(header->fsid, recount->forest->fsid, FORMAT_FSID_BYTES))
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "block belongs to another file system");
	else
		return true;
	return false;
}

static bool check_keys(struct recount *recount, const struct buffer *buffer)
{
	uint32_t slot;

	for (slot = 1; slot < node_count(buffer->data); slot++) {
		struct format_key before = node_key(buffer->data, slot - 1);
		struct format_key key = node_key(buffer->data, slot);

		if (format_key_compare(&before, &key) < 0)
			continue;
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "key " KEY_FORMAT " of slot %u is not above the one before it",
			     key.objectid, key.type, key.offset, slot);
		return false;
	}
	return true;
}

/* From the block's end downwards, without gaps, down to what the items leave at most. */
static bool check_packed(struct recount *recount, const struct buffer *buffer)
{
	uint32_t count = node_count(buffer->data);
	uint64_t end = recount->forest->node_bytes - sizeof(struct format_header);
	uint32_t slot;

	for (slot = 0; slot < count; slot++) {
		uint64_t offset = format_le32(&node_item(buffer->data, slot)->offset);
		uint64_t bytes = format_le32(&node_item(buffer->data, slot)->size);

		if (offset + bytes != end || offset < count * sizeof(struct format_item)) {
			recount_find(recount, RECOUNT_NODE, buffer->bytenr,
				     "data of item %u, %" PRIu64 " bytes at %" PRIu64
				     ", do not end at %" PRIu64 ", or reach into the items",
				     slot, bytes, offset, end);
			return false;
		}
		end = offset;
	}
	return true;
}

/* What of a file extent can be wrong by itself; `*end` becomes where it ends in the file. */
static bool check_file_extent(const uint8_t *leaf, uint32_t slot, uint64_t *end)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);
	uint32_t bytes = node_item_bytes(leaf, slot);
	uint64_t in_file = node_key(leaf, slot).offset;
	uint64_t room;

	if (bytes < offsetof(struct btrfs_file_extent_item, disk_bytenr))
		return false;
	*end = in_file + 1;
	if (item->type == BTRFS_FILE_EXTENT_INLINE)
		return true;
	if (bytes != sizeof(*item) || item->type > BTRFS_FILE_EXTENT_PREALLOC)
		return false;
	*end = in_file + format_le64(&item->num_bytes);
	/* A compressed extent is larger unpacked than on disk. */
	room = format_le64(item->compression ? &item->ram_bytes : &item->disk_num_bytes);
	if (!format_le64(&item->disk_bytenr))
		room = UINT64_MAX;
	else if (!format_le64(&item->disk_num_bytes))
		return false;
	return *end > in_file && format_le64(&item->offset) <= room &&
	       format_le64(&item->num_bytes) <= room - format_le64(&item->offset);
}

static bool is_file_extent(const uint8_t *leaf, uint32_t slot)
{
	return node_item(leaf, slot)->key.type == BTRFS_EXTENT_DATA_KEY;
}

static bool check_file_extents(struct recount *recount, const struct buffer *buffer)
{
	const uint8_t *leaf = buffer->data;
	uint64_t inode = 0;
	uint64_t end = 0;
	uint32_t slot;

	for (slot = 0; slot < node_count(leaf); slot++) {
		struct format_key key = node_key(leaf, slot);

		if (!is_file_extent(leaf, slot))
			continue;
		if ((key.objectid != inode || key.offset >= end) &&
		    check_file_extent(leaf, slot, &end)) {
			inode = key.objectid;
			continue;
		}
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "file extent of inode %" PRIu64 " at %" PRIu64
			     " (item %u) cannot be, or begins inside the one before it",
			     key.objectid, key.offset, slot);
		return false;
	}
	return true;
}

bool recount_node_check(struct recount *recount, const struct buffer *buffer)
{
	size_t entry = buffer->level ? sizeof(struct format_key_ptr) : sizeof(struct format_item);
	size_t room = (recount->forest->node_bytes - sizeof(struct format_header)) / entry;

	if (!check_header(recount, buffer))
		return false;
	if (node_count(buffer->data) > room) {
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "%u items, and there is room for %zu", node_count(buffer->data), room);
		return false;
	}
	if (!check_keys(recount, buffer))
		return false;
	return buffer->level ||
	       (check_packed(recount, buffer) && check_file_extents(recount, buffer));
}

static bool expected_keys(struct recount *recount, const struct buffer *buffer,
			  const struct recount_expect *expect)
{
	uint32_t count = node_count(buffer->data);
	struct format_key first;
	struct format_key last;

	if (!count) {
		if (expect->is_root && !expect->level)
			return true;
		recount_find(recount, RECOUNT_NODE, buffer->bytenr, "block has no items");
		return false;
	}
	first = node_key(buffer->data, 0);
	last = node_key(buffer->data, count - 1);
	if (!expect->is_root && format_key_compare(&first, &expect->first)) {
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "first key is " KEY_FORMAT ", the pointer to it says " KEY_FORMAT,
			     first.objectid, first.type, first.offset, expect->first.objectid,
			     expect->first.type, expect->first.offset);
		return false;
	}
	if (expect->has_bound && format_key_compare(&last, &expect->bound) >= 0) {
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "last key is " KEY_FORMAT ", not below " KEY_FORMAT
			     " of the next pointer",
			     last.objectid, last.type, last.offset, expect->bound.objectid,
			     expect->bound.type, expect->bound.offset);
		return false;
	}
	return true;
}

bool recount_node_expected(struct recount *recount, const struct buffer *buffer,
			   const struct recount_expect *expect)
{
	if (buffer->level != expect->level) {
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "level is %u, what leads to it says %u", buffer->level, expect->level);
		return false;
	}
	if (buffer->generation != expect->generation) {
		recount_find(recount, RECOUNT_NODE, buffer->bytenr,
			     "generation is %" PRIu64 ", what leads to it says %" PRIu64,
			     buffer->generation, expect->generation);
		return false;
	}
	return expected_keys(recount, buffer, expect);
}

struct recount_expect recount_node_child(const uint8_t *node, uint32_t slot,
					 const struct recount_expect *expect)
{
	const struct format_key_ptr *pointer = node_pointer(node, slot);
	struct recount_expect child = {
		.bytenr = format_le64(&pointer->blockptr),
		.generation = format_le64(&pointer->generation),
		.first = node_key(node, slot),
		.bound = expect->bound,
		.has_bound = expect->has_bound,
		.level = (uint8_t)(expect->level - 1),
	};

	if (slot + 1 < node_count(node)) {
		child.bound = node_key(node, slot + 1);
		child.has_bound = true;
	}
	return child;
}

bool recount_node_extent(const uint8_t *leaf, uint32_t slot, uint64_t *bytenr, uint64_t *bytes)
{
	const struct btrfs_file_extent_item *item =
		(const struct btrfs_file_extent_item *)node_item_data(leaf, slot);

	if (!is_file_extent(leaf, slot) || item->type == BTRFS_FILE_EXTENT_INLINE ||
	    !format_le64(&item->disk_bytenr))
		return false;
	*bytenr = format_le64(&item->disk_bytenr);
	*bytes = format_le64(&item->disk_num_bytes);
	return true;
}
