/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz_input.h"

#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/disk/csum.h"
#include "tests/support/leaf_edit.h"

uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
	uint64_t value = 0;
	unsigned at;

	for (at = 0; at < bytes && input->left; at++, input->at++, input->left--)
		value |= (uint64_t)*input->at << (8 * at);
	return value;
}

static void fill_leaf(struct fuzz_leaf *leaf, struct fuzz_input *input)
{
	/* Ends: the input becomes shorter each time. */
	while (input->left >= FUZZ_ITEM_BYTES) {
		struct format_key key = { .type = (uint8_t)fuzz_take(input, 1) };
		uint32_t bytes;

		key.objectid = fuzz_take(input, 8);
		key.offset = fuzz_take(input, 8);
		bytes = (uint32_t)fuzz_take(input, 2);
		if (bytes > input->left)
			bytes = (uint32_t)input->left;
		leaf_insert(leaf->block, leaf->rules.node_bytes, &key, input->at, bytes);
		input->at += bytes;
		input->left -= bytes;
	}
}

void fuzz_leaf_make(struct fuzz_leaf *leaf, const uint8_t *data, size_t size, uint64_t owner)
{
	struct format_header *header;
	struct fuzz_input input = { data, size };
	bool raw = !(fuzz_take(&input, 1) & 1);

	memset(leaf, 0, sizeof(*leaf));
	leaf->rules.node_bytes = raw ? FUZZ_RAW_BYTES : FUZZ_NODE_BYTES;
	leaf->block = alloc_aligned(4096, 1, leaf->rules.node_bytes);
	if (!leaf->block)
		abort();
	memset(leaf->block, 0, leaf->rules.node_bytes);
	header = (struct format_header *)leaf->block;
	leaf->rules.sector_bytes = 4096;
	leaf->rules.generation_max = FUZZ_GENERATION;
	leaf->expect.bytenr = FUZZ_BYTENR;
	leaf->expect.generation = FUZZ_GENERATION;
	leaf->expect.owner = owner;
	leaf->expect.is_root = true;
	if (raw)
		memcpy(leaf->block, input.at,
		       input.left < FUZZ_RAW_BYTES ? input.left : FUZZ_RAW_BYTES);
	else
		fill_leaf(leaf, &input);
	memset(header->fsid, 0, sizeof(header->fsid));
	leaf_put64(&header->bytenr, FUZZ_BYTENR);
	leaf_put64(&header->generation, FUZZ_GENERATION);
	leaf_put64(&header->owner, owner);
	header->level = 0;
	csum_block_write(leaf->rules.csum_type, leaf->block, leaf->rules.node_bytes);
}

void fuzz_leaf_free(struct fuzz_leaf *leaf)
{
	alloc_free(leaf->block);
}

size_t fuzz_item_write(uint8_t *to, const struct format_key *key, const uint8_t *data,
		       uint32_t bytes)
{
	to[0] = key->type;
	leaf_put64(to + 1, key->objectid);
	leaf_put64(to + 9, key->offset);
	to[17] = (uint8_t)bytes;
	to[18] = (uint8_t)(bytes >> 8);
	memcpy(to + FUZZ_ITEM_BYTES, data, bytes);
	return FUZZ_ITEM_BYTES + bytes;
}
