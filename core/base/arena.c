/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/arena.h"

#include <sys/mman.h>

#include "core/base/alloc.h"

struct arena_piece *arena_piece_make(bool huge)
{
	struct arena_piece *piece = alloc_undefined(ARENA_PIECE_BYTES, ARENA_PIECE_BYTES);

	if (!piece)
		return NULL;
	/* Where there are no huge pages, it is slower and as good. */
	if (huge)
		(void)madvise(piece, ARENA_PIECE_BYTES, MADV_HUGEPAGE);
	piece->next = NULL;
	return piece;
}

void arena_add(struct arena *arena, struct arena_piece *piece)
{
	piece->next = arena->first;
	arena->first = piece;
	arena->bytes += ARENA_PIECE_BYTES;
}

struct arena_piece *arena_grow(struct arena *arena)
{
	struct arena_piece *piece = arena_piece_make(arena->first);

	if (piece)
		arena_add(arena, piece);
	return piece;
}

void arena_destroy(struct arena *arena)
{
	while (arena->first) {
		struct arena_piece *piece = arena->first;

		arena->first = piece->next;
		alloc_free(piece);
	}
	arena->bytes = 0;
}
