/* SPDX-License-Identifier: MIT */
/*
 * usage: make_corpus DIR
 *
 * Inputs for the fuzz targets from the fixtures: DIR/node, DIR/chunk, DIR/extent, DIR/quota. Run in
 * the source directory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/alloc.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/block_list.h"
#include "tests/support/fixture.h"
#include "tests/support/leaf_edit.h"

#define FIXTURES_MAX 64
/* Of each fixture and target; more of the same sort help nothing. */
#define INPUTS_MAX 24
#define PATH_BYTES 4096
/* Items in an input: short ones are changed to better purpose. */
#define ITEMS_MAX 24

enum target {
	TARGET_NODE,
	TARGET_CHUNK,
	TARGET_EXTENT,
	TARGET_QUOTA,
	TARGETS,
};

static const char *const target_names[TARGETS] = { "node", "chunk", "extent", "quota" };

struct corpus {
	const char *folder;
	unsigned written[TARGETS]; /* of this fixture */
	unsigned total;
};

static void write_input(struct corpus *corpus, enum target target, const uint8_t *data, size_t size)
{
	char path[PATH_BYTES];
	FILE *file;

	if (corpus->written[target]++ >= INPUTS_MAX)
		return;
	snprintf(path, sizeof(path), "%s/%s/%05u", corpus->folder, target_names[target],
		 corpus->total++);
	file = fopen(path, "wb");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(1);
	}
}

static void write_node(struct corpus *corpus, const uint8_t *block)
{
	uint8_t input[FUZZ_RAW_BYTES + 4];

	memcpy(input, block, FUZZ_RAW_BYTES);
	memset(input + FUZZ_RAW_BYTES, 0, 4);
	/* The size chooses the checksum. */
	write_input(corpus, TARGET_NODE, input, FUZZ_RAW_BYTES + corpus->written[TARGET_NODE] % 4);
}

static void write_items(struct corpus *corpus, enum target target, const uint8_t *leaf)
{
	uint8_t *input = alloc_array(1, 2 * FORMAT_NODE_BYTES_MAX);
	size_t size = 1;
	uint32_t slot;

	if (!input)
		exit(1);
	input[0] = 1;
	for (slot = 0; slot < node_count(leaf); slot++) {
		struct format_key key = node_key(leaf, slot);

		size += fuzz_item_write(input + size, &key, node_item_data(leaf, slot),
					node_item_bytes(leaf, slot));
		if (slot % ITEMS_MAX == ITEMS_MAX - 1 || slot + 1 == node_count(leaf)) {
			write_input(corpus, target, input, size);
			size = 1;
		}
	}
	alloc_free(input);
}

/* As it is; where the node size is that of raw inputs. */
static void write_raw(struct corpus *corpus, enum target target, const uint8_t *leaf)
{
	uint8_t input[1 + FUZZ_RAW_BYTES];

	input[0] = 0;
	memcpy(input + 1, leaf, FUZZ_RAW_BYTES);
	write_input(corpus, target, input, sizeof(input));
}

static void write_chunks(struct corpus *corpus, const uint8_t *leaf)
{
	uint8_t input[1 + FORMAT_NODE_BYTES_MAX];
	size_t size = 1;
	uint32_t slot;

	input[0] = 1;
	for (slot = 0; slot < node_count(leaf); slot++) {
		uint32_t bytes = node_item_bytes(leaf, slot);

		if (node_key(leaf, slot).type != BTRFS_CHUNK_ITEM_KEY)
			continue;
		leaf_put64(input + size, node_key(leaf, slot).offset);
		input[size + 8] = (uint8_t)bytes;
		input[size + 9] = (uint8_t)(bytes >> 8);
		memcpy(input + size + 10, node_item_data(leaf, slot), bytes);
		size += 10 + bytes;
	}
	write_input(corpus, TARGET_CHUNK, input, size);
}

static void write_system_chunks(struct corpus *corpus, const struct format_super *super)
{
	uint8_t input[1 + FORMAT_SYSTEM_CHUNKS_MAX];
	uint32_t bytes = format_le32(&super->sys_chunk_array_size);

	input[0] = 0;
	memcpy(input + 1, super->sys_chunk_array, bytes);
	write_input(corpus, TARGET_CHUNK, input, 1 + bytes);
}

static void write_block(struct corpus *corpus, const struct listed_block *listed,
			const uint8_t *block, uint32_t node_bytes)
{
	bool raw = node_bytes == FUZZ_RAW_BYTES;

	if (raw)
		write_node(corpus, block);
	if (listed->expect.level)
		return;
	if (listed->tree == BTRFS_CHUNK_TREE_OBJECTID)
		write_chunks(corpus, block);
	if (listed->tree == BTRFS_EXTENT_TREE_OBJECTID) {
		write_items(corpus, TARGET_EXTENT, block);
		if (raw)
			write_raw(corpus, TARGET_EXTENT, block);
	}
	if (listed->tree == BTRFS_QUOTA_TREE_OBJECTID) {
		write_items(corpus, TARGET_QUOTA, block);
		if (raw)
			write_raw(corpus, TARGET_QUOTA, block);
	}
}

static void write_fixture(struct corpus *corpus, const char *name)
{
	struct rs_error error = RS_ERROR_INIT;
	struct block_list list;
	struct fixture fixture;
	uint8_t *block;
	uint32_t at;

	memset(corpus->written, 0, sizeof(corpus->written));
	fixture_open(&fixture, name);
	block = image_block_alloc(fixture.image);
	block_list_read(&list, fixture.image);
	write_system_chunks(corpus, &fixture.image->devices.super);
	for (at = 0; at < list.count; at++) {
		if (image_read(fixture.image, &list.blocks[at].expect, 0, NULL, block, &error))
			exit(1);
		write_block(corpus, &list.blocks[at], block, fixture.image->rules.node_bytes);
	}
	block_list_destroy(&list);
	alloc_free(block);
	fixture_close(&fixture);
}

int main(int argc, char **argv)
{
	char names[FIXTURES_MAX][FIXTURE_NAME_BYTES];
	struct corpus corpus = { 0 };
	char path[PATH_BYTES];
	unsigned target;
	size_t count;
	size_t at;

	if (argc != 2) {
		fprintf(stderr, "usage: make_corpus DIR\n");
		return 2;
	}
	corpus.folder = argv[1];
	mkdir(argv[1], 0777);
	for (target = 0; target < TARGETS; target++) {
		snprintf(path, sizeof(path), "%s/%s", argv[1], target_names[target]);
		mkdir(path, 0777);
	}
	count = fixture_names(names, FIXTURES_MAX);
	for (at = 0; at < count; at++)
		write_fixture(&corpus, names[at]);
	printf("%u inputs from %zu fixtures\n", corpus.total, count);
	return corpus.total ? 0 : 1;
}
