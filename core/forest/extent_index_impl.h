/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the extent index share.
 *
 * The address space is cut into groups of 32 units. A group has its extents side by side, in the
 * order of their addresses, in one block, and a bit for each unit at which one begins: the number of
 * bits below says where. So finding an extent costs two cache misses, one for the group and one for
 * the extent, and what is changed in the order of addresses lies in the order of addresses. Groups
 * stand in pages, and the pages in use in an array that is sorted by address.
 *
 * Callers: as extent_index.h says; nothing here is shared but the number of extents.
 */
#ifndef REFSTORM_FOREST_EXTENT_INDEX_IMPL_H
#define REFSTORM_FOREST_EXTENT_INDEX_IMPL_H

#include <assert.h>
#include <stddef.h>

#include "core/base/order.h"
#include "core/forest/extent_index.h"
#include "core/forest/extent_slab.h"

#define EXTENT_GROUP_UNITS 32U
#define EXTENT_PAGE_GROUPS 512U
/* Words of an extent's references that it has in itself. */
#define EXTENT_WORDS_INSIDE 4U
#define EXTENT_KEYED_WORDS (sizeof(struct extent_ref) / sizeof(uint64_t))
/* In a full back reference: the bits of the count. */
#define EXTENT_FULL_COUNT UINT64_C(4095)

/*
 * An extent. Its references are words: four for each keyed one, and behind those one for each full one,
 * which are most where there are many. They are here if they fit, and in a block if not.
 */
struct extent_entry {
	RS_EXTENSION union {
		struct extent_ref one;
		uint64_t few[EXTENT_WORDS_INSIDE];
		RS_EXTENSION struct {
			void *block;
			uint32_t capacity; /* words */
		};
	};
	uint64_t bytenr;
	uint32_t length_4k; /* in units of RS_DELTA_UNIT */
	uint32_t account;
	uint64_t refs;
	/* Both 0 only of one that is not in the index. */
	uint32_t keyed_count : 31;
	uint32_t metadata : 1;
	uint32_t full_count;
};

static_assert(sizeof(struct extent_entry) == 64, "an extent is one cache line");

struct extent_group {
	uint32_t present; /* a bit for each unit */
	uint8_t count;    /* of bits */
	uint8_t room;     /* entries that fit in the block */
	struct extent_entry *entries;
};

struct extent_page {
	uint32_t count; /* extents in it; a page without goes */
	struct extent_group groups[EXTENT_PAGE_GROUPS];
};

struct extent_page_at {
	uint64_t number; /* the page's address in pages */
	struct extent_page *page;
};

struct extent_map {
	struct extent_page_at *pages; /* ascending */
	size_t page_count;
	size_t page_capacity;
	size_t last;     /* the page that the last change was in: the next is in it or behind it */
	order_u64 count; /* of extents; relaxed: written by who changes the map, read by anybody */
	struct extent_slab slab;
};

/* What extent_index_refs_merge makes. */
struct extent_merged {
	struct extent_ref *keyed;
	size_t keyed_capacity;
	uint64_t *full;
	size_t full_capacity;
};

struct extent_index {
	struct extent_map map;
	struct extent_merged merged;
};

/* Elements that a head touches, and how many take their place. */
struct extent_splice {
	size_t low; /* from here */
	size_t high;
	size_t count; /* of what takes its place, in index->merged */
};

struct extent_merge {
	struct extent_splice keyed;
	struct extent_splice full;
	int64_t change; /* of the sum of all counts */
};

static inline size_t extent_entry_words(const struct extent_entry *entry)
{
	return entry->keyed_count * EXTENT_KEYED_WORDS + entry->full_count;
}

static inline bool extent_entry_is_inside(const struct extent_entry *entry)
{
	return extent_entry_words(entry) <= EXTENT_WORDS_INSIDE;
}

static inline const struct extent_ref *extent_entry_keyed(const struct extent_entry *entry)
{
	return extent_entry_is_inside(entry) ? &entry->one :
					       (const struct extent_ref *)entry->block;
}

static inline const uint64_t *extent_entry_full(const struct extent_entry *entry)
{
	const uint64_t *words = extent_entry_is_inside(entry) ? entry->few :
								(const uint64_t *)entry->block;

	return words + entry->keyed_count * EXTENT_KEYED_WORDS;
}

static inline bool extent_type_is_known(unsigned type)
{
	return type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_EXTENT_DATA_REF ||
	       type == RS_DELTA_SHARED_BLOCK_REF || type == RS_DELTA_SHARED_DATA_REF;
}

static inline bool extent_type_is_keyed(unsigned type)
{
	return type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_EXTENT_DATA_REF;
}

static inline bool extent_type_is_metadata(unsigned type)
{
	return type == RS_DELTA_TREE_BLOCK_REF || type == RS_DELTA_SHARED_BLOCK_REF;
}

/* NULL if there is none. Valid until the next insertion or removal. */
struct extent_entry *extent_index_map_find(const struct extent_map *map, uint64_t bytenr);
/* The same for whoever is about to change it. */
struct extent_entry *extent_index_map_seek(struct extent_map *map, uint64_t bytenr);
/* Fetches what the next of these will have to look at. */
void extent_index_map_prefetch(const struct extent_map *map, uint64_t bytenr);
/* A copy of it, where there is none. 0 or -ENOMEM. */
int extent_index_map_insert(struct extent_map *map, const struct extent_entry *entry)
	__attribute__((warn_unused_result));
/* One that is there. */
void extent_index_map_remove(struct extent_map *map, uint64_t bytenr);
/* Ascending from an address on until `fn` returns something else than 0; returns that. */
int extent_index_map_each(const struct extent_map *map, uint64_t from,
			  int (*fn)(void *argument, struct extent_entry *entry), void *argument);
void extent_index_map_destroy(struct extent_map *map);
uint64_t extent_index_map_memory(const struct extent_map *map);

/*
 * Works out what the references of the head, which has some, make of the entry's. Changes neither. 0,
 * -ENOMEM, -EUCLEAN.
 */
int extent_index_refs_merge(struct extent_index *index, const struct extent_entry *entry,
			    const struct rs_head *head, struct extent_merge *merge,
			    struct rs_error *error) __attribute__((warn_unused_result));
/* Puts it in place; something is left. 0 or -ENOMEM. */
int extent_index_refs_replace(struct extent_index *index, struct extent_entry *entry,
			      const struct extent_merge *merge) __attribute__((warn_unused_result));
/* Frees what the entry has outside of itself. */
void extent_index_refs_release(struct extent_index *index, const struct extent_entry *entry);

#endif /* REFSTORM_FOREST_EXTENT_INDEX_IMPL_H */
