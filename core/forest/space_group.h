/* SPDX-License-Identifier: MIT */
/*
 * One block group: what of it is free. Who may call: any thread; each call takes the group's lock.
 */
#ifndef REFSTORM_FOREST_SPACE_GROUP_H
#define REFSTORM_FOREST_SPACE_GROUP_H

#include "core/forest/space.h"

struct space_group {
	uint64_t bytenr;
	uint64_t bytes;
	enum space_kind kind;
	bool mixed;
	struct lock lock; /* LOCK_RANK_SPACE_GROUP: protects what follows */
	order_u64 free;   /* units; read without it for a hint */
	uint64_t hint;    /* the unit to search on from */
	uint64_t longest; /* no run of free units is longer */
	uint64_t *bits;   /* one for each unit in use */
};

/* NULL: no memory. All of it is free. */
struct space_group *space_group_create(uint64_t bytenr, uint64_t bytes, enum space_kind kind,
				       bool mixed);
void space_group_destroy(struct space_group *group);

/* Pieces of whole, aligned multiples of `align` units, up to `units` in all and `pieces` pieces. How many units. */
uint64_t space_group_take_some(struct space_group *group, uint64_t units, unsigned align,
			       struct space_piece *pieces, unsigned piece_count, unsigned *taken);

/* One run of `units`: its address, or 0, and then the longest run there is in `*longest`, if that is more. */
uint64_t space_group_take_run(struct space_group *group, uint64_t units, uint64_t *longest);

/* False: not all of it was free, or (space_group_free) in use; nothing is changed then. */
bool space_group_mark(struct space_group *group, uint64_t bytenr, uint64_t bytes);
bool space_group_free(struct space_group *group, uint64_t bytenr, uint64_t bytes);
bool space_group_is_used(struct space_group *group, uint64_t bytenr, uint64_t bytes);

static inline bool space_group_holds(const struct space_group *group, uint64_t bytenr,
				     uint64_t bytes)
{
	return bytenr >= group->bytenr && bytes <= group->bytes &&
	       bytenr - group->bytenr <= group->bytes - bytes;
}

#endif /* REFSTORM_FOREST_SPACE_GROUP_H */
