/* SPDX-License-Identifier: MIT */
/* What any thread changes, under the lock, and finds, without. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/idtable.h"
#include "core/qgroup/live_groups_impl.h"

#define TABLE_FIRST 64U

/* In the place of a removed group, so that searches go on. Nobody looks inside. */
static char table_removed;

/* The group with the id, or NULL, with the place where its search ends. */
static struct live_group *table_find(struct live_table *table, uint64_t id, size_t *place)
{
	size_t at = idtable_hash_u64(id) & table->mask;

	/* Ends: at most half of the entries are in use. */
	for (;; at = (at + 1) & table->mask) {
		/* LIVE_GROUP.entry: sees the group as it was made. */
		void *entry = rcu_pointer_observe(&table->entries[at]);
		struct live_group *group = (struct live_group *)entry;

		*place = at;
		if (!entry || (entry != &table_removed && group->id == id))
			return group;
	}
}

struct live_group *live_group_find(struct live_groups *groups, uint64_t id)
{
	/* LIVE_GROUP.table: sees the entries that were put in before. */
	struct live_table *table = (struct live_table *)rcu_pointer_observe(&groups->table);
	size_t place;

	return table ? table_find(table, id, &place) : NULL;
}

struct live_group *live_group_of_root(struct live_groups *groups, uint64_t root)
{
	struct live_group *group;

	rcu_thread_adopt();
	rcu_section_enter();
	group = live_group_find(groups, root);
	rcu_section_exit();
	return group;
}

static void table_put(struct live_table *table, struct live_group *group)
{
	size_t at;

	table_find(table, group->id, &at);
	/* LIVE_GROUP.entry: the group as it was made. */
	rcu_pointer_publish(&table->entries[at], group);
	table->used++;
}

static void table_free(struct rcu_deferred *deferred)
{
	alloc_free(deferred); /* its first member */
}

/* Room for one more entry. Under the lock. */
static int table_reserve(struct live_groups *groups)
{
	/* Relaxed: its writers are under the lock. */
	struct live_table *old = (struct live_table *)order_load_relaxed(&groups->table);
	struct live_table *table;
	size_t size = TABLE_FIRST;
	size_t at;

	if (old && old->used < (old->mask + 1) / 2)
		return 0;
	while (size < 4 * (groups->sorted.count + 1))
		size *= 2;
	table = alloc_zeroed(1, sizeof(*table) + size * sizeof(order_ptr));
	if (!table)
		return -ENOMEM;
	table->mask = size - 1;
	for (at = 0; at < groups->sorted.count; at++)
		table_put(table, groups->sorted.groups[at]);
	/* LIVE_GROUP.table: its entries. */
	rcu_pointer_publish(&groups->table, table);
	size -= old ? old->mask + 1 : 0;
	/* Relaxed: a sum. It wraps around, which a sum may that comes back. */
	order_fetch_add_relaxed(&groups->array_bytes, size * sizeof(order_ptr));
	if (old)
		rcu_defer(&old->deferred, table_free);
	return 0;
}

/* Where the first id that is not below stands. */
static size_t sorted_place(const struct live_groups *groups, uint64_t id)
{
	size_t low = 0;
	size_t high = groups->sorted.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (groups->sorted.groups[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int live_group_make(struct live_groups *groups, uint64_t id, struct live_group **out)
{
	size_t count = groups->sorted.count + groups->lists[LIVE_LIST_GONE].count + 1;
	struct live_group **sorted;
	struct live_group *group;
	size_t at;

	if (table_reserve(groups) || live_pointers_reserve(groups, &groups->sorted, count) ||
	    live_list_reserve(groups, LIVE_LIST_CHANGED, count) ||
	    live_list_reserve(groups, LIVE_LIST_GONE, count))
		return -ENOMEM;
	group = alloc_aligned(ORDER_LINE, 1, sizeof(*group));
	if (!group)
		return -ENOMEM;
	group->id = id;
	group->number = LIVE_NUMBER_NONE;
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&groups->array_bytes, sizeof(*group));
	at = sorted_place(groups, id);
	sorted = groups->sorted.groups;
	memmove(&sorted[at + 1], &sorted[at], (groups->sorted.count - at) * sizeof(*sorted));
	sorted[at] = group;
	groups->sorted.count++;
	/* Relaxed: its writers are under the lock. */
	table_put((struct live_table *)order_load_relaxed(&groups->table), group);
	*out = group;
	return 0;
}

static void live_group_arrays_free(struct live_groups *groups, struct live_group *group)
{
	live_pointers_free(groups, &group->parents);
	live_pointers_free(groups, &group->known);
	live_groups_free(groups, group->runs.boundaries, group->runs.capacity, sizeof(uint32_t));
	if (group->above_count > 1)
		live_groups_free(groups, group->above, group->above_count, sizeof(uint32_t));
}

void live_group_free(struct live_groups *groups, struct live_group *group)
{
	live_group_arrays_free(groups, group);
	live_groups_free(groups, group, 1, sizeof(*group));
}

static void live_group_deferred(struct rcu_deferred *deferred)
{
	alloc_free((char *)deferred - offsetof(struct live_group, deferred));
}

void live_group_defer(struct live_groups *groups, struct live_group *group)
{
	live_group_arrays_free(groups, group);
	/* Relaxed: a sum. */
	order_fetch_sub_relaxed(&groups->array_bytes, sizeof(*group));
	rcu_defer(&group->deferred, live_group_deferred);
}

void live_group_unlink(struct live_groups *groups, struct live_group *group)
{
	/* Relaxed: its writers are under the lock. */
	struct live_table *table = (struct live_table *)order_load_relaxed(&groups->table);
	size_t at = sorted_place(groups, group->id);
	struct live_group **sorted = groups->sorted.groups;
	size_t place;

	assert(!group->members);
	table_find(table, group->id, &place);
	/* LIVE_GROUP.entry: nobody finds the group any more. */
	rcu_pointer_publish(&table->entries[place], &table_removed);
	groups->sorted.count--;
	memmove(&sorted[at], &sorted[at + 1], (groups->sorted.count - at) * sizeof(*sorted));
	for (at = 0; at < group->parents.count; at++)
		group->parents.groups[at]->members--;
	group->parents.count = 0;
	live_list_remove(groups, LIVE_LIST_CHANGED, group);
}

void live_group_relate(struct live_group *member, struct live_group *parent)
{
	assert(member->parents.count < member->parents.capacity);
	member->parents.groups[member->parents.count++] = parent;
	parent->members++;
}

int live_groups_create_group(struct live_groups *groups, uint64_t id)
{
	struct live_group *group;
	int ret = -EEXIST;

	if (!live_group_level(id))
		return -EINVAL;
	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	if (!live_group_find(groups, id)) {
		ret = live_group_make(groups, id, &group);
		if (!ret)
			live_list_add(groups, LIVE_LIST_CHANGED, group);
	}
	lock_release(&groups->lock);
	return ret;
}

/* A group of level 0 goes with its root, so that one that is there has its subvolume. */
static int hierarchy_remove(struct live_groups *groups, uint64_t id)
{
	struct live_group *group = live_group_find(groups, id);

	if (!group)
		return -ENOENT;
	if (group->members || !live_group_level(id))
		return -EBUSY;
	live_group_unlink(groups, group);
	/* Its number is given under the lock, so that this is no race with the accounts. */
	if (group->number == LIVE_NUMBER_NONE)
		live_group_defer(groups, group);
	else
		live_list_add(groups, LIVE_LIST_GONE, group);
	return 0;
}

int live_groups_remove(struct live_groups *groups, uint64_t id)
{
	int ret;

	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	ret = hierarchy_remove(groups, id);
	lock_release(&groups->lock);
	return ret;
}

/* Both, and where the parent stands in the member's list, or its count. 0, -EINVAL, -ENOENT. */
static int hierarchy_find(struct live_groups *groups, const uint64_t ids[2],
			  struct live_group *found[2], size_t *place)
{
	size_t at = 0;

	if (live_group_level(ids[0]) >= live_group_level(ids[1]))
		return -EINVAL;
	found[0] = live_group_find(groups, ids[0]);
	found[1] = live_group_find(groups, ids[1]);
	if (!found[0] || !found[1])
		return -ENOENT;
	while (at < found[0]->parents.count && found[0]->parents.groups[at] != found[1])
		at++;
	*place = at;
	return 0;
}

int live_groups_assign(struct live_groups *groups, uint64_t member, uint64_t parent)
{
	const uint64_t ids[2] = { member, parent };
	struct live_group *found[2];
	size_t place;
	int ret;

	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	ret = hierarchy_find(groups, ids, found, &place);
	if (!ret && place < found[0]->parents.count)
		ret = -EEXIST;
	if (!ret)
		ret = live_pointers_reserve(groups, &found[0]->parents, place + 1);
	if (!ret) {
		live_group_relate(found[0], found[1]);
		live_list_add(groups, LIVE_LIST_CHANGED, found[0]);
	}
	lock_release(&groups->lock);
	return ret;
}

int live_groups_unassign(struct live_groups *groups, uint64_t member, uint64_t parent)
{
	const uint64_t ids[2] = { member, parent };
	struct live_group *found[2];
	size_t place;
	int ret;

	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	ret = hierarchy_find(groups, ids, found, &place);
	if (!ret && place == found[0]->parents.count)
		ret = -ENOENT;
	if (!ret) {
		struct live_pointers *parents = &found[0]->parents;

		parents->groups[place] = parents->groups[--parents->count];
		found[1]->members--;
		live_list_add(groups, LIVE_LIST_CHANGED, found[0]);
	}
	lock_release(&groups->lock);
	return ret;
}

int live_groups_next(struct live_groups *groups, uint64_t *id)
{
	int ret = -ENOENT;
	size_t at;

	if (*id == UINT64_MAX)
		return -ENOENT;
	lock_acquire(&groups->lock);
	at = sorted_place(groups, *id + 1);
	if (at < groups->sorted.count) {
		*id = groups->sorted.groups[at]->id;
		ret = 0;
	}
	lock_release(&groups->lock);
	return ret;
}

int live_groups_parents(struct live_groups *groups, uint64_t id, uint64_t *parents, size_t room,
			size_t *count)
{
	const struct live_group *group;
	size_t filled = 0;
	size_t at;
	size_t to;

	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	group = live_group_find(groups, id);
	*count = group ? group->parents.count : 0;
	for (at = 0; at < *count; at++) {
		uint64_t parent = group->parents.groups[at]->id;

		/* The lowest ones, in order. */
		for (to = filled; to && parents[to - 1] > parent; to--)
			if (to < room)
				parents[to] = parents[to - 1];
		if (to < room) {
			parents[to] = parent;
			filled += filled < room;
		}
	}
	lock_release(&groups->lock);
	return group ? 0 : -ENOENT;
}

int live_groups_inherit_check(struct live_groups *groups, const uint64_t *parents, size_t count)
{
	int ret = 0;
	size_t at;

	rcu_thread_adopt();
	rcu_section_enter();
	for (at = 0; !ret && at < count; at++) {
		if (!live_group_level(parents[at]))
			ret = -EINVAL;
		else if (!live_group_find(groups, parents[at]))
			ret = -ENOENT;
	}
	rcu_section_exit();
	return ret;
}
