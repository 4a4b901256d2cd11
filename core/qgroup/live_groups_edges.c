/* SPDX-License-Identifier: MIT */
/*
 * Bytes move along an edge, between a set without a root and the one with it. Along it change, with m the
 * roots of a group and `small` the set without the root:
 *   groups that have the root: rfer, unless small meets m; excl, if small is empty (else the larger set is
 *     inside m exactly if small is);
 *   groups that have not: excl, the other way, if small is inside m and not empty. One of them is above
 *     each root of small, so that those above one of these are all.
 */
#include <assert.h>

#include "core/qgroup/live_groups_impl.h"

struct edge_bytes {
	int64_t total;
	int64_t data;
};

static void edge_rfer(struct live_groups *groups, struct live_group *group,
		      const struct edge_bytes *bytes)
{
	group->counter.rfer += bytes->total;
	group->counter.data_rfer += bytes->data;
	live_group_touch(groups, group);
}

static void edge_excl(struct live_groups *groups, struct live_group *group,
		      const struct edge_bytes *bytes)
{
	group->counter.excl += bytes->total;
	group->counter.data_excl += bytes->data;
	live_group_touch(groups, group);
}

/* Groups above level 0 that have the root. */
static void edge_above_root(struct live_groups *groups, const struct live_group *root,
			    const struct live_part *small, const struct edge_bytes *bytes)
{
	size_t at;

	for (at = 1; at < root->above_count; at++) {
		struct live_group *group = groups->numbered[root->above[at]];

		if (group->listed[LIVE_LIST_STALE])
			continue;
		if (live_part_empty(small)) {
			edge_rfer(groups, group, bytes);
			edge_excl(groups, group, bytes);
		} else if (!(live_runs_compare(groups->lineage, &group->runs, small) &
			     LIVE_MEETS)) {
			edge_rfer(groups, group, bytes);
		}
	}
}

/* Groups above level 0 that have all of `small`, but not the root. */
static void edge_above_others(struct live_groups *groups, uint32_t element,
			      const struct live_part *small, const struct edge_bytes *bytes)
{
	const struct edge_bytes back = { -bytes->total, -bytes->data };
	const struct live_group *other =
		live_group_rooted(groups, small->boundaries[small->without == 0 ? 2 : 0]);
	size_t at;

	for (at = 1; other && at < other->above_count; at++) {
		struct live_group *group = groups->numbered[other->above[at]];

		if (group->listed[LIVE_LIST_STALE] ||
		    live_runs_has(groups->lineage, &group->runs, element))
			continue;
		if (live_runs_compare(groups->lineage, &group->runs, small) & LIVE_INSIDE)
			edge_excl(groups, group, &back);
	}
}

static void edge_above(struct live_groups *groups, uint32_t element, const struct live_part *small,
		       const struct edge_bytes *bytes)
{
	const struct live_group *root = live_group_rooted(groups, element);

	if (root)
		edge_above_root(groups, root, small, bytes);
	if (!live_part_empty(small))
		edge_above_others(groups, element, small, bytes);
}

/* Groups of level 0. */
static void edge_root(struct live_groups *groups, uint32_t element, const struct live_set *small,
		      const struct edge_bytes *bytes)
{
	const struct edge_bytes back = { -bytes->total, -bytes->data };
	struct live_group *group = live_group_rooted(groups, element);
	struct live_group *only;
	const uint32_t *boundaries;

	if (group)
		edge_rfer(groups, group, bytes);
	if (!small) {
		if (group)
			edge_excl(groups, group, bytes);
		return;
	}
	if (small->count != 2)
		return;
	boundaries = live_set_boundaries(small);
	if (lineage_next(groups->lineage, boundaries[0]) != boundaries[1])
		return;
	only = live_group_rooted(groups, boundaries[0]);
	if (only)
		edge_excl(groups, only, &back);
}

int live_groups_edges(struct live_groups *groups, const struct live_edge *edges, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++) {
		const struct live_edge *edge = &edges[at];
		const struct edge_bytes bytes = { edge->data + edge->metadata, edge->data };
		const struct live_set *small = NULL;
		struct live_part part = { NULL, 0, LIVE_RUN_NONE };

		if (edge->small != LIVE_SET_EMPTY)
			small = live_set_at(groups->sets, edge->small);
		edge_root(groups, edge->element, small, &bytes);
		if (!groups->populated)
			continue;
		if (small) {
			part.boundaries = live_set_boundaries(small);
			part.count = small->count;
		}
		edge_above(groups, edge->element, &part, &bytes);
	}
	return 0;
}

struct drop {
	struct live_groups *groups;
	uint32_t element;
	uint32_t next;
};

/* The only other root of a set that has the dropped one, or LINEAGE_NONE. */
static uint32_t drop_other(const struct drop *drop, const uint32_t *boundaries, uint32_t count)
{
	const struct lineage *lineage = drop->groups->lineage;
	uint32_t second = lineage_next(lineage, boundaries[0]);
	bool first = boundaries[0] == drop->element;

	if (count == 2) {
		if (second == boundaries[1] || lineage_next(lineage, second) != boundaries[1])
			return LINEAGE_NONE;
		return first ? second : boundaries[0];
	}
	if (count != 4 || second != boundaries[1] ||
	    lineage_next(lineage, boundaries[2]) != boundaries[3])
		return LINEAGE_NONE;
	return boundaries[first ? 2 : 0];
}

static void drop_pair(const struct drop *drop, const struct live_set *set)
{
	const struct edge_bytes bytes = { (int64_t)(set->data + set->metadata),
					  (int64_t)set->data };
	uint32_t element = drop_other(drop, live_set_boundaries(set), set->count);
	struct live_group *other = live_group_rooted(drop->groups, element);

	if (element != LINEAGE_NONE && other)
		edge_excl(drop->groups, other, &bytes);
}

/* A set with a boundary at the root that goes. */
static int drop_at_root(void *argument, uint32_t id)
{
	const struct drop *drop = (const struct drop *)argument;
	const struct live_set *set = live_set_at(drop->groups->sets, id);
	const uint32_t *boundaries = live_set_boundaries(set);
	const struct edge_bytes bytes = { -(int64_t)(set->data + set->metadata),
					  -(int64_t)set->data };
	size_t at =
		live_boundary_find(drop->groups->lineage, boundaries, set->count, drop->element);
	struct live_part small = { boundaries, set->count, (uint32_t)at };

	if (at % 2 || !bytes.total)
		return 0; /* a run ends before it */
	drop_pair(drop, set);
	if (drop->groups->populated && boundaries[at + 1] == drop->next)
		edge_above(drop->groups, drop->element, &small, &bytes);
	return 0;
}

/* A set with a boundary right behind it. */
static int drop_at_next(void *argument, uint32_t id)
{
	const struct drop *drop = (const struct drop *)argument;
	const struct live_set *set = live_set_at(drop->groups->sets, id);
	const uint32_t *boundaries = live_set_boundaries(set);
	size_t at = live_boundary_find(drop->groups->lineage, boundaries, set->count, drop->next);

	/* Else the root is not in it, or stands alone in its run: the other boundary has led to it. */
	if (at % 2 && boundaries[at - 1] != drop->element)
		drop_pair(drop, set);
	return 0;
}

/* Whether some set may have this neighbour, and the group takes it otherwise than the root. */
static bool drop_differs(const struct live_groups *groups, const struct live_group *group,
			 uint32_t neighbour, bool member)
{
	return lineage_root(groups->lineage, neighbour) != LINEAGE_END &&
	       live_runs_has(groups->lineage, &group->runs, neighbour) != member;
}

/*
 * Where a group has the root, rfer changes by the sets that meet it in the root alone, and excl by those
 * of the root alone; where it has not, excl by the sets that are inside of it but for the root. In none of
 * these is a neighbour that the group takes as it does the root: the root stands alone in its run.
 * Other groups are stale.
 */
static void drop_stale(const struct drop *drop)
{
	struct live_groups *groups = drop->groups;
	const struct lineage *lineage = groups->lineage;
	const struct live_pointers *list = &groups->lists[LIVE_LIST_UPPER];
	uint32_t previous = lineage->elements[drop->element].previous;
	size_t at;

	for (at = 0; at < list->count; at++) {
		struct live_group *group = list->groups[at];
		bool member = live_runs_has(lineage, &group->runs, drop->element);

		if (drop_differs(groups, group, previous, member) ||
		    drop_differs(groups, group, drop->next, member))
			live_group_stale(groups, group);
	}
}

static void drop_group(struct live_groups *groups, struct live_group *group)
{
	if (!group)
		return; /* it failed to come */
	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	live_group_unlink(groups, group);
	lock_release(&groups->lock);
	live_group_retire(groups, group);
}

int live_groups_drop(struct live_groups *groups, uint64_t root, uint32_t element)
{
	struct live_pointers *upper = &groups->lists[LIVE_LIST_UPPER];
	struct drop drop = { groups, element, lineage_next(groups->lineage, element) };
	struct live_sets *sets = (struct live_sets *)groups->sets;
	struct live_group *group = live_group_rooted(groups, element);
	size_t at;

	assert(!group || group->id == root);
	(void)root;
	if (sets) {
		drop_stale(&drop);
		live_sets_each_at(sets, element, drop_at_root, &drop);
		live_sets_each_at(sets, drop.next, drop_at_next, &drop);
	}
	for (at = 0; at < upper->count; at++)
		live_runs_drop(groups, &upper->groups[at]->runs, element);
	drop_group(groups, group);
	return 0;
}
