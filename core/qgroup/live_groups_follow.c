/* SPDX-License-Identifier: MIT */
/* The accounts follow the hierarchy: at each begin, and where a root comes. */
#include <errno.h>
#include <string.h>

#include "core/base/plant.h"
#include "core/qgroup/live_groups_impl.h"

void live_group_stale(struct live_groups *groups, struct live_group *group)
{
	live_list_add(groups, LIVE_LIST_STALE, group);
}

/* Planted, and only with room for all others. */
static inline bool live_group_walk_again(const struct live_groups *groups, size_t count)
{
	return plant_armed("groups.paths-counted") &&
	       count + groups->numbered_count < groups->scratch_capacity;
}

size_t live_group_walk(struct live_groups *groups, struct live_group *group)
{
	uint32_t *numbers = groups->scratch;
	uint64_t walk = ++groups->walks;
	size_t count = 1;
	size_t at;
	size_t next;

	group->walk = walk;
	numbers[0] = group->number;
	/* Ends: each group is met once, however many ways lead to it. */
	for (at = 0; at < count; at++) {
		const struct live_pointers *known = &groups->numbered[numbers[at]]->known;

		for (next = 0; next < known->count; next++) {
			struct live_group *above = known->groups[next];

			if (above->walk == walk && !live_group_walk_again(groups, count))
				continue;
			above->walk = walk;
			numbers[count++] = above->number;
		}
	}
	return count;
}

int live_group_above_set(struct live_groups *groups, struct live_group *group, size_t count)
{
	uint32_t *above = &group->number;
	size_t capacity = 0;

	if (count > 1) {
		/* Exactly as many: there is one such array for each root. */
		above = alloc_array(count, sizeof(*above));
		if (!above)
			return -ENOMEM;
		memcpy(above, groups->scratch, count * sizeof(*above));
		capacity = count;
	}
	if (group->above_count > 1)
		live_groups_free(groups, group->above, group->above_count, sizeof(*above));
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&groups->array_bytes, capacity * sizeof(*above));
	group->above = above;
	group->above_count = count;
	return 0;
}

/* A group has other roots than before. */
static void follow_affected(struct live_groups *groups, struct live_group *group)
{
	live_list_add(groups, LIVE_LIST_REBUILD, group);
	live_group_stale(groups, group);
}

/* What is above a group of level 0 may have changed. */
static int follow_root(struct live_groups *groups, struct live_group *group)
{
	const uint32_t *old = group->above;
	size_t old_count = group->above_count;
	size_t count = live_group_walk(groups, group);
	size_t at;

	for (at = 1; at < old_count; at++) {
		struct live_group *above = groups->numbered[old[at]];

		if (!live_group_walked(groups, above))
			follow_affected(groups, above);
	}
	groups->walks++;
	for (at = 0; at < old_count; at++)
		groups->numbered[old[at]]->walk = groups->walks;
	for (at = 0; at < count; at++) {
		struct live_group *above = groups->numbered[groups->scratch[at]];

		if (!live_group_walked(groups, above))
			follow_affected(groups, above);
	}
	return live_group_above_set(groups, group, count);
}

/*
 * What is above a root has changed only if the parents did of its own group or of one that was above
 * it: the lowest one with other parents on a new way was reached before.
 */
static int follow_roots(struct live_groups *groups)
{
	size_t element;
	size_t at;
	int ret = 0;

	for (element = 0; !ret && element < groups->rooted_count; element++) {
		struct live_group *group = groups->rooted[element];

		if (!group)
			continue;
		for (at = 0; at < group->above_count; at++)
			if (groups->numbered[group->above[at]]->listed[LIVE_LIST_MOVED])
				break;
		if (at < group->above_count)
			ret = follow_root(groups, group);
	}
	return ret;
}

/* The roots of the groups that have others now, from nothing: in the order of the lineage. */
static int follow_rebuild(struct live_groups *groups)
{
	struct live_pointers *list = &groups->lists[LIVE_LIST_REBUILD];
	const struct live_group *root;
	uint32_t element;
	size_t at;

	if (!list->count)
		return 0;
	for (at = 0; at < list->count; at++)
		live_runs_clear(groups, &list->groups[at]->runs);
	for (element = lineage_next(groups->lineage, LINEAGE_NONE); element != LINEAGE_NONE;
	     element = lineage_next(groups->lineage, element)) {
		root = live_group_rooted(groups, element);
		for (at = 1; root && at < root->above_count; at++) {
			struct live_group *group = groups->numbered[root->above[at]];

			if (!group->listed[LIVE_LIST_REBUILD])
				continue;
			if (live_runs_reserve(groups, &group->runs))
				return -ENOMEM;
			live_runs_append(groups, &group->runs, element);
		}
	}
	while (list->count)
		live_list_remove(groups, LIVE_LIST_REBUILD, list->groups[list->count - 1]);
	return 0;
}

static int follow_copy(struct live_groups *groups, struct live_group *group)
{
	size_t count = group->parents.count;

	if (live_pointers_reserve(groups, &group->known, count))
		return -ENOMEM;
	if (count)
		memcpy(group->known.groups, group->parents.groups,
		       count * sizeof(struct live_group *));
	group->known.count = count;
	live_list_add(groups, LIVE_LIST_MOVED, group);
	return 0;
}

/*
 * Under the lock: numbers for new groups first, since parents that are copied may be among them. All
 * that is copied is of one moment, with what is gone at that moment.
 */
static int follow_changes(struct live_groups *groups)
{
	struct live_pointers *changed = &groups->lists[LIVE_LIST_CHANGED];
	struct live_pointers *gone = &groups->lists[LIVE_LIST_GONE];
	size_t at;

	for (at = 0; at < changed->count; at++) {
		if (changed->groups[at]->number != LIVE_NUMBER_NONE)
			continue;
		if (live_number_reserve(groups, LINEAGE_NONE))
			return -ENOMEM;
		live_number_give(groups, changed->groups[at]);
	}
	while (changed->count) {
		struct live_group *group = changed->groups[changed->count - 1];

		if (follow_copy(groups, group))
			return -ENOMEM;
		live_list_remove(groups, LIVE_LIST_CHANGED, group);
	}
	while (gone->count) {
		struct live_group *group = gone->groups[gone->count - 1];

		live_list_remove(groups, LIVE_LIST_GONE, group);
		live_list_add(groups, LIVE_LIST_RETIRING, group);
	}
	return 0;
}

/*
 * On failure the rest is done by the next begin: what is left stays in the lists, and groups whose
 * runs are not made are stale.
 */
int live_groups_begin(struct live_groups *groups)
{
	struct live_pointers *retiring = &groups->lists[LIVE_LIST_RETIRING];
	struct live_pointers *moved = &groups->lists[LIVE_LIST_MOVED];
	int ret;

	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	ret = follow_changes(groups);
	lock_release(&groups->lock);
	if (ret)
		return ret;
	if (moved->count) {
		ret = follow_roots(groups);
		if (ret)
			return ret;
		while (moved->count)
			live_list_remove(groups, LIVE_LIST_MOVED, moved->groups[moved->count - 1]);
	}
	while (retiring->count)
		live_group_retire(groups, retiring->groups[retiring->count - 1]);
	return follow_rebuild(groups);
}

/* A group of level 0, its parents those of `parents` that are there. */
static int root_make(struct live_groups *groups, uint64_t root, const uint64_t *parents,
		     size_t count, struct live_group **out)
{
	struct live_group *group;
	int ret = live_group_make(groups, root, &group);
	size_t known = 0;
	size_t at;

	if (ret)
		return ret;
	if (live_pointers_reserve(groups, &group->parents, count) ||
	    live_pointers_reserve(groups, &group->known, count)) {
		live_group_unlink(groups, group);
		live_group_defer(groups, group);
		return -ENOMEM;
	}
	groups->walks++;
	for (at = 0; at < count; at++) {
		struct live_group *parent = live_group_find(groups, parents[at]);

		if (!parent || !live_group_level(parents[at]) || live_group_walked(groups, parent))
			continue;
		parent->walk = groups->walks;
		live_group_relate(group, parent);
		if (parent->number != LIVE_NUMBER_NONE)
			group->known.groups[known++] = parent;
		else
			live_list_add(groups, LIVE_LIST_CHANGED,
				      group); /* it comes with the next begin */
	}
	group->known.count = known;
	*out = group;
	return 0;
}

static int root_add(struct live_groups *groups, uint64_t root, uint32_t element,
		    const uint64_t *parents, size_t count, struct live_group **out)
{
	int ret = live_number_reserve(groups, element);

	if (ret)
		return ret;
	rcu_thread_adopt();
	lock_acquire(&groups->lock);
	ret = root_make(groups, root, parents, count, out);
	if (!ret) {
		live_number_give(groups, *out);
		(*out)->element = element;
		groups->rooted[element] = *out;
	}
	lock_release(&groups->lock);
	return ret;
}

int live_groups_root_add(struct live_groups *groups, uint64_t root, uint32_t element)
{
	struct live_group *group;

	return root_add(groups, root, element, NULL, 0, &group);
}

/* Room for the new root in, or out of, the runs of these groups. */
static int snapshot_reserve(struct live_groups *groups, const uint32_t *numbers, size_t count)
{
	size_t at;
	int ret = 0;

	for (at = 1; !ret && at < count; at++)
		ret = live_runs_reserve(groups, &groups->numbered[numbers[at]]->runs);
	return ret;
}

/*
 * The new root is in the runs that its source is in, until this: it is in those of the groups that have
 * the mark of the last walk, and in no others.
 */
static void snapshot_tell_apart(struct live_groups *groups, const uint32_t *numbers, size_t count,
				uint32_t element)
{
	size_t at;

	for (at = 1; at < count; at++) {
		struct live_group *above = groups->numbered[numbers[at]];

		if (live_runs_has(groups->lineage, &above->runs, element) ==
		    live_group_walked(groups, above))
			continue;
		live_runs_toggle(groups, &above->runs, element);
		live_group_stale(groups, above);
	}
}

static int snapshot_place(struct live_groups *groups, const struct live_group *from,
			  struct live_group *group)
{
	size_t count = live_group_walk(groups, group);
	int ret = snapshot_reserve(groups, from->above, from->above_count);

	if (!ret)
		ret = snapshot_reserve(groups, groups->scratch, count);
	if (!ret)
		ret = live_group_above_set(groups, group, count);
	if (ret)
		return ret;
	snapshot_tell_apart(groups, from->above, from->above_count, group->element);
	snapshot_tell_apart(groups, group->above, group->above_count, group->element);
	return 0;
}

/* What it would have changed is made by the next begin. */
static void snapshot_failed(struct live_groups *groups, const struct live_group *from,
			    struct live_group *group)
{
	size_t at;

	for (at = 1; at < from->above_count; at++)
		follow_affected(groups, groups->numbered[from->above[at]]);
	if (group)
		live_list_add(groups, LIVE_LIST_MOVED, group);
}

int live_groups_snapshot(struct live_groups *groups, uint64_t source, uint64_t root,
			 uint32_t element, const uint64_t *parents, size_t count)
{
	struct live_group *from = live_group_of_root(groups, source);
	struct live_group *group = NULL;
	int ret;

	if (!from)
		return -ENOMEM; /* which it failed to come for */
	ret = root_add(groups, root, element, parents, count, &group);
	if (!ret)
		ret = snapshot_place(groups, from, group);
	if (ret) {
		snapshot_failed(groups, from, group);
		return ret;
	}
	group->counter.rfer = from->counter.rfer;
	group->counter.data_rfer = from->counter.data_rfer;
	from->counter.excl = 0;
	from->counter.data_excl = 0;
	live_group_touch(groups, from);
	live_group_touch(groups, group);
	return 0;
}
