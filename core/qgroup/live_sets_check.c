// SPDX-License-Identifier: MIT
#include <errno.h>

#include "core/qgroup/live_sets_impl.h"

/* How often the list of the element has the set. */
static uint32_t list_has(const struct live_sets *sets, uint32_t element, uint32_t id)
{
	const struct live_sets_list *list;
	uint32_t count = 0;
	uint32_t at;

	if (element >= sets->list_count)
		return 0;
	list = &sets->lists[element];
	for (at = 0; at < list->count; at++)
		count += list->ids[at] == id;
	return count;
}

static bool set_is_right(const struct live_sets *sets, uint32_t id)
{
	const struct live_set *set = live_sets_slot(sets, id);
	struct live_sets_key key = { live_sets_tuple(set), set->count, 0 };
	uint32_t at;

	for (at = 0; at < set->count; at++) {
		uint32_t boundary = key.boundaries[at];

		key.hash ^= live_sets_hash(boundary);
		if (at && !lineage_before(sets->lineage, key.boundaries[at - 1], boundary))
			return false;
		if (list_has(sets, boundary, id) != 1)
			return false;
	}
	return set->count % 2 == 0 && set->forward == LIVE_SET_NONE && set->hash == key.hash &&
	       live_sets_lookup(sets, &key) == id;
}

/* To a set in use, in fewer steps than there are sets. */
static bool forward_is_right(const struct live_sets *sets, uint32_t id)
{
	const struct live_set *set = live_sets_slot(sets, id);
	uint32_t limit = live_sets_limit(sets);
	uint32_t steps;

	if (set->data || set->metadata)
		return false;
	for (steps = 0; steps < limit && set->forward != LIVE_SET_NONE; steps++) {
		const struct live_set *next = live_sets_slot(sets, set->forward);

		if (set->forward != LIVE_SET_EMPTY && set->held && !next->held)
			return false;
		if (set->forward != LIVE_SET_EMPTY && !next->count &&
		    next->forward == LIVE_SET_NONE)
			return false;
		set = next;
	}
	return steps < limit;
}

/* Only sets in use that have the element as a boundary, and what forwards. */
static bool lists_are_right(const struct live_sets *sets)
{
	uint32_t element;
	uint32_t at;

	for (element = 0; element < sets->list_count; element++) {
		const struct live_sets_list *list = &sets->lists[element];

		if (list->more || list->count > list->capacity)
			return false;
		for (at = 0; at < list->count; at++) {
			const struct live_set *set = live_sets_slot(sets, list->ids[at]);

			if (set->forward == LIVE_SET_NONE && !live_sets_bounds(sets, set, element))
				return false;
		}
	}
	return true;
}

int live_sets_check(const struct live_sets *sets)
{
	struct live_sets_figures sum = { 0 };
	uint32_t limit = live_sets_limit(sets);
	uint32_t free = 0;
	uint32_t id;

	if (!live_sets_is_settled(sets) || !lists_are_right(sets))
		return -EUCLEAN;
	for (id = 1; id < limit; id++) {
		const struct live_set *set = live_sets_slot(sets, id);

		if (set->count && !set_is_right(sets, id))
			return -EUCLEAN;
		if (set->forward != LIVE_SET_NONE && !forward_is_right(sets, id))
			return -EUCLEAN;
		sum.sets += set->count > 0;
		sum.runs += set->count / 2;
		sum.forwarding += set->forward != LIVE_SET_NONE;
		free += !set->count && set->forward == LIVE_SET_NONE;
		sum.unused += !set->held && (set->count || set->forward != LIVE_SET_NONE);
	}
	return sum.sets == sets->figures.sets && sum.runs == sets->figures.runs &&
			       sum.forwarding == sets->figures.forwarding &&
			       sum.unused == sets->figures.unused && free == sets->free_settled &&
			       live_sets_slot(sets, LIVE_SET_EMPTY)->forward == LIVE_SET_NONE ?
		       0 :
		       -EUCLEAN;
}
