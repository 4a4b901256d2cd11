// SPDX-License-Identifier: MIT
#include "core/forest/extent_index_impl.h"

#include "core/base/alloc.h"

#define CHUNK_ENTRIES 4096U

/* In the place of a chunk's first entry. */
struct extent_chunk {
	struct extent_chunk *next;
};

/* In the place of a block that is not in use. */
struct extent_free {
	struct extent_free *next;
};

static const uint8_t slab_rooms[EXTENT_ROOMS] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 };

/* The smallest size for a count. */
static const uint8_t slab_sizes[EXTENT_GROUP_UNITS + 1] = {
	0, 0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7,
	8, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9,
};

unsigned extent_index_slab_room(unsigned count)
{
	return slab_rooms[slab_sizes[count]];
}

void extent_index_slab_give(struct extent_slab *slab, struct extent_entry *block, unsigned room)
{
	struct extent_free **head = &slab->free[slab_sizes[room]];
	struct extent_free *given = (struct extent_free *)block;

	given->next = *head;
	*head = given;
}

/* What is left of the last chunk, less than the largest block, stays unused. */
static bool slab_grow(struct extent_slab *slab)
{
	const size_t bytes = CHUNK_ENTRIES * sizeof(struct extent_entry);
	struct extent_chunk *chunk = alloc_lines(bytes);

	if (!chunk)
		return false;
	chunk->next = slab->chunks;
	slab->chunks = chunk;
	slab->bytes += bytes;
	slab->next = (struct extent_entry *)chunk + 1;
	slab->end = (struct extent_entry *)chunk + CHUNK_ENTRIES;
	return true;
}

struct extent_entry *extent_index_slab_take(struct extent_slab *slab, unsigned room)
{
	struct extent_free *block = slab->free[slab_sizes[room]];
	struct extent_entry *taken;

	if (block) {
		slab->free[slab_sizes[room]] = block->next;
		return (struct extent_entry *)block;
	}
	if (slab->end - slab->next < (ptrdiff_t)room && !slab_grow(slab))
		return NULL;
	taken = slab->next;
	slab->next += room;
	return taken;
}

void extent_index_slab_destroy(struct extent_slab *slab)
{
	while (slab->chunks) {
		struct extent_chunk *chunk = slab->chunks;

		slab->chunks = chunk->next;
		alloc_free(chunk);
	}
}
