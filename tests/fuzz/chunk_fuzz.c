/* SPDX-License-Identifier: MIT */
/*
 * Chunks. Even first byte: what follows is the system chunk array of a super block. Odd: chunk
 * items, each behind its logical address (8 bytes) and its size (2).
 */
#include <stdlib.h>

#include "core/disk/chunk.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/leaf_edit.h"

/* Whatever is in the map: a place is never empty, and lies on some device. */
static void find_around(const struct chunk_map *map, uint64_t logical)
{
	struct chunk_place place;
	unsigned mirrors = chunk_map_mirrors(map, logical);
	unsigned mirror;

	for (mirror = 0; mirror <= mirrors; mirror++) {
		bool found = chunk_map_find(map, logical, mirror, &place);

		if (found != (mirror < mirrors))
			abort();
		if (found && (!place.bytes || place.physical + place.bytes < place.physical))
			abort();
	}
	if (!mirrors && chunk_map_flags(map, logical))
		abort();
}

static void find_all(const struct chunk_map *map, uint64_t logical, uint64_t bytes)
{
	static const uint64_t steps[] = { 0, 1, 4095, 4096, 65535, 65536, 131072, 1 << 20 };
	size_t at;

	find_around(map, logical - 1);
	for (at = 0; at < sizeof(steps) / sizeof(steps[0]); at++)
		find_around(map, logical + steps[at]);
	find_around(map, logical + bytes / 2);
	find_around(map, logical + bytes - 1);
	find_around(map, logical + bytes);
}

static void add_items(struct chunk_map *map, struct fuzz_input *input)
{
	/* Ends: the input becomes shorter each time. */
	while (input->left >= 10) {
		uint64_t logical = fuzz_take(input, 8);
		uint64_t bytes = fuzz_take(input, 2);
		struct rs_error error = RS_ERROR_INIT;
		uint8_t *item;

		if (bytes > input->left)
			bytes = input->left;
		/* In memory of its own, so that a byte read behind it is seen. */
		item = malloc(bytes ? bytes : 1);
		if (!item)
			abort();
		memcpy(item, input->at, bytes);
		if (chunk_map_add(map, logical, item, bytes, 4096, &error)) {
			if (!error.what[0])
				abort();
		} else {
			find_all(map, logical, format_le64(item));
		}
		free(item);
		input->at += bytes;
		input->left -= bytes;
	}
}

static void add_system(struct chunk_map *map, struct fuzz_input *input)
{
	struct format_super super = { 0 };
	struct rs_error error = RS_ERROR_INIT;
	uint64_t at;

	leaf_put32(&super.sectorsize, 4096);
	leaf_put32(&super.sys_chunk_array_size,
		   (uint32_t)(input->left < FORMAT_SYSTEM_CHUNKS_MAX + 1 ?
				      input->left :
				      FORMAT_SYSTEM_CHUNKS_MAX + 1));
	memcpy(super.sys_chunk_array, input->at,
	       input->left < FORMAT_SYSTEM_CHUNKS_MAX ? input->left : FORMAT_SYSTEM_CHUNKS_MAX);
	if (chunk_map_add_system(map, &super, &error) && !error.what[0])
		abort();
	for (at = 0; at < 64; at++)
		find_around(map, at << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct chunk_map *map = chunk_map_create();

	if (!map)
		abort();
	if (fuzz_take(&input, 1) & 1)
		add_items(map, &input);
	else
		add_system(map, &input);
	chunk_map_destroy(map);
	return 0;
}
