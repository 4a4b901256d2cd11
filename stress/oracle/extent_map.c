/* SPDX-License-Identifier: MIT */
#include "stress/oracle/extent_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

int extent_list_add(struct extent_list *list, const struct mapped_extent *extent)
{
	struct mapped_extent *extents =
		array_grow(list->extents, list->count, 1, &list->capacity, sizeof(*extents));

	if (!extents)
		return -ENOMEM;
	list->extents = extents;
	list->extents[list->count++] = *extent;
	return 0;
}

static int compare_extents(const void *a, const void *b)
{
	uint64_t left = ((const struct mapped_extent *)a)->bytenr;
	uint64_t right = ((const struct mapped_extent *)b)->bytenr;

	return left < right ? -1 : left > right;
}

int extent_map_build(struct extent_map *map, struct extent_list *lists, unsigned count)
{
	unsigned list;

	*map = (struct extent_map){ 0 };
	for (list = 0; list < count; list++)
		map->count += lists[list].count;
	map->extents = alloc_array(map->count, sizeof(*map->extents));
	if (!map->extents)
		return -ENOMEM;
	map->count = 0;
	for (list = 0; list < count; list++) {
		if (lists[list].count)
			memcpy(map->extents + map->count, lists[list].extents,
			       lists[list].count * sizeof(*map->extents));
		map->count += lists[list].count;
		alloc_free(lists[list].extents);
		lists[list] = (struct extent_list){ 0 };
	}
	qsort(map->extents, map->count, sizeof(*map->extents), compare_extents);
	return 0;
}

void extent_map_destroy(struct extent_map *map)
{
	alloc_free(map->extents);
	*map = (struct extent_map){ 0 };
}

struct mapped_extent *extent_map_find(const struct extent_map *map, uint64_t bytenr)
{
	struct mapped_extent *base = map->extents;
	size_t count = map->count;

	/* The last extent that begins at or before `bytenr`, without branches to mispredict. */
	while (count > 1) {
		size_t half = count / 2;

		base = base[half].bytenr <= bytenr ? base + half : base;
		count -= half;
	}
	return count && base->bytenr == bytenr ? base : NULL;
}
