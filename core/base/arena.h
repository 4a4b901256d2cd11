/* SPDX-License-Identifier: MIT */
/*
 * Memory in pieces of 2 MiB, for allocators of blocks of one size: on huge pages where the system
 * has them, so that blocks all over them cost no walks of page tables. The first piece is on small
 * pages: what is small stays so.
 *
 * Callers: as the owner's; nothing is shared.
 */
#ifndef REFSTORM_BASE_ARENA_H
#define REFSTORM_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where each begins: a multiple of this too. */
#define ARENA_PIECE_BYTES ((size_t)2 << 20)

/* At the beginning of each. */
struct arena_piece {
	struct arena_piece *next;
};

/* Zeroed: none. */
struct arena {
	struct arena_piece *first; /* the newest */
	uint64_t bytes;
};

/* A piece that is in no arena, on huge pages or not; all behind its head is undefined. NULL: no memory. */
struct arena_piece *arena_piece_make(bool huge) __attribute__((warn_unused_result));
/* It is the first from now on. */
void arena_add(struct arena *arena, struct arena_piece *piece);
/* Both. */
struct arena_piece *arena_grow(struct arena *arena) __attribute__((warn_unused_result));
void arena_destroy(struct arena *arena);

#endif /* REFSTORM_BASE_ARENA_H */
