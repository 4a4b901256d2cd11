/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the live sets share.
 *
 * Sets lie in pieces of 2 MiB by their ids, chained in a hash table whose buckets are only ever
 * pushed to in a phase. For each element of the lineage there is a list of the sets with a boundary
 * at it. It has each set in use exactly once, and beside them only sets that forward by now, until
 * the next sweep.
 *
 * Ids made in a phase are known without a list of their own: the fresh ones above `settled`, and
 * those between `free_left` and `free_settled` of the array of free ids, which in a phase only gets
 * shorter. One of them that has no boundaries lost the race for its set, and is given back by
 * live_sets_settle.
 */
#ifndef REFSTORM_QGROUP_LIVE_SETS_IMPL_H
#define REFSTORM_QGROUP_LIVE_SETS_IMPL_H

#include <assert.h>

#include "core/base/arena.h"
#include "core/qgroup/live_sets.h"

/* A piece has a line for its head, then sets. */
#define LIVE_SETS_PIECE_HEAD 64U
#define LIVE_SETS_PIECE                                                                            \
	((uint32_t)((ARENA_PIECE_BYTES - LIVE_SETS_PIECE_HEAD) / sizeof(struct live_set)))
#define LIVE_SETS_PIECES (LIVE_SET_MAX / LIVE_SETS_PIECE + 1)
#define LIVE_SETS_FIRST_BUCKETS 4096U

static_assert(sizeof(struct live_set) == 48, "three quarters of a cache line");
static_assert(sizeof(struct arena_piece) <= LIVE_SETS_PIECE_HEAD, "the head fits in its line");

/* The sets with a boundary at an element. */
struct live_sets_list {
	uint32_t *ids;
	uint32_t count;
	uint32_t capacity;
	uint32_t more; /* that a settle is about to add; else 0 */
};

struct live_sets {
	const struct lineage *lineage;
	order_u32 *buckets;
	uint32_t mask; /* their number less one */
	uint32_t list_count;
	order_ptr *pieces;
	struct live_sets_list *lists; /* by element */
	uint32_t *free_ids;
	uint32_t free_capacity;
	uint32_t free_settled;            /* what free_left was when last settled */
	uint32_t settled;                 /* ids below were made before that */
	struct live_sets_figures figures; /* `bytes` without pieces, buckets and the arrays here */
	/* Written by every miss, and by no hit. */
	order_u32 next_id __attribute__((aligned(ORDER_LINE)));
	order_u32 free_left; /* of free_ids; taken from the end */
};

/* A tuple of boundaries. */
struct live_sets_key {
	const uint32_t *boundaries;
	uint32_t count;
	uint32_t hash;
};

static inline struct live_set *live_sets_slot(const struct live_sets *sets, uint32_t id)
{
	/* Relaxed: the id came by a release and an acquire, later than the piece. */
	char *piece = (char *)order_load_relaxed(&sets->pieces[id / LIVE_SETS_PIECE]);

	return (struct live_set *)(void *)(piece + LIVE_SETS_PIECE_HEAD) + id % LIVE_SETS_PIECE;
}

static inline const uint32_t *live_sets_tuple(const struct live_set *set)
{
	return set->count > LIVE_SET_INSIDE ? set->many : set->few;
}

/* The hash of a tuple is the exclusive or of these: a toggle changes it by two. */
static inline uint32_t live_sets_hash(uint32_t element)
{
	uint64_t key = element * UINT64_C(0x9e3779b97f4a7c15);

	key = (key ^ key >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(key >> 32);
}

/* Bytes outside of the set itself. */
static inline uint64_t live_sets_outside(const struct live_set *set)
{
	return set->count > LIVE_SET_INSIDE ? set->count * sizeof(uint32_t) : 0;
}

/* How many of the boundaries stand before the element. */
static inline uint32_t live_sets_lower(const struct live_sets *sets, const uint32_t *boundaries,
				       uint32_t count, uint32_t element)
{
	uint32_t low = 0;

	while (low < count) {
		uint32_t middle = low + (count - low) / 2;

		if (lineage_before(sets->lineage, boundaries[middle], element))
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

/* Whether the element is a boundary of the set. */
static inline bool live_sets_bounds(const struct live_sets *sets, const struct live_set *set,
				    uint32_t element)
{
	const uint32_t *boundaries = live_sets_tuple(set);
	uint32_t at = live_sets_lower(sets, boundaries, set->count, element);

	return at < set->count && boundaries[at] == element;
}

/* Nothing was made since the last settle. Relaxed: outside of phases. */
static inline bool live_sets_is_settled(const struct live_sets *sets)
{
	return order_load_relaxed(&sets->next_id) == sets->settled &&
	       order_load_relaxed(&sets->free_left) == sets->free_settled;
}

/* Whether the id is a set that is not empty and does not forward. */
static inline bool live_sets_lives(const struct live_sets *sets, uint32_t id)
{
	return live_sets_slot(sets, id)->count;
}

/*
 * live_sets.c. The id of the tuple in `*out`, made if there is none. 0, -ENOMEM, -E2BIG. Any
 * thread.
 */
int live_sets_intern(struct live_sets *sets, const struct live_sets_key *key, uint32_t *out)
	__attribute__((warn_unused_result));
/* LIVE_SET_EMPTY: there is none. */
uint32_t live_sets_lookup(const struct live_sets *sets, const struct live_sets_key *key);
/* Frees what the set has outside of itself; it has no boundaries then. */
void live_sets_strip(struct live_set *set);

/* live_sets_settle.c; one thread. Into the table, and out of it. */
void live_sets_link(struct live_sets *sets, uint32_t id);
void live_sets_unlink(struct live_sets *sets, uint32_t id);
/* The table anew, of all sets in use. */
void live_sets_relink(struct live_sets *sets);
/* Room for so many free ids. 0 or -ENOMEM. */
int live_sets_free_room(struct live_sets *sets, uint32_t count) __attribute__((warn_unused_result));
/* Lists for all elements of the lineage; room in one of them for more. 0 or -ENOMEM. */
int live_sets_lists_room(struct live_sets *sets) __attribute__((warn_unused_result));
int live_sets_list_room(struct live_sets *sets, struct live_sets_list *list, uint32_t more)
	__attribute__((warn_unused_result));
/* Gives up room that is not needed by far; the list itself goes when it is empty. */
void live_sets_list_trim(struct live_sets *sets, struct live_sets_list *list);

#endif /* REFSTORM_QGROUP_LIVE_SETS_IMPL_H */
