/* SPDX-License-Identifier: MIT */
/*
 * Views: cuts that somebody holds. Each holder publishes its own in a slot of its own.
 *
 * Who may call: any thread. Progress: acquire, release and the lowest are lock-free (a slot is
 * claimed by one compare-exchange; when all are taken, another chunk of them is added).
 * Guarantee: a view that was acquired before a cut was taken is seen by whoever looks for the
 * lowest after the cut.
 */
#ifndef REFSTORM_TREEMOD_VIEW_H
#define REFSTORM_TREEMOD_VIEW_H

#include "core/base/order.h"

#define VIEW_NONE UINT64_MAX

/* One holder's, on a line of its own. */
struct view_slot {
	order_u64 cut;   /* the cut held, perhaps with a flag; VIEW_NONE: free */
	order_u64 since; /* clock_now_ns() when it was acquired */
} __attribute__((aligned(ORDER_LINE)));

#define VIEW_ENDED (UINT64_C(1) << 63) /* for its age; holds nothing any more */
#define VIEW_CLAIMING                                                                              \
	(UINT64_C(1) << 62) /* its cut is being taken, and will not be below the number */
#define VIEW_CHUNK 64U

struct view_chunk;

struct views {
	order_ptr chunks; /* push only */
};

void views_init(struct views *views);
void views_destroy(struct views *views);

/*
 * Claims a slot and holds everything past `floor`, which is at most the cut to come. NULL: no
 * memory. Then the cut is taken, and view_hold narrows it to that.
 */
struct view_slot *view_claim(struct views *views, uint64_t floor);
void view_hold(struct view_slot *slot, uint64_t cut);

static inline uint64_t view_cut(const struct view_slot *slot)
{
	/* Relaxed: its holder asks, who knows it by having taken it. */
	return order_load_relaxed(&slot->cut) & ~(VIEW_ENDED | VIEW_CLAIMING);
}

/* False if it had been ended. */
bool view_release(struct view_slot *slot);
bool view_is_ended(const struct view_slot *slot);

/*
 * The lowest cut held; VIEW_NONE if there is none. What views being acquired hold counts too if
 * `claimed` is NULL; else the lowest of those goes there.
 */
uint64_t view_lowest(const struct views *views, uint64_t *claimed);

/*
 * Puts the cuts held into `cuts`, in no order, and into `floor` the lowest number that a view being
 * acquired holds (VIEW_NONE: none is). Returns how many cuts there are, more than `capacity` if
 * need be.
 */
unsigned view_list(const struct views *views, uint64_t *cuts, unsigned capacity, uint64_t *floor);

/* Ends the views acquired before `before`; returns how many. */
unsigned view_end_older(struct views *views, uint64_t before);

#endif /* REFSTORM_TREEMOD_VIEW_H */
