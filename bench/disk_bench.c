// SPDX-License-Identifier: MIT
/* What reading a block costs: its checksum, and all checks together. */
#include <string.h>

#include "bench/shim.h"
#include "core/base/random.h"
#include "core/disk/csum.h"
#include "core/disk/node.h"

#define NODE_BYTES 16384
#define ITEMS 200
#define FILE_EXTENT_BYTES 53

static void csum_run(struct bench_state *state, uint16_t type)
{
	static _Thread_local uint8_t block[NODE_BYTES];
	struct random_state random;
	uint64_t blocks = 0;
	uint64_t good = 0;

	random_state_seed(&random, 1, 0);
	random_state_fill(&random, block, sizeof(block));
	csum_block_write(type, block, sizeof(block));
	while (bench_running(state)) {
		good += csum_block_valid(type, block, sizeof(block));
		blocks++;
	}
	if (good != blocks)
		bench_fail(state, "a good checksum was refused");
	bench_done(state, "block", blocks);
	bench_bytes(state, blocks * NODE_BYTES);
}

static void csum_crc32c(struct bench_state *state)
{
	csum_run(state, FORMAT_CSUM_CRC32C);
}

static void csum_xxhash64(struct bench_state *state)
{
	csum_run(state, FORMAT_CSUM_XXHASH64);
}

static void csum_sha256(struct bench_state *state)
{
	csum_run(state, FORMAT_CSUM_SHA256);
}

static void csum_blake2b(struct bench_state *state)
{
	csum_run(state, FORMAT_CSUM_BLAKE2B);
}

/* A leaf of file extents. */
static void leaf_fill(uint8_t *block)
{
	struct format_header *header = (struct format_header *)block;
	uint32_t end = NODE_BYTES - (uint32_t)sizeof(*header);
	uint32_t slot;

	memset(block, 0, NODE_BYTES);
	header->bytenr = 1 << 20;
	header->generation = 7;
	header->owner = 256;
	header->nritems = ITEMS;
	for (slot = 0; slot < ITEMS; slot++) {
		struct format_item *item = (struct format_item *)(header + 1) + slot;

		end -= FILE_EXTENT_BYTES;
		item->key.objectid = 257;
		item->key.type = BTRFS_EXTENT_DATA_KEY;
		item->key.offset = (uint64_t)slot * 4096;
		item->offset = end;
		item->size = FILE_EXTENT_BYTES;
	}
	csum_block_write(FORMAT_CSUM_CRC32C, block, NODE_BYTES);
}

static void node_check_leaf(struct bench_state *state)
{
	static _Thread_local uint8_t block[NODE_BYTES] __attribute__((aligned(64)));
	const struct node_rules rules = {
		.node_bytes = NODE_BYTES,
		.sector_bytes = 4096,
		.csum_type = FORMAT_CSUM_CRC32C,
		.generation_max = 7,
	};
	const struct node_expect expect = {
		.bytenr = 1 << 20,
		.generation = 7,
		.owner = NODE_OWNER_SUBVOLUME,
		.first_key = { .objectid = 257, .type = BTRFS_EXTENT_DATA_KEY },
	};
	uint64_t blocks = 0;
	uint64_t good = 0;

	leaf_fill(block);
	while (bench_running(state)) {
		good += !node_check(&rules, &expect, block, NULL);
		blocks++;
	}
	if (good != blocks)
		bench_fail(state, "a good leaf was refused");
	bench_done(state, "block", blocks);
	bench_bytes(state, blocks * NODE_BYTES);
}

void bench_register_disk(void)
{
	bench_register("csum/crc32c/16KiB", csum_crc32c, 1);
	bench_register("csum/xxhash64/16KiB", csum_xxhash64, 1);
	bench_register("csum/sha256/16KiB", csum_sha256, 1);
	bench_register("csum/blake2b/16KiB", csum_blake2b, 1);
	bench_register("node/check/leaf-of-200", node_check_leaf, 1);
	bench_register("node/check/leaf-of-200", node_check_leaf, 2);
}
