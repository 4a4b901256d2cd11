/* SPDX-License-Identifier: MIT */
/*
 * Blocks of whole cache lines for the extent index: its entries and their references. A page of 64 KiB
 * has blocks of one size; a page without blocks serves any size again. Pages lie in pieces on huge
 * pages, which are kept until the slab goes. Blocks of more than a quarter of a page are allocations
 * of their own.
 *
 * Callers: as extent_index.h says; nothing is shared.
 */
#ifndef REFSTORM_FOREST_EXTENT_SLAB_H
#define REFSTORM_FOREST_EXTENT_SLAB_H

#include "core/base/arena.h"

#define EXTENT_SLAB_LINE 64U
#define EXTENT_SLAB_SIZES 16U

/* Zeroed: empty. */
struct extent_slab {
	struct arena arena;
	struct extent_slab_page *empty;                      /* pages without blocks */
	struct extent_slab_page *partial[EXTENT_SLAB_SIZES]; /* with free blocks of a size */
	uint64_t large_bytes;                                /* of blocks on their own */
};

/* Lines of the smallest block that has so many; `lines` itself above a quarter of a page. */
size_t extent_slab_room(size_t lines);
/* A block of `room` lines, which is what extent_slab_room returned. NULL: no memory. */
void *extent_slab_take(struct extent_slab *slab, size_t room) __attribute__((warn_unused_result));
void extent_slab_give(struct extent_slab *slab, void *block, size_t room);
/* All blocks go, but for those on their own: they have been given back. */
void extent_slab_destroy(struct extent_slab *slab);
/* Bytes of memory. */
uint64_t extent_slab_memory(const struct extent_slab *slab);

#endif /* REFSTORM_FOREST_EXTENT_SLAB_H */
