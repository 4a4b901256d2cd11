/* SPDX-License-Identifier: MIT */
/*
 * Inside of live_groups: a group has three parts, each with its own rule.
 *
 *   hierarchy  under the lock, any thread: its id, the groups right above it, how many are right below;
 *   accounts   the accounts' thread alone: those groups as of the last begin, its roots, its counters;
 *   published  written by the accounts' thread, read by anybody without a lock.
 *
 * A group that was removed is out of the hierarchy at once, and out of the accounts with the next begin;
 * its memory goes a grace period later. The accounts name groups by dense numbers.
 */
#ifndef REFSTORM_QGROUP_LIVE_GROUPS_IMPL_H
#define REFSTORM_QGROUP_LIVE_GROUPS_IMPL_H

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/lock.h"
#include "core/base/rcu.h"
#include "core/qgroup/live_groups.h"

#define LIVE_NUMBER_NONE UINT32_MAX
#define LIVE_RUN_NONE UINT32_MAX

/* Lists of groups, each group at most once in each. */
enum live_list_kind {
	/* Under the lock. */
	LIVE_LIST_CHANGED, /* new ones, and those whose parents changed, since the last begin */
	LIVE_LIST_GONE,    /* removed since then, but known to the accounts */
	LIVE_LISTS_LOCKED,
	/* The accounts' own. */
	LIVE_LIST_RETIRING = LIVE_LISTS_LOCKED, /* gone, as of a begin that is under way */
	LIVE_LIST_MOVED,                        /* whose parents it has changed */
	LIVE_LIST_REBUILD,                      /* whose runs it has to make again */
	LIVE_LIST_UPPER,                        /* all above level 0 */
	LIVE_LIST_STALE,                        /* whose counters are not those of their roots */
	LIVE_LIST_TOUCHED,                      /* whose counters were not published */
	LIVE_LISTS,
};

struct live_pointers {
	struct live_group **groups;
	size_t count;
	size_t capacity;
};

/* Roots of a group above level 0: runs, as in struct live_set. */
struct live_runs {
	uint32_t *boundaries;
	size_t count;
	size_t capacity;
};

#define LIVE_NUMBERS 4

struct live_group {
	/* Accounts. */
	struct live_group_counter counter;
	uint32_t number;  /* LIVE_NUMBER_NONE before its first begin */
	uint32_t element; /* level 0: of its root */
	uint32_t *above; /* numbers: its own and of all above it; `&number` if it is the only one */
	size_t above_count;
	uint64_t walk;              /* the last walk that met it */
	struct live_pointers known; /* right above it, as of the last begin */
	struct live_runs runs;
	uint32_t listed[LIVE_LISTS]; /* in each list: its place + 1, or 0 */

	/* Hierarchy. */
	uint64_t id;
	struct live_pointers parents;
	size_t members;

	/*
	 * Published: copy `sequence % 2` is the valid one while the other is written, so that a reader
	 * never waits for the writer: it tries again only if that has published the group meanwhile.
	 */
	order_u64 sequence __attribute__((aligned(ORDER_LINE)));
	order_u64 published[2][LIVE_NUMBERS];
	struct rcu_deferred deferred;
};

/* From ids to groups: open addressing; found under RCU, changed under the lock. */
struct live_table {
	struct rcu_deferred deferred;
	size_t mask;
	size_t used; /* entries that are not empty, with those of removed groups */
	order_ptr entries[];
};

struct live_groups {
	const struct lineage *lineage;
	const struct live_sets *sets;
	struct live_pointers lists[LIVE_LISTS];
	order_u64 array_bytes; /* of memory, of arrays of any kind */

	struct lock lock;            /* the hierarchy of quota groups */
	struct live_pointers sorted; /* all, ascending by id */
	order_ptr table;

	/* Accounts. */
	struct live_group **numbered; /* by number; NULL: not in use */
	size_t numbered_count;
	size_t numbered_capacity;
	uint32_t *free_numbers;
	size_t free_count;
	size_t free_capacity;
	struct live_group **rooted; /* groups of level 0 by their root's element */
	size_t rooted_count;
	size_t rooted_capacity;
	uint32_t *scratch; /* room for the numbers of all groups */
	size_t scratch_capacity;
	uint64_t walks;
	size_t populated; /* groups above level 0 that have a root */
};

static inline unsigned live_group_level(uint64_t id)
{
	return (unsigned)(id >> 48);
}

/* NULL: none. */
static inline struct live_group *live_group_rooted(const struct live_groups *groups,
						   uint32_t element)
{
	return element < groups->rooted_count ? groups->rooted[element] : NULL;
}

/* live_groups.c: memory, lists, numbers. */

/* As array_grow, and counts the bytes. */
void *live_groups_grow(struct live_groups *groups, void *array, size_t count, size_t more,
		       size_t *capacity, size_t bytes) __attribute__((warn_unused_result));
void live_groups_free(struct live_groups *groups, void *array, size_t capacity, size_t bytes);

/* Lists have room: it is made when a group comes. */
int live_list_reserve(struct live_groups *groups, enum live_list_kind kind, size_t count)
	__attribute__((warn_unused_result));
void live_list_add(struct live_groups *groups, enum live_list_kind kind, struct live_group *group);
void live_list_remove(struct live_groups *groups, enum live_list_kind kind,
		      struct live_group *group);

/* Room for one more number, and for the element. 0 or -ENOMEM. */
int live_number_reserve(struct live_groups *groups, uint32_t element)
	__attribute__((warn_unused_result));
void live_number_give(struct live_groups *groups, struct live_group *group);
/* Takes the group out of the accounts; it is not in the hierarchy any more, and is freed a grace period later. */
void live_group_retire(struct live_groups *groups, struct live_group *group);

/* Room for `count` in all. 0 or -ENOMEM. */
int live_pointers_reserve(struct live_groups *groups, struct live_pointers *pointers, size_t count)
	__attribute__((warn_unused_result));
void live_pointers_free(struct live_groups *groups, struct live_pointers *pointers);

/* live_groups_hierarchy.c */

/* Inside an RCU section, or under the lock. NULL: none. */
struct live_group *live_group_find(struct live_groups *groups, uint64_t id);
/* Under the lock: a group that is not there yet. 0 or -ENOMEM. */
int live_group_make(struct live_groups *groups, uint64_t id, struct live_group **out)
	__attribute__((warn_unused_result));
/* Under the lock: takes it out of the hierarchy; it has no members. */
void live_group_unlink(struct live_groups *groups, struct live_group *group);
/* Under the lock. It has room for one more parent. */
void live_group_relate(struct live_group *member, struct live_group *parent);
void live_group_free(struct live_groups *groups, struct live_group *group);
/* Its memory goes a grace period later. */
void live_group_defer(struct live_groups *groups, struct live_group *group);
/* Of level 0, for the accounts' thread, which alone removes those. */
struct live_group *live_group_of_root(struct live_groups *groups, uint64_t root);

/* live_groups_follow.c: the accounts follow the hierarchy. */

/* The numbers of the group and all above it, by `known`, in `scratch`; these have its mark then. */
size_t live_group_walk(struct live_groups *groups, struct live_group *group);
/* The first `count` numbers of `scratch` are what is above it. 0 or -ENOMEM, and then it is as it was. */
int live_group_above_set(struct live_groups *groups, struct live_group *group, size_t count)
	__attribute__((warn_unused_result));
/* All that has the mark of the last walk. */
static inline bool live_group_walked(const struct live_groups *groups,
				     const struct live_group *group)
{
	return group->walk == groups->walks;
}
void live_group_stale(struct live_groups *groups, struct live_group *group);

/* live_groups_members.c: roots of groups above level 0. */

#define LIVE_MEETS 1U  /* some root is a member */
#define LIVE_INSIDE 2U /* all are: also of none */

/* A set, or a set without one of its runs. */
struct live_part {
	const uint32_t *boundaries;
	uint32_t count;
	uint32_t without; /* where the run begins that is left out, or LIVE_RUN_NONE */
};

static inline bool live_part_empty(const struct live_part *part)
{
	return part->count == (part->without == LIVE_RUN_NONE ? 0U : 2U);
}

bool live_runs_has(const struct lineage *lineage, const struct live_runs *runs, uint32_t element);
unsigned live_runs_compare(const struct lineage *lineage, const struct live_runs *runs,
			   const struct live_part *part);
/* Makes room for `live_runs_toggle` or _append to be called once. 0 or -ENOMEM. */
int live_runs_reserve(struct live_groups *groups, struct live_runs *runs)
	__attribute__((warn_unused_result));
/* The element's root comes, or goes. */
void live_runs_toggle(struct live_groups *groups, struct live_runs *runs, uint32_t element);
/* Behind all that are there. */
void live_runs_append(struct live_groups *groups, struct live_runs *runs, uint32_t element);
/* The element is about to leave the lineage. */
void live_runs_drop(struct live_groups *groups, struct live_runs *runs, uint32_t element);
void live_runs_clear(struct live_groups *groups, struct live_runs *runs);
/* Where `boundary` stands in the sorted array; `count` if it does not. */
size_t live_boundary_find(const struct lineage *lineage, const uint32_t *boundaries, size_t count,
			  uint32_t boundary);

/* live_groups_publish.c */
static inline void live_group_touch(struct live_groups *groups, struct live_group *group)
{
	if (!group->listed[LIVE_LIST_TOUCHED])
		live_list_add(groups, LIVE_LIST_TOUCHED, group);
}

#endif /* REFSTORM_QGROUP_LIVE_GROUPS_IMPL_H */
