/* SPDX-License-Identifier: MIT */
/* What the parts of the engine `extent` share. */
#ifndef REFSTORM_QGROUP_LIVE_EXTENT_IMPL_H
#define REFSTORM_QGROUP_LIVE_EXTENT_IMPL_H

#include "core/forest/forest_impl.h"
#include "core/qgroup/live_extent.h"
#include "core/qgroup/live_walk.h"

/* A set of roots: ascending. */
struct live_extent_roots {
	const uint64_t *roots;
	size_t count;
};

/* An extent that a transaction changed. */
struct live_extent_record {
	uint64_t bytenr;
	uint64_t bytes; /* of the extent that had the old roots */
	bool metadata;
	uint64_t *old; /* roots, as of the last commit; or NULL */
	size_t old_count;
	uint64_t *now; /* of a commit that makes a snapshot: with it */
	size_t now_count;
	uint64_t dropped;                 /* the root whose drop has passed it; or 0 */
	struct live_extent_record *chain; /* in its bucket */
	struct live_extent_record *next;  /* in the list of all */
};

/* Walks that nobody uses. */
struct live_extent_walk {
	struct live_walk *walk;
	struct live_extent_walk *next;
};

/* How many members of a group have the extent in hand. */
struct live_extent_refs {
	uint64_t turn; /* of another extent: both are 0 */
	size_t old;
	size_t now;
};

struct live_extent {
	struct rs_forest *forest;
	struct live_groups *groups;
	struct lock lock; /* LOCK_RANK_QGROUP_DIRTY: protects what follows, but in a commit */
	struct live_extent_record **buckets;
	size_t mask;
	size_t record_count;
	struct live_extent_record *records;
	struct live_extent_walk *walks;
	int lost; /* a negative errno: something could not be noted */
	struct rs_error lost_error;

	/* Of who commits. */
	uint64_t known; /* extents that begin below are counted */
	struct live_walk *walk;
	struct live_extent_refs *refs; /* by number of group */
	uint32_t *touched;             /* numbers of this turn's */
	uint32_t touched_count;
	uint32_t limit;
	uint64_t turn;
	uint64_t *gone; /* roots that were dropped in this commit */
	size_t gone_count;
	size_t gone_capacity;
	uint64_t *some[2]; /* sets made of others */
	size_t some_capacity[2];
};

/*
 * The extent's record, made if there is none (`*fresh`); of several threads that make one, one does. NULL: no
 * memory.
 */
struct live_extent_record *live_extent_record_add(struct live_extent *engine, uint64_t bytenr,
						  uint64_t bytes, bool metadata, bool *fresh);

/* live_extent_update.c. Groups are as many as now, until the next time: 0 or -ENOMEM. */
int live_extent_groups_fit(struct live_extent *engine) __attribute__((warn_unused_result));
/* The extent had these roots, and has those. */
void live_extent_update(struct live_extent *engine, const struct live_extent_roots *old,
			const struct live_extent_roots *now, uint64_t bytes, bool metadata);

/*
 * A copy without these, or with one that it does not have. The copy is engine->some[which], which `from` is not. 0
 * or -ENOMEM.
 */
int live_extent_roots_without(struct live_extent *engine, unsigned which,
			      const struct live_extent_roots *from,
			      const struct live_extent_roots *these, struct live_extent_roots *out)
	__attribute__((warn_unused_result));
int live_extent_roots_with(struct live_extent *engine, unsigned which,
			   const struct live_extent_roots *from, uint64_t root,
			   struct live_extent_roots *out) __attribute__((warn_unused_result));
bool live_extent_roots_have(const struct live_extent_roots *roots, uint64_t root);

#endif /* REFSTORM_QGROUP_LIVE_EXTENT_IMPL_H */
