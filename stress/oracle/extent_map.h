/* SPDX-License-Identifier: MIT */
/*
 * The oracle's own table of extents: what the extent tree says of each, and the
 * balance between the references that it has there and those that trees imply.
 *
 * A reference adds its number (reference_hash) to the balance where the extent
 * tree has it, and takes it away where a tree implies it. The balance of an
 * extent is zero if both sides agree, and else, but for one chance in 2^63, not.
 * So memory goes with the extents, 48 bytes each, and not with the references.
 *
 * Who may call: one thread fills and sorts; then any number of threads find,
 * and change balances and flags together. Progress: wait-free. Shared lines
 * written: the extent's own, once a reference.
 */
#ifndef REFSTORM_ORACLE_EXTENT_MAP_H
#define REFSTORM_ORACLE_EXTENT_MAP_H

#include <stddef.h>

#include "core/base/order.h"

#define EXTENT_MAP_DATA 1U         /* not a tree block */
#define EXTENT_MAP_FULL_BACKREF 2U /* what the block points to is referenced by its address */
#define EXTENT_MAP_VISITED 4U      /* a tree has led to the block */
#define EXTENT_MAP_REPORTED 8U     /* what is wrong besides references has been said */

struct mapped_extent {
	uint64_t bytenr;
	uint64_t bytes;
	uint64_t refs;     /* as the item counts them */
	order_u64 balance; /* see above */
	order_u64 counted; /* references that the extent tree really has */
	order_u32 flags;
	uint8_t level; /* of a tree block; EXTENT_MAP_NO_LEVEL if the item does not say */
};

#define EXTENT_MAP_NO_LEVEL 255

/* A list that one worker fills. */
struct extent_list {
	struct mapped_extent *extents;
	size_t count;
	size_t capacity;
} __attribute__((aligned(ORDER_LINE)));

struct extent_map {
	struct mapped_extent *extents; /* ascending by bytenr */
	size_t count;
};

/* 0 or -ENOMEM. */
int extent_list_add(struct extent_list *list, const struct mapped_extent *extent)
	__attribute__((warn_unused_result));

/* Takes over what the lists hold, sorted. 0 or -ENOMEM. */
int extent_map_build(struct extent_map *map, struct extent_list *lists, unsigned count)
	__attribute__((warn_unused_result));
void extent_map_destroy(struct extent_map *map);

/* The extent that begins at `bytenr`; NULL if there is none. */
struct mapped_extent *extent_map_find(const struct extent_map *map, uint64_t bytenr);

/* Sets a flag; true if it was not set before. */
static inline bool extent_map_mark(struct mapped_extent *extent, uint32_t flag)
{
	/* Relaxed: each flag stands for itself; who sets it first alone goes on. */
	return !(order_fetch_or_relaxed(&extent->flags, flag) & flag);
}

#endif /* REFSTORM_ORACLE_EXTENT_MAP_H */
