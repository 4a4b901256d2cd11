/* SPDX-License-Identifier: MIT */
/* Blocks of 4 KiB, leaves and nodes: once node_check has passed one, all may be read. */
#include <stdlib.h>

#include "core/disk/csum.h"
#include "tests/fuzz/fuzz_input.h"

static uint64_t read_leaf(const uint8_t *block)
{
	uint64_t sum = 0;
	uint32_t slot;
	uint32_t at;

	for (slot = 0; slot < node_count(block); slot++) {
		const uint8_t *data = node_item_data(block, slot);

		for (at = 0; at < node_item_bytes(block, slot); at++)
			sum += data[at];
	}
	return sum;
}

static uint64_t read_node(const uint8_t *block, uint64_t owner)
{
	uint64_t sum = 0;
	uint32_t slot;

	for (slot = 0; slot < node_count(block); slot++) {
		struct node_expect child = node_child(block, slot, owner);

		if (!child.bytenr || child.level + 1 != node_level(block))
			abort();
		sum += child.generation;
	}
	return sum;
}

static void find_keys(const uint8_t *block)
{
	uint32_t slot;

	for (slot = 0; slot < node_count(block); slot++) {
		struct format_key key = node_key(block, slot);

		if (node_lower_bound(block, &key) != slot)
			abort();
		key.offset++;
		if (key.offset && node_lower_bound(block, &key) != slot + 1)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t block[FUZZ_RAW_BYTES] __attribute__((aligned(4096)));
	const struct format_header *header = node_header(block);
	struct node_rules rules = { .node_bytes = FUZZ_RAW_BYTES, .sector_bytes = 4096 };
	struct rs_error error = RS_ERROR_INIT;
	struct node_expect expect;
	volatile uint64_t sum;

	memset(block, 0, sizeof(block));
	memcpy(block, data, size < sizeof(block) ? size : sizeof(block));
	rules.csum_type = size % 4;
	memcpy(rules.fsid, header->fsid, sizeof(rules.fsid));
	csum_block_write(rules.csum_type, block, sizeof(block));
	expect = (struct node_expect){
		.bytenr = format_le64(&header->bytenr),
		.generation = format_le64(&header->generation),
		.owner = size & 4 ? NODE_OWNER_SUBVOLUME : format_le64(&header->owner),
		.level = header->level % FORMAT_LEVELS,
		.is_root = true,
	};
	rules.generation_max = expect.generation;
	if (node_check(&rules, &expect, block, &error))
		goto refused;
	sum = node_level(block) ? read_node(block, expect.owner) : read_leaf(block);
	(void)sum;
	find_keys(block);
	return 0;
refused:
	if (!error.what[0])
		abort();
	return 0;
}
