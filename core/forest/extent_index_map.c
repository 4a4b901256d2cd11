// SPDX-License-Identifier: MIT
#include "core/forest/extent_index_impl.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

static inline uint64_t map_page_number(uint64_t bytenr)
{
	return bytenr / RS_DELTA_UNIT / EXTENT_GROUP_UNITS / EXTENT_PAGE_GROUPS;
}

static inline size_t map_group_number(uint64_t bytenr)
{
	return bytenr / RS_DELTA_UNIT / EXTENT_GROUP_UNITS % EXTENT_PAGE_GROUPS;
}

static inline uint32_t map_bit(uint64_t bytenr)
{
	return UINT32_C(1) << (bytenr / RS_DELTA_UNIT % EXTENT_GROUP_UNITS);
}

/* How many extents of the group are below: portable builds have no instruction for it. */
static inline unsigned map_rank(const struct extent_group *group, uint32_t bit)
{
	uint32_t bits = group->present & (bit - 1);

	bits -= bits >> 1 & 0x55555555;
	bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f;
	return bits * 0x01010101 >> 24;
}

static void map_count_change(struct extent_map *map, int change)
{
	/* Relaxed, both: who changes the map is the only one to write it. */
	order_own_store_relaxed(&map->count,
				order_load_relaxed(&map->count) + (uint64_t)(int64_t)change);
}

/* The first page that is not below the number; `page_count` if there is none. */
static size_t map_page_search(const struct extent_map *map, uint64_t number)
{
	size_t low = 0;
	size_t high = map->page_count;

	if (high && map->pages[high - 1].number < number)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->pages[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The same, looking where the last change was first, and behind that. */
static inline size_t map_page_near(const struct extent_map *map, uint64_t number)
{
	const struct extent_page_at *last = map->pages + map->last;

	if (map->last < map->page_count && last->number == number)
		return map->last;
	if (map->last + 1 < map->page_count && last[1].number == number)
		return map->last + 1;
	return map_page_search(map, number);
}

static inline struct extent_entry *map_entry(const struct extent_map *map, size_t at,
					     uint64_t bytenr)
{
	const struct extent_group *group;
	uint32_t bit = map_bit(bytenr);

	if (at == map->page_count || map->pages[at].number != map_page_number(bytenr))
		return NULL;
	group = &map->pages[at].page->groups[map_group_number(bytenr)];
	return group->present & bit ? group->entries + map_rank(group, bit) : NULL;
}

struct extent_entry *extent_index_map_find(const struct extent_map *map, uint64_t bytenr)
{
	return map_entry(map, map_page_near(map, map_page_number(bytenr)), bytenr);
}

void extent_index_map_prefetch(const struct extent_map *map, uint64_t bytenr)
{
	size_t at = map_page_near(map, map_page_number(bytenr));

	if (at < map->page_count)
		__builtin_prefetch(&map->pages[at].page->groups[map_group_number(bytenr)]);
}

struct extent_entry *extent_index_map_seek(struct extent_map *map, uint64_t bytenr)
{
	map->last = map_page_near(map, map_page_number(bytenr));
	return map_entry(map, map->last, bytenr);
}

/* Puts an empty page there. */
static int map_page_make(struct extent_map *map, size_t at, uint64_t number)
{
	struct extent_page_at *pages = array_grow(map->pages, map->page_count, 1,
						  &map->page_capacity, sizeof(*map->pages));
	struct extent_page *page;

	if (!pages)
		return -ENOMEM;
	map->pages = pages;
	page = alloc_zeroed(1, sizeof(*page));
	if (!page)
		return -ENOMEM;
	memmove(&pages[at + 1], &pages[at], (map->page_count - at) * sizeof(*pages));
	pages[at] = (struct extent_page_at){ .number = number, .page = page };
	map->page_count++;
	return 0;
}

static void map_page_drop(struct extent_map *map, size_t at)
{
	alloc_free(map->pages[at].page);
	map->page_count--;
	memmove(&map->pages[at], &map->pages[at + 1], (map->page_count - at) * sizeof(*map->pages));
}

/* Moves the entries to a block of another size, with a hole for `hole` entries at `at`. */
static int map_group_move(struct extent_slab *slab, struct extent_group *group, unsigned room,
			  unsigned at, unsigned hole)
{
	struct extent_entry *moved = extent_slab_take(slab, room);
	struct extent_entry *old = group->entries;

	if (!moved)
		return -ENOMEM;
	if (old) {
		memcpy(moved, old, at * sizeof(*old));
		memcpy(moved + at + hole, old + at, (group->count - at) * sizeof(*old));
		extent_slab_give(slab, old, group->room);
	}
	group->entries = moved;
	group->room = (uint8_t)room;
	return 0;
}

static int map_group_insert(struct extent_slab *slab, struct extent_group *group,
			    const struct extent_entry *entry)
{
	uint32_t bit = map_bit(entry->bytenr);
	unsigned at = map_rank(group, bit);

	if (group->count == group->room) {
		int ret = map_group_move(slab, group, (unsigned)extent_slab_room(group->count + 1U),
					 at, 1);

		if (ret)
			return ret;
	} else {
		memmove(&group->entries[at + 1], &group->entries[at],
			(group->count - at) * sizeof(*entry));
	}
	group->entries[at] = *entry;
	group->present |= bit;
	group->count++;
	return 0;
}

int extent_index_map_insert(struct extent_map *map, const struct extent_entry *entry)
{
	uint64_t number = map_page_number(entry->bytenr);
	size_t at = map_page_near(map, number);
	struct extent_page *page;
	int ret;

	if (at == map->page_count || map->pages[at].number != number) {
		ret = map_page_make(map, at, number);
		if (ret)
			return ret;
	}
	page = map->pages[at].page;
	ret = map_group_insert(&map->slab, &page->groups[map_group_number(entry->bytenr)], entry);
	if (ret) {
		if (!page->count)
			map_page_drop(map, at);
		return ret;
	}
	map->last = at;
	page->count++;
	map_count_change(map, 1);
	return 0;
}

static void map_group_remove(struct extent_slab *slab, struct extent_group *group, uint32_t bit)
{
	unsigned at = map_rank(group, bit);
	unsigned room;

	group->present &= ~bit;
	group->count--;
	if (!group->count) {
		extent_slab_give(slab, group->entries, group->room);
		*group = (struct extent_group){ 0 };
		return;
	}
	memmove(&group->entries[at], &group->entries[at + 1],
		(group->count - at) * sizeof(*group->entries));
	/* With room for one more, so that a change back and forth does not move it each time. */
	room = (unsigned)extent_slab_room(group->count + 1U);
	/* Without memory it stays where it is, which is as good. */
	if (room < group->room)
		(void)map_group_move(slab, group, room, group->count, 0);
}

void extent_index_map_remove(struct extent_map *map, uint64_t bytenr)
{
	size_t at = map_page_near(map, map_page_number(bytenr));
	struct extent_page *page = map->pages[at].page;

	map_group_remove(&map->slab, &page->groups[map_group_number(bytenr)], map_bit(bytenr));
	map->last = at;
	map_count_change(map, -1);
	if (!--page->count)
		map_page_drop(map, at);
}

static int map_page_each(const struct extent_page *page, size_t group, uint64_t from,
			 int (*fn)(void *argument, struct extent_entry *entry), void *argument)
{
	for (; group < EXTENT_PAGE_GROUPS; group++) {
		struct extent_entry *entry = page->groups[group].entries;
		const struct extent_entry *end = entry + page->groups[group].count;
		int ret = 0;

		for (; entry < end && !ret; entry++)
			if (entry->bytenr >= from)
				ret = fn(argument, entry);
		if (ret)
			return ret;
	}
	return 0;
}

int extent_index_map_each(const struct extent_map *map, uint64_t from,
			  int (*fn)(void *argument, struct extent_entry *entry), void *argument)
{
	uint64_t number = map_page_number(from);
	size_t at;

	for (at = map_page_search(map, number); at < map->page_count; at++) {
		const struct extent_page_at *page = &map->pages[at];
		size_t group = page->number == number ? map_group_number(from) : 0;
		int ret = map_page_each(page->page, group, from, fn, argument);

		if (ret)
			return ret;
	}
	return 0;
}

void extent_index_map_destroy(struct extent_map *map)
{
	size_t at;

	for (at = 0; at < map->page_count; at++)
		alloc_free(map->pages[at].page);
	alloc_free(map->pages);
	extent_slab_destroy(&map->slab);
}

uint64_t extent_index_map_memory(const struct extent_map *map)
{
	return extent_slab_memory(&map->slab) + map->page_capacity * sizeof(*map->pages) +
	       map->page_count * sizeof(struct extent_page);
}
