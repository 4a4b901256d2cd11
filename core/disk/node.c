// SPDX-License-Identifier: MIT
#include "core/disk/node.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/error.h"
#include "core/disk/csum.h"

static int check_owner(const struct node_expect *expect, uint64_t owner, struct rs_error *error)
{
	if (expect->owner == NODE_OWNER_ANY)
		return 0;
	if (expect->owner == NODE_OWNER_SUBVOLUME ? format_is_subvolume(owner) :
						    owner == expect->owner)
		return 0;
	if (expect->owner == NODE_OWNER_SUBVOLUME)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "owner is tree %" PRId64 ", which is no subvolume",
				    (int64_t)owner);
	return error_set_at(error, -EUCLEAN, expect->bytenr,
			    "owner is tree %" PRId64 ", expected %" PRId64, (int64_t)owner,
			    (int64_t)expect->owner);
}

static int check_header(const struct node_rules *rules, const struct node_expect *expect,
			const struct format_header *header, struct rs_error *error)
{
	uint64_t bytenr = format_le64(&header->bytenr);
	uint64_t generation = format_le64(&header->generation);

	if (bytenr != expect->bytenr)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "block says it is the one at %" PRIu64, bytenr);
	if (memcmp(header->fsid, rules->fsid, FORMAT_FSID_BYTES))
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "block belongs to another file system");
	if (header->level != expect->level)
		return error_set_at(error, -EUCLEAN, expect->bytenr, "level is %u, expected %u",
				    header->level, expect->level);
	if (generation != expect->generation)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "generation is %" PRIu64 ", expected %" PRIu64, generation,
				    expect->generation);
	if (generation > rules->generation_max)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "generation %" PRIu64 " is above the super block's %" PRIu64,
				    generation, rules->generation_max);
	return check_owner(expect, format_le64(&header->owner), error);
}

static int check_key_order(const uint8_t *block, size_t stride, uint32_t count, uint64_t bytenr,
			   struct rs_error *error)
{
	const uint8_t *at = block + sizeof(struct format_header);
	struct format_key last = format_key_read((const struct btrfs_disk_key *)at);
	uint32_t slot;

	for (slot = 1; slot < count; slot++) {
		struct format_key key;

		at += stride;
		key = format_key_read((const struct btrfs_disk_key *)at);
		if (format_key_compare(&last, &key) >= 0)
			return error_set_at(error, -EUCLEAN, bytenr,
					    "key of slot %u is not above the one before it", slot);
		last = key;
	}
	return 0;
}

static int check_items(const struct node_rules *rules, const uint8_t *block, uint32_t count,
		       uint64_t bytenr, struct rs_error *error)
{
	uint32_t room = rules->node_bytes - (uint32_t)sizeof(struct format_header);
	uint32_t end = room; /* where the data of the next item must end */
	uint32_t low = count * (uint32_t)sizeof(struct format_item);
	uint32_t slot;

	for (slot = 0; slot < count; slot++) {
		uint32_t offset = format_le32(&node_item(block, slot)->offset);
		uint32_t bytes = format_le32(&node_item(block, slot)->size);

		if (offset < low || offset > end || bytes != end - offset)
			return error_set_at(error, -EUCLEAN, bytenr,
					    "data of item %u (offset %u, size %u) overlap, leave a "
					    "gap or lie outside",
					    slot, offset, bytes);
		end = offset;
	}
	return 0;
}

static int check_pointers(const struct node_rules *rules, const uint8_t *block, uint32_t count,
			  uint64_t bytenr, struct rs_error *error)
{
	uint32_t slot;

	for (slot = 0; slot < count; slot++) {
		uint64_t child = format_le64(&node_pointer(block, slot)->blockptr);

		if (!child || child % rules->sector_bytes)
			return error_set_at(error, -EUCLEAN, bytenr,
					    "pointer %u leads to %" PRIu64
					    ", which is no block address",
					    slot, child);
	}
	return 0;
}

static int check_count(const struct node_rules *rules, const struct node_expect *expect,
		       uint32_t count, struct rs_error *error)
{
	size_t entry = expect->level ? sizeof(struct format_key_ptr) : sizeof(struct format_item);
	size_t room = (rules->node_bytes - sizeof(struct format_header)) / entry;

	if (count > room)
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "%u items, but there is room for %zu", count, room);
	if (!count && !(expect->is_root && !expect->level))
		return error_set_at(error, -EUCLEAN, expect->bytenr, "block has no items");
	return 0;
}

static int check_contents(const struct node_rules *rules, const struct node_expect *expect,
			  const uint8_t *block, struct rs_error *error)
{
	size_t stride = expect->level ? sizeof(struct format_key_ptr) : sizeof(struct format_item);
	uint32_t count = node_count(block);
	struct format_key first;
	int ret;

	ret = check_count(rules, expect, count, error);
	if (ret || !count)
		return ret;
	ret = check_key_order(block, stride, count, expect->bytenr, error);
	if (ret)
		return ret;
	first = node_key(block, 0);
	if (!expect->is_root && format_key_compare(&first, &expect->first_key))
		return error_set_at(error, -EUCLEAN, expect->bytenr,
				    "first key (%" PRIu64 " %u %" PRIu64
				    ") is not the one its parent gives",
				    first.objectid, first.type, first.offset);
	if (expect->level)
		return check_pointers(rules, block, count, expect->bytenr, error);
	return check_items(rules, block, count, expect->bytenr, error);
}

int node_check(const struct node_rules *rules, const struct node_expect *expect,
	       const uint8_t *block, struct rs_error *error)
{
	int ret;

	if (!csum_block_valid(rules->csum_type, block, rules->node_bytes))
		return error_set_at(error, -EUCLEAN, expect->bytenr, "checksum does not match");
	ret = check_header(rules, expect, node_header(block), error);
	if (ret)
		return ret;
	return check_contents(rules, expect, block, error);
}

struct node_expect node_child(const uint8_t *block, uint32_t slot, uint64_t owner)
{
	const struct format_key_ptr *pointer = node_pointer(block, slot);
	struct node_expect expect = {
		.bytenr = format_le64(&pointer->blockptr),
		.generation = format_le64(&pointer->generation),
		.owner = owner,
		.first_key = format_key_read(&pointer->key),
		.level = (uint8_t)(node_level(block) - 1),
	};

	return expect;
}

uint32_t node_lower_bound(const uint8_t *block, const struct format_key *key)
{
	uint32_t low = 0;
	uint32_t high = node_count(block);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct format_key at = node_key(block, middle);

		if (format_key_compare(&at, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
