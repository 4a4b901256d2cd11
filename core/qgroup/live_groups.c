/* SPDX-License-Identifier: MIT */
#include "core/qgroup/live_groups.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/qgroup/live_groups_impl.h"

void *live_groups_grow(struct live_groups *groups, void *array, size_t count, size_t more,
		       size_t *capacity, size_t bytes)
{
	size_t old = *capacity;

	array = array_grow(array, count, more, capacity, bytes);
	/* Relaxed: a sum, read as it is at some moment. */
	if (array && *capacity != old)
		order_fetch_add_relaxed(&groups->array_bytes, (*capacity - old) * bytes);
	return array;
}

void live_groups_free(struct live_groups *groups, void *array, size_t capacity, size_t bytes)
{
	alloc_free(array);
	/* Relaxed: as above. */
	if (capacity)
		order_fetch_sub_relaxed(&groups->array_bytes, capacity * bytes);
}

int live_pointers_reserve(struct live_groups *groups, struct live_pointers *pointers, size_t count)
{
	struct live_group **larger = live_groups_grow(groups, pointers->groups, 0, count,
						      &pointers->capacity, sizeof(*larger));

	if (!larger && count)
		return -ENOMEM;
	pointers->groups = larger;
	return 0;
}

void live_pointers_free(struct live_groups *groups, struct live_pointers *pointers)
{
	live_groups_free(groups, pointers->groups, pointers->capacity, sizeof(*pointers->groups));
	*pointers = (struct live_pointers){ 0 };
}

int live_list_reserve(struct live_groups *groups, enum live_list_kind kind, size_t count)
{
	return live_pointers_reserve(groups, &groups->lists[kind], count);
}

void live_list_add(struct live_groups *groups, enum live_list_kind kind, struct live_group *group)
{
	struct live_pointers *list = &groups->lists[kind];

	if (group->listed[kind])
		return;
	assert(list->count < list->capacity);
	list->groups[list->count++] = group;
	group->listed[kind] = (uint32_t)list->count;
}

void live_list_remove(struct live_groups *groups, enum live_list_kind kind,
		      struct live_group *group)
{
	struct live_pointers *list = &groups->lists[kind];
	struct live_group *last;

	if (!group->listed[kind])
		return;
	last = list->groups[--list->count];
	list->groups[group->listed[kind] - 1] = last;
	last->listed[kind] = group->listed[kind];
	group->listed[kind] = 0;
}

/* Room in the arrays that are not lists. */
static int live_number_arrays_reserve(struct live_groups *groups, size_t count)
{
	struct live_group **numbered;
	uint32_t *numbers;

	numbered = live_groups_grow(groups, groups->numbered, 0, count, &groups->numbered_capacity,
				    sizeof(struct live_group *));
	if (!numbered)
		return -ENOMEM;
	groups->numbered = numbered;
	numbers = live_groups_grow(groups, groups->free_numbers, 0, count, &groups->free_capacity,
				   sizeof(*numbers));
	if (!numbers)
		return -ENOMEM;
	groups->free_numbers = numbers;
	numbers = live_groups_grow(groups, groups->scratch, 0, count, &groups->scratch_capacity,
				   sizeof(*numbers));
	if (!numbers)
		return -ENOMEM;
	groups->scratch = numbers;
	return 0;
}

static int live_rooted_reserve(struct live_groups *groups, uint32_t element)
{
	struct live_group **rooted;

	if (element < groups->rooted_count)
		return 0;
	rooted = live_groups_grow(groups, groups->rooted, 0, (size_t)element + 1,
				  &groups->rooted_capacity, sizeof(struct live_group *));
	if (!rooted)
		return -ENOMEM;
	groups->rooted = rooted;
	memset(rooted + groups->rooted_count, 0,
	       (groups->rooted_capacity - groups->rooted_count) * sizeof(struct live_group *));
	groups->rooted_count = groups->rooted_capacity;
	return 0;
}

int live_number_reserve(struct live_groups *groups, uint32_t element)
{
	size_t count = groups->numbered_count + 1;
	int ret = live_number_arrays_reserve(groups, count);
	unsigned kind;

	for (kind = LIVE_LISTS_LOCKED; !ret && kind < LIVE_LISTS; kind++)
		ret = live_list_reserve(groups, (enum live_list_kind)kind, count);
	return ret ? ret : live_rooted_reserve(groups, element);
}

void live_number_give(struct live_groups *groups, struct live_group *group)
{
	if (groups->free_count)
		group->number = groups->free_numbers[--groups->free_count];
	else
		group->number = (uint32_t)groups->numbered_count++;
	groups->numbered[group->number] = group;
	group->above = &group->number;
	group->above_count = 1;
	if (live_group_level(group->id))
		live_list_add(groups, LIVE_LIST_UPPER, group);
}

void live_group_retire(struct live_groups *groups, struct live_group *group)
{
	unsigned kind;

	for (kind = LIVE_LISTS_LOCKED; kind < LIVE_LISTS; kind++)
		live_list_remove(groups, (enum live_list_kind)kind, group);
	live_runs_clear(groups, &group->runs);
	groups->numbered[group->number] = NULL;
	groups->free_numbers[groups->free_count++] = group->number;
	if (group->element != LINEAGE_NONE)
		groups->rooted[group->element] = NULL;
	live_group_defer(groups, group);
}

int live_groups_create(const struct lineage *lineage, const struct live_sets *sets,
		       struct live_groups **out)
{
	struct live_groups *groups = alloc_zeroed(1, sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	groups->lineage = lineage;
	groups->sets = sets;
	lock_init(&groups->lock, LOCK_RANK_QGROUP, "quota groups");
	*out = groups;
	return 0;
}

static void live_pointers_destroy(struct live_groups *groups, struct live_pointers *pointers)
{
	size_t at;

	for (at = 0; at < pointers->count; at++)
		live_group_free(groups, pointers->groups[at]);
}

void live_groups_destroy(struct live_groups *groups)
{
	unsigned kind;

	if (!groups)
		return;
	live_pointers_destroy(groups, &groups->sorted);
	live_pointers_destroy(groups, &groups->lists[LIVE_LIST_GONE]);
	live_pointers_destroy(groups, &groups->lists[LIVE_LIST_RETIRING]);
	for (kind = 0; kind < LIVE_LISTS; kind++)
		alloc_free(groups->lists[kind].groups);
	alloc_free(groups->sorted.groups);
	/* Relaxed: nobody else has it. */
	alloc_free(order_load_relaxed(&groups->table));
	alloc_free(groups->numbered);
	alloc_free(groups->free_numbers);
	alloc_free(groups->rooted);
	alloc_free(groups->scratch);
	lock_destroy(&groups->lock);
	alloc_free(groups);
}

void live_groups_clear(struct live_groups *groups)
{
	size_t number;

	for (number = 0; number < groups->numbered_count; number++) {
		struct live_group *group = groups->numbered[number];

		if (!group)
			continue;
		group->counter = (struct live_group_counter){ 0 };
		live_group_touch(groups, group);
		/* Nor is it counted anew from what is known of some extents only. */
		live_list_remove(groups, LIVE_LIST_STALE, group);
	}
}

size_t live_groups_stale(const struct live_groups *groups)
{
	return groups->lists[LIVE_LIST_STALE].count;
}

size_t live_groups_above(struct live_groups *groups, uint64_t root, const uint32_t **numbers)
{
	const struct live_group *group = live_group_of_root(groups, root);

	*numbers = group ? group->above : NULL;
	return group ? group->above_count : 0;
}

uint32_t live_groups_limit(const struct live_groups *groups)
{
	return (uint32_t)groups->numbered_count;
}

struct live_group_counter *live_groups_counter(struct live_groups *groups, uint32_t number)
{
	struct live_group *group = groups->numbered[number];

	live_group_touch(groups, group);
	return &group->counter;
}

uint64_t live_groups_memory(const struct live_groups *groups)
{
	/* Relaxed: a sum, read as it is at some moment. */
	return sizeof(*groups) + order_load_relaxed(&groups->array_bytes);
}
