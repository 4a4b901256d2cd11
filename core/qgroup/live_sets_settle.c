// SPDX-License-Identifier: MIT
/*
 * What keeps the sets in order outside of phases: the table, the lists by boundary, what is held.
 */
#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/qgroup/live_sets_impl.h"

/* Relaxed, all of the table here: nobody beside it; the next phase is begun by a release. */
void live_sets_link(struct live_sets *sets, uint32_t id)
{
	struct live_set *set = live_sets_slot(sets, id);
	order_u32 *bucket = &sets->buckets[set->hash & sets->mask];

	order_store_relaxed(&set->next, order_load_relaxed(bucket));
	order_store_relaxed(bucket, id);
}

void live_sets_unlink(struct live_sets *sets, uint32_t id)
{
	struct live_set *set = live_sets_slot(sets, id);
	order_u32 *at = &sets->buckets[set->hash & sets->mask];

	/* Ends: it is in its chain. */
	while (order_load_relaxed(at) != id)
		at = &live_sets_slot(sets, order_load_relaxed(at))->next;
	order_store_relaxed(at, order_load_relaxed(&set->next));
}

void live_sets_relink(struct live_sets *sets)
{
	uint32_t limit = live_sets_limit(sets);
	uint32_t at;

	for (at = 0; at <= sets->mask; at++)
		order_store_relaxed(&sets->buckets[at], LIVE_SET_EMPTY);
	for (at = 1; at < limit; at++) {
		if (live_sets_lives(sets, at))
			live_sets_link(sets, at);
	}
}

/* As many buckets as sets at least. Without memory chains get longer, until the next time. */
static void buckets_grow(struct live_sets *sets)
{
	uint64_t count = (uint64_t)sets->mask + 1;
	order_u32 *larger;

	if (sets->figures.sets <= count)
		return;
	while (count < sets->figures.sets)
		count *= 2;
	larger = alloc_zeroed(count, sizeof(*larger));
	if (!larger)
		return;
	alloc_free(sets->buckets);
	sets->buckets = larger;
	sets->mask = (uint32_t)(count - 1);
	live_sets_relink(sets);
}

int live_sets_free_room(struct live_sets *sets, uint32_t count)
{
	uint32_t *larger;

	if (count <= sets->free_capacity)
		return 0;
	larger = alloc_resize(sets->free_ids, count, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	sets->free_ids = larger;
	sets->free_capacity = count;
	return 0;
}

int live_sets_lists_room(struct live_sets *sets)
{
	uint32_t count = sets->lineage->capacity;
	struct live_sets_list *larger;
	uint32_t at;

	if (sets->lineage->used <= sets->list_count)
		return 0;
	larger = alloc_resize(sets->lists, count, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	for (at = sets->list_count; at < count; at++)
		larger[at] = (struct live_sets_list){ 0 };
	sets->lists = larger;
	sets->list_count = count;
	return 0;
}

static int list_resize(struct live_sets *sets, struct live_sets_list *list, uint64_t capacity)
{
	uint32_t *moved;

	if (capacity > UINT32_MAX)
		return -ENOMEM;
	moved = alloc_resize(list->ids, capacity, sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	sets->figures.bytes += (capacity - list->capacity) * sizeof(*moved);
	list->ids = moved;
	list->capacity = (uint32_t)capacity;
	return 0;
}

int live_sets_list_room(struct live_sets *sets, struct live_sets_list *list, uint32_t more)
{
	uint64_t wanted = (uint64_t)list->count + more;

	if (wanted <= list->capacity)
		return 0;
	return list_resize(sets, list, wanted + wanted / 4 + 2);
}

void live_sets_list_trim(struct live_sets *sets, struct live_sets_list *list)
{
	if (!list->count) {
		sets->figures.bytes -= list->capacity * sizeof(*list->ids);
		alloc_free(list->ids);
		*list = (struct live_sets_list){ 0 };
	} else if (list->count < list->capacity / 2) {
		/* Without memory it stays as large as it is. */
		(void)list_resize(sets, list, list->count + list->count / 4 + 2);
	}
}

/* The ids of the phase: those from the free ones, then the fresh ones. */
struct made {
	uint32_t taken;
	uint32_t count;
	uint32_t left;
	uint32_t limit;
};

static struct made made_of(const struct live_sets *sets)
{
	struct made made;

	made.left = order_load_relaxed(&sets->free_left);
	made.limit = live_sets_limit(sets);
	made.taken = sets->free_settled - made.left;
	made.count = made.taken + made.limit - sets->settled;
	return made;
}

static inline uint32_t made_id(const struct live_sets *sets, const struct made *made, uint32_t at)
{
	return at < made->taken ? sets->free_ids[made->left + at] :
				  sets->settled + (at - made->taken);
}

/* Counts what each list will get; and how many ids have lost their race. */
static uint32_t made_count(struct live_sets *sets, const struct made *made)
{
	uint32_t lost = 0;
	uint32_t at;

	for (at = 0; at < made->count; at++) {
		const struct live_set *set = live_sets_slot(sets, made_id(sets, made, at));
		const uint32_t *boundaries = live_sets_tuple(set);
		uint32_t boundary;

		lost += !set->count;
		for (boundary = 0; boundary < set->count; boundary++)
			sets->lists[boundaries[boundary]].more++;
	}
	return lost;
}

/* All the room that entering them takes. On failure what was counted is forgotten. */
static int made_room(struct live_sets *sets, const struct made *made, uint32_t lost)
{
	int ret = live_sets_free_room(sets, made->left + lost);
	uint32_t boundary;
	uint32_t at;

	for (at = 0; at < made->count && !ret; at++) {
		const struct live_set *set = live_sets_slot(sets, made_id(sets, made, at));

		for (boundary = 0; boundary < set->count && !ret; boundary++) {
			struct live_sets_list *list = &sets->lists[live_sets_tuple(set)[boundary]];

			ret = live_sets_list_room(sets, list, list->more);
		}
	}
	for (at = 0; at < made->count && ret; at++) {
		const struct live_set *set = live_sets_slot(sets, made_id(sets, made, at));

		for (boundary = 0; boundary < set->count; boundary++)
			sets->lists[live_sets_tuple(set)[boundary]].more = 0;
	}
	return ret;
}

static void made_enter(struct live_sets *sets, uint32_t id)
{
	const struct live_set *set = live_sets_slot(sets, id);
	const uint32_t *boundaries = live_sets_tuple(set);
	bool stale = plant_armed("sets.index-stale");
	uint32_t at;

	for (at = 0; at < set->count; at++) {
		struct live_sets_list *list = &sets->lists[boundaries[at]];

		list->more--;
		if (!stale)
			list->ids[list->count++] = id;
	}
	sets->figures.sets++;
	sets->figures.runs += set->count / 2;
	sets->figures.unused++; /* live_sets_hold takes it away, before or after this */
	sets->figures.bytes += live_sets_outside(set);
}

int live_sets_settle(struct live_sets *sets)
{
	struct made made = made_of(sets);
	uint32_t left = made.left;
	uint32_t at;
	int ret;

	if (!made.count)
		return 0;
	ret = live_sets_lists_room(sets);
	if (ret)
		return ret;
	ret = made_room(sets, &made, made_count(sets, &made));
	if (ret)
		return ret;
	for (at = 0; at < made.count; at++) {
		uint32_t id = made_id(sets, &made, at);

		/* Never ahead of where the taken ids are read. */
		if (live_sets_lives(sets, id))
			made_enter(sets, id);
		else
			sets->free_ids[left++] = id;
	}
	order_store_relaxed(&sets->free_left, left);
	sets->free_settled = left;
	sets->settled = made.limit;
	buckets_grow(sets);
	return 0;
}

void live_sets_hold(struct live_sets *sets, uint32_t id, int64_t change)
{
	/* Ends: nothing forwards in a circle. */
	while (id != LIVE_SET_EMPTY && id != LIVE_SET_NONE && change) {
		struct live_set *set = live_sets_slot(sets, id);
		bool before = set->held;

		if (plant_armed("sets.id-early"))
			set->held = change > 0;
		else
			set->held += (uint64_t)change;
		/* Held or not, which is what counts for the one that it forwards to. */
		change = (int64_t)(set->held != 0) - before;
		sets->figures.unused -= (uint64_t)change;
		id = set->forward;
	}
}

uint32_t live_sets_follow(struct live_sets *sets, uint32_t id)
{
	uint32_t last = live_sets_find(sets, id);

	while (id != last) {
		struct live_set *set = live_sets_slot(sets, id);
		uint32_t next = set->forward;

		if (set->held && next != last) {
			live_sets_hold(sets, last, 1);
			live_sets_hold(sets, next, -1);
		}
		set->forward = last;
		id = next;
	}
	return last;
}
