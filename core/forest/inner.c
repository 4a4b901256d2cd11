/* SPDX-License-Identifier: MIT */
#include "core/forest/inner.h"

#include <assert.h>

#include "core/disk/put.h"

static struct format_key_ptr *inner_at(uint8_t *node, uint32_t slot)
{
	return (struct format_key_ptr *)(node + sizeof(struct format_header)) + slot;
}

static void inner_count_set(uint8_t *node, uint32_t count)
{
	put_le32(&((struct format_header *)node)->nritems, count);
}

void inner_pointer_insert(uint8_t *node, uint32_t slot, const struct inner_pointer *pointer)
{
	uint32_t count = node_count(node);
	struct format_key_ptr *at = inner_at(node, slot);

	assert(slot <= count);
	memmove(at + 1, at, (count - slot) * sizeof(*at));
	put_key(&at->key, &pointer->key);
	put_le64(&at->blockptr, pointer->bytenr);
	put_le64(&at->generation, pointer->generation);
	inner_count_set(node, count + 1);
}

void inner_pointer_remove(uint8_t *node, uint32_t slot)
{
	uint32_t count = node_count(node);
	struct format_key_ptr *at = inner_at(node, slot);

	assert(slot < count);
	memmove(at, at + 1, (count - slot - 1) * sizeof(*at));
	inner_count_set(node, count - 1);
}

void inner_key_set(uint8_t *node, uint32_t slot, const struct format_key *key)
{
	assert(slot < node_count(node));
	put_key(&inner_at(node, slot)->key, key);
}

void inner_move_left(uint8_t *left, uint8_t *right, uint32_t count)
{
	uint32_t had = node_count(left);
	uint32_t all = node_count(right);

	assert(count <= all);
	memcpy(inner_at(left, had), inner_at(right, 0), count * sizeof(struct format_key_ptr));
	memmove(inner_at(right, 0), inner_at(right, count),
		(all - count) * sizeof(struct format_key_ptr));
	inner_count_set(left, had + count);
	inner_count_set(right, all - count);
}

void inner_move_right(uint8_t *left, uint8_t *right, uint32_t count)
{
	uint32_t had = node_count(right);
	uint32_t all = node_count(left);

	assert(count <= all);
	memmove(inner_at(right, count), inner_at(right, 0), had * sizeof(struct format_key_ptr));
	memcpy(inner_at(right, 0), inner_at(left, all - count),
	       count * sizeof(struct format_key_ptr));
	inner_count_set(right, had + count);
	inner_count_set(left, all - count);
}
