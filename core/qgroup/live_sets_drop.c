// SPDX-License-Identifier: MIT
/* Sets change and go: a root is dropped, ids are given back. */
#include <errno.h>
#include <string.h>

#include "core/qgroup/live_sets_impl.h"

int live_sets_each_at(struct live_sets *sets, uint32_t element,
		      int (*fn)(void *argument, uint32_t id), void *argument)
{
	const struct live_sets_list *list;
	uint32_t at;

	assert(live_sets_is_settled(sets));
	if (element >= sets->list_count)
		return 0;
	list = &sets->lists[element];
	for (at = 0; at < list->count; at++) {
		int ret = live_sets_lives(sets, list->ids[at]) ? fn(argument, list->ids[at]) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

/* The set has become equal to another: it is that one from now on. */
static void set_forward(struct live_sets *sets, uint32_t id, uint32_t winner)
{
	struct live_set *set = live_sets_slot(sets, id);
	struct live_set *other = live_sets_slot(sets, winner);

	/* Bytes that no root is left to reference are nobody's. */
	if (winner != LIVE_SET_EMPTY) {
		other->data += set->data;
		other->metadata += set->metadata;
	}
	set->data = 0;
	set->metadata = 0;
	if (set->held)
		live_sets_hold(sets, winner, 1);
	sets->figures.bytes -= live_sets_outside(set);
	sets->figures.runs -= set->count / 2;
	sets->figures.sets--;
	sets->figures.forwarding++;
	live_sets_strip(set);
	set->forward = winner;
}

/* Takes two boundaries out. */
static void set_shorten(struct live_set *set, uint32_t at)
{
	uint32_t *old = set->count > LIVE_SET_INSIDE ? set->many : set->few;
	uint32_t few[LIVE_SET_INSIDE];

	memmove(old + at, old + at + 2, (set->count - at - 2) * sizeof(*old));
	if (set->count - 2 > LIVE_SET_INSIDE || set->count == 2) {
		set->count -= 2;
		return;
	}
	memcpy(few, old, sizeof(few));
	live_sets_strip(set);
	memcpy(set->few, few, sizeof(few));
	set->count = LIVE_SET_INSIDE;
}

/* The set without the element, which stands right before `next`. */
static void set_rewrite(struct live_sets *sets, uint32_t id, uint32_t element, uint32_t next)
{
	struct live_set *set = live_sets_slot(sets, id);
	uint32_t at = live_sets_lower(sets, live_sets_tuple(set), set->count, element);
	struct live_sets_key key;
	uint32_t winner;

	live_sets_unlink(sets, id);
	sets->figures.bytes -= live_sets_outside(set);
	if (at + 1 < set->count && live_sets_tuple(set)[at + 1] == next) {
		set_shorten(set, at);
		sets->figures.runs--;
	} else {
		(set->count > LIVE_SET_INSIDE ? set->many : set->few)[at] = next;
	}
	sets->figures.bytes += live_sets_outside(set);
	sets->figures.rewritten++;
	set->hash ^= live_sets_hash(element) ^ live_sets_hash(next);
	key = (struct live_sets_key){ live_sets_tuple(set), set->count, set->hash };
	winner = live_sets_lookup(sets, &key);
	if (winner != LIVE_SET_EMPTY || !set->count)
		set_forward(sets, id, winner);
	else
		live_sets_link(sets, id);
}

/* Leaves in the list the sets that still have the element as a boundary. */
static void list_purge(struct live_sets *sets, uint32_t element)
{
	struct live_sets_list *list = &sets->lists[element];
	uint32_t count = 0;
	uint32_t at;

	for (at = 0; at < list->count; at++) {
		if (live_sets_bounds(sets, live_sets_slot(sets, list->ids[at]), element))
			list->ids[count++] = list->ids[at];
	}
	list->count = count;
}

/*
 * A set that has the element as a boundary gets the next one instead; with both, a run or a gap
 * vanishes. No rewritten set can equal one that is still to be rewritten, so they go one by one.
 */
int live_sets_drop(struct live_sets *sets, uint32_t element)
{
	uint32_t next = lineage_next(sets->lineage, element);
	struct live_sets_list *list;
	struct live_sets_list *gains;
	uint32_t known;
	uint32_t at;
	int ret;

	assert(live_sets_is_settled(sets));
	if (element >= sets->list_count || !sets->lists[element].count)
		return 0;
	assert(next != LINEAGE_NONE);
	ret = live_sets_lists_room(sets);
	if (!ret)
		ret = live_sets_list_room(sets, &sets->lists[next], sets->lists[element].count);
	if (ret)
		return ret;
	list = &sets->lists[element];
	gains = &sets->lists[next];
	known = 0;
	for (at = 0; at < list->count; at++) {
		uint32_t id = list->ids[at];

		if (!live_sets_lives(sets, id))
			continue;
		if (live_sets_bounds(sets, live_sets_slot(sets, id), next))
			known++;
		else
			gains->ids[gains->count++] = id;
		set_rewrite(sets, id, element, next);
	}
	if (known)
		list_purge(sets, next);
	list->count = 0;
	live_sets_list_trim(sets, list);
	live_sets_list_trim(sets, gains);
	return 0;
}

static bool set_is_wanted(const struct live_set *set)
{
	return set->held || set->data || set->metadata;
}

static void sets_give_back(struct live_sets *sets)
{
	uint32_t left = order_load_relaxed(&sets->free_left); /* relaxed, both: no phase */
	uint32_t id;

	/* The lowest is taken first. */
	for (id = live_sets_limit(sets) - 1; id; id--) {
		struct live_set *set = live_sets_slot(sets, id);
		bool forwards = set->forward != LIVE_SET_NONE;

		assert((int64_t)set->held >= 0);
		if ((!set->count && !forwards) || set_is_wanted(set))
			continue;
		sets->figures.bytes -= live_sets_outside(set);
		sets->figures.runs -= set->count / 2;
		sets->figures.sets -= !forwards;
		sets->figures.forwarding -= forwards;
		sets->figures.unused--;
		live_sets_strip(set);
		set->forward = LIVE_SET_NONE;
		sets->free_ids[left++] = id;
	}
	order_store_relaxed(&sets->free_left, left);
	sets->free_settled = left;
}

void live_sets_sweep(struct live_sets *sets)
{
	uint32_t id;
	uint32_t at;

	assert(live_sets_is_settled(sets));
	for (id = 1; id < live_sets_limit(sets); id++)
		live_sets_follow(sets, id);
	if (!sets->figures.unused ||
	    live_sets_free_room(sets, sets->free_settled + (uint32_t)sets->figures.unused))
		return;
	sets_give_back(sets);
	live_sets_relink(sets);
	for (at = 0; at < sets->list_count; at++) {
		struct live_sets_list *list = &sets->lists[at];
		uint32_t count = 0;
		uint32_t entry;

		for (entry = 0; entry < list->count; entry++) {
			if (live_sets_lives(sets, list->ids[entry]))
				list->ids[count++] = list->ids[entry];
		}
		list->count = count;
		live_sets_list_trim(sets, list);
	}
}
