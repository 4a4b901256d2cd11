// SPDX-License-Identifier: MIT
#include "core/forest/extent_slab.h"

#include <assert.h>
#include <stdbool.h>

#include "core/base/alloc.h"

#define SLAB_PAGE_BYTES ((size_t)64 << 10)
#define SLAB_PAGES (ARENA_PIECE_BYTES / SLAB_PAGE_BYTES)
#define SLAB_LINES_MAX (SLAB_PAGE_BYTES / EXTENT_SLAB_LINE / 4)

struct slab_free {
	struct slab_free *next;
};

/* What is known of a page. */
struct extent_slab_page {
	struct slab_free *free; /* given back */
	struct extent_slab_page
		*next; /* in the list of empty ones, or of those with free blocks of its size */
	struct extent_slab_page *prev;
	uint16_t fresh; /* blocks from here on were never used */
	uint16_t count; /* of blocks that fit */
	uint16_t used;
	uint16_t size; /* in slab_rooms */
};

/* In the place of a piece's first page. */
struct slab_piece {
	struct arena_piece piece;
	struct extent_slab_page pages[SLAB_PAGES]; /* the first is not used */
};

static_assert(sizeof(struct slab_piece) <= SLAB_PAGE_BYTES, "the first page has all of it");

/* Lines. */
static const uint16_t slab_rooms[EXTENT_SLAB_SIZES] = { 1,  2,  3,  4,  6,  8,   12,  16,
							24, 32, 48, 64, 96, 128, 192, 256 };

/* Sizes are 2^k and 1.5 times that. */
static unsigned slab_size(size_t lines)
{
	unsigned power;

	if (lines <= 2)
		return lines == 2;
	power = 63U - (unsigned)__builtin_clzll(lines - 1);
	return 2 * power + (lines > (size_t)3 << (power - 1));
}

size_t extent_slab_room(size_t lines)
{
	return lines > SLAB_LINES_MAX ? lines : slab_rooms[slab_size(lines)];
}

static struct slab_piece *slab_piece_of(const void *inside)
{
	return (struct slab_piece *)((uintptr_t)inside & ~(uintptr_t)(ARENA_PIECE_BYTES - 1));
}

static struct extent_slab_page *slab_page_of(const void *block)
{
	return &slab_piece_of(block)->pages[(uintptr_t)block % ARENA_PIECE_BYTES / SLAB_PAGE_BYTES];
}

static uint8_t *slab_page_begin(const struct extent_slab_page *page)
{
	struct slab_piece *piece = slab_piece_of(page);

	return (uint8_t *)piece + (size_t)(page - piece->pages) * SLAB_PAGE_BYTES;
}

static void slab_link(struct extent_slab_page **list, struct extent_slab_page *page)
{
	page->prev = NULL;
	page->next = *list;
	if (page->next)
		page->next->prev = page;
	*list = page;
}

static void slab_unlink(struct extent_slab_page **list, struct extent_slab_page *page)
{
	if (page->prev)
		page->prev->next = page->next;
	else
		*list = page->next;
	if (page->next)
		page->next->prev = page->prev;
}

static bool slab_grow(struct extent_slab *slab)
{
	struct slab_piece *piece = (struct slab_piece *)arena_grow(&slab->arena);
	size_t at;

	if (!piece)
		return false;
	/* The lowest is taken first. */
	for (at = SLAB_PAGES - 1; at; at--)
		slab_link(&slab->empty, &piece->pages[at]);
	return true;
}

/* A page for blocks of the size, the first in their list. */
static struct extent_slab_page *slab_page_begin_size(struct extent_slab *slab, unsigned size)
{
	struct extent_slab_page *page;

	if (!slab->empty && !slab_grow(slab))
		return NULL;
	page = slab->empty;
	slab_unlink(&slab->empty, page);
	page->free = NULL;
	page->fresh = 0;
	page->count = (uint16_t)(SLAB_PAGE_BYTES / EXTENT_SLAB_LINE / slab_rooms[size]);
	page->used = 0;
	page->size = (uint16_t)size;
	slab_link(&slab->partial[size], page);
	return page;
}

void *extent_slab_take(struct extent_slab *slab, size_t room)
{
	struct extent_slab_page *page;
	void *block;
	unsigned size;

	if (room > SLAB_LINES_MAX) {
		block = alloc_undefined(EXTENT_SLAB_LINE, room * EXTENT_SLAB_LINE);
		slab->large_bytes += block ? room * EXTENT_SLAB_LINE : 0;
		return block;
	}
	size = slab_size(room);
	assert(slab_rooms[size] == room);
	page = slab->partial[size];
	if (!page)
		page = slab_page_begin_size(slab, size);
	if (!page)
		return NULL;
	block = page->free;
	if (block)
		page->free = page->free->next;
	else
		block = slab_page_begin(page) + page->fresh++ * room * EXTENT_SLAB_LINE;
	if (++page->used == page->count)
		slab_unlink(&slab->partial[size], page);
	return block;
}

void extent_slab_give(struct extent_slab *slab, void *block, size_t room)
{
	struct extent_slab_page *page;
	struct slab_free *given = block;

	if (room > SLAB_LINES_MAX) {
		slab->large_bytes -= room * EXTENT_SLAB_LINE;
		alloc_free(block);
		return;
	}
	page = slab_page_of(block);
	assert(slab_rooms[page->size] == room && page->used);
	if (page->used == page->count)
		slab_link(&slab->partial[page->size], page);
	given->next = page->free;
	page->free = given;
	if (--page->used)
		return;
	slab_unlink(&slab->partial[page->size], page);
	slab_link(&slab->empty, page);
}

void extent_slab_destroy(struct extent_slab *slab)
{
	arena_destroy(&slab->arena);
}

uint64_t extent_slab_memory(const struct extent_slab *slab)
{
	return slab->arena.bytes + slab->large_bytes;
}
