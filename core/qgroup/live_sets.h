/* SPDX-License-Identifier: MIT */
/*
 * Root sets of the live ledger, interned: equal sets have one id. A set is a canonical tuple of
 * boundaries, half-open runs of the lineage in its order, no two of which touch; boundaries are
 * numbers of lineage elements. Id 0 is the empty set.
 *
 * Taking a snapshot changes no set. Dropping a root rewrites the sets with a boundary at it; one
 * that becomes equal to another forwards to that from then on, and its bytes are that one's.
 *
 * Who may call: live_sets_toggle, _join, _meet and all that reads from any number of threads
 * together (a phase); the others one thread, and nobody beside it. Progress: an intern that hits is
 * wait-free; one that misses is lock-free, but for the allocator; shared lines written: none by a
 * hit, by a miss the counter of ids and the line of its bucket.
 */
#ifndef REFSTORM_QGROUP_LIVE_SETS_H
#define REFSTORM_QGROUP_LIVE_SETS_H

#include "core/base/order.h"
#include "core/base/segments.h"
#include "core/qgroup/lineage.h"
#include "refstorm/export.h"

#define LIVE_SET_EMPTY 0U
#define LIVE_SET_MAX (1U << 30) /* ids stay below */
#define LIVE_SET_INSIDE 2U      /* boundaries that a set has in itself */

struct live_set {
	order_u32 next; /* in its bucket */
	uint32_t hash;
	uint32_t count;   /* boundaries: twice the runs; 0 of the empty set and of what forwards */
	uint32_t forward; /* LIVE_SET_NONE, or the set that this one is now */
	RS_EXTENSION union {
		uint32_t few[LIVE_SET_INSIDE];
		uint32_t *many; /* of count > LIVE_SET_INSIDE */
	};
	uint64_t held; /* layers of extents that name it, and sets that forward to it and are held */
	uint64_t data; /* bytes of the extents whose first layer it is, or forwards to it */
	uint64_t metadata;
};

#define LIVE_SET_NONE UINT32_MAX

struct live_sets; /* live_sets_impl.h */

/* The lineage outlives it. 0 or -ENOMEM. */
int live_sets_create(const struct lineage *lineage, struct live_sets **out)
	__attribute__((warn_unused_result));
void live_sets_destroy(struct live_sets *sets);

/* Of an id that was handed out and not swept. */
struct live_set *live_set_at(const struct live_sets *sets, uint32_t id);
/* Where the id forwards to, in the end; itself if it does not. */
uint32_t live_sets_find(const struct live_sets *sets, uint32_t id);
/* The same, outside of phases: makes the way shorter for whoever comes later. */
uint32_t live_sets_follow(struct live_sets *sets, uint32_t id);
const uint32_t *live_set_boundaries(const struct live_set *set);
/* Whether the root of the element is in it. `id` does not forward. */
bool live_sets_has(const struct live_sets *sets, uint32_t id, uint32_t element);

/*
 * The set with the element's root in it if it was not, and without if it was. `id` does not
 * forward. 0, -ENOMEM, -E2BIG.
 */
int live_sets_toggle(struct live_sets *sets, uint32_t id, uint32_t element, uint32_t *out)
	__attribute__((warn_unused_result));
/* Where that will be looked for. */
void live_sets_toggle_prefetch(const struct live_sets *sets, uint32_t id, uint32_t element);
/* Union, and intersection. Neither forwards. 0, -ENOMEM, -E2BIG. */
int live_sets_join(struct live_sets *sets, uint32_t a, uint32_t b, uint32_t *out)
	__attribute__((warn_unused_result));
int live_sets_meet(struct live_sets *sets, uint32_t a, uint32_t b, uint32_t *out)
	__attribute__((warn_unused_result));

/*
 * Behind a phase: what it has made is found by its boundaries from now on, and there is room for
 * more. 0 or -ENOMEM.
 */
int live_sets_settle(struct live_sets *sets) __attribute__((warn_unused_result));

/*
 * Outside of phases: so many layers more, or fewer, name the id, which may forward. Of the empty
 * set that is not counted. The sum counts: what is taken may come before what is given, but not a
 * sweep or a drop between the two. Bytes are changed in the set itself, at live_sets_find.
 */
void live_sets_hold(struct live_sets *sets, uint32_t id, int64_t change);

/*
 * Calls `fn` for each set that has the element as a boundary, and does not forward, until it
 * returns something else than 0; returns that.
 */
int live_sets_each_at(struct live_sets *sets, uint32_t element,
		      int (*fn)(void *argument, uint32_t id), void *argument);

/*
 * The root of the element goes from all sets; the element is still in the lineage, and is taken
 * out by the caller next. 0, or -ENOMEM with nothing changed. Settled.
 */
int live_sets_drop(struct live_sets *sets, uint32_t element) __attribute__((warn_unused_result));

/*
 * Ids that no layer names and no bytes stand for are given back, those that forward too: the
 * caller's memos name none of them. Worth it when many are unused (live_sets_figures). Settled.
 * Without memory for the list of what is given back, nothing is.
 */
void live_sets_sweep(struct live_sets *sets);
/* All ids are given back, whatever names them; settled or not. */
void live_sets_clear(struct live_sets *sets);

/* For each set that is not empty and does not forward; by one thread or, by parts, several. */
uint32_t live_sets_limit(const struct live_sets *sets); /* ids are below */
/* NULL: not in use, or it forwards. Not beside what makes sets. */
const struct live_set *live_sets_in_use(const struct live_sets *sets, uint32_t id);

struct live_sets_figures {
	uint64_t sets; /* in use, not empty, not forwarding */
	uint64_t runs; /* of them */
	uint64_t forwarding;
	uint64_t unused;    /* of both, not held: a sweep gives them back */
	uint64_t bytes;     /* of memory, but for what the allocator adds */
	uint64_t rewritten; /* by drops, ever */
};
/* Exact when settled. O(1). */
void live_sets_figures_read(const struct live_sets *sets, struct live_sets_figures *figures);

/*
 * For tests: canonical, equal ones once, all found by their boundaries, nothing forwards in a
 * circle, the figures are right. Settled. 0 or -EUCLEAN.
 */
int live_sets_check(const struct live_sets *sets);

#endif /* REFSTORM_QGROUP_LIVE_SETS_H */
