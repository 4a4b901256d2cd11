/* SPDX-License-Identifier: MIT */
/*
 * Quota groups and their hierarchy: level/id, any depth, several parents.
 *
 * Who may call: one thread at a time; look-ups from any number of threads while
 * nobody changes the table.
 */
#ifndef REFSTORM_QGROUP_GROUP_H
#define REFSTORM_QGROUP_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_LEVEL_SHIFT 48

/* Bytes, logical. rfer: of extents that some member references; excl: that only members do. */
struct group_count {
	uint64_t rfer;
	uint64_t excl;
	uint64_t data_rfer; /* the part of them that is not metadata */
	uint64_t data_excl;
};

struct group {
	uint64_t id; /* level in the top 16 bits */
	struct group_count count;
	bool has_stored;
	uint64_t stored_rfer;
	uint64_t stored_excl;
	uint32_t *members; /* indexes of the groups right below, once group_table_sort was called */
	size_t member_count;
};

/* `member` stands right below `parent`. */
struct group_relation {
	uint64_t member;
	uint64_t parent;
};

struct group_table {
	struct group *groups; /* ascending by id, once sorted */
	size_t count;
	size_t capacity;
	struct group_relation *relations;
	size_t relation_count;
	size_t relation_capacity;
	uint32_t *member_space; /* what groups[].members point into */
	bool sorted;
};

static inline uint16_t group_level(uint64_t id)
{
	return (uint16_t)(id >> GROUP_LEVEL_SHIFT);
}

/* The part of the id behind the level. */
static inline uint64_t group_number(uint64_t id)
{
	return id & ((UINT64_C(1) << GROUP_LEVEL_SHIFT) - 1);
}

void group_table_destroy(struct group_table *table);

/* A group, that may be there already; NULL if there is no memory. Valid until the next is added. */
struct group *group_table_add(struct group_table *table, uint64_t id);

/* Groups may be added later than relations between them. 0, -ENOMEM, or -EINVAL unless member's level is below. */
int group_table_relate(struct group_table *table, uint64_t member, uint64_t parent)
	__attribute__((warn_unused_result));

/*
 * Sorts groups and relations and links members; to be called once all are added.
 * Relations that name a group that is not there, or stand twice, are left out and
 * the former counted in `*dangling`. 0 or -ENOMEM.
 */
int group_table_sort(struct group_table *table, size_t *dangling)
	__attribute__((warn_unused_result));

/* After sorting. NULL if there is none. */
struct group *group_table_find(const struct group_table *table, uint64_t id);

/* The scratch memory of a walk through the hierarchy; one walker each. */
struct group_walk {
	uint32_t *seen;  /* for each group the last walk that met it */
	uint32_t *stack; /* groups met, whose members are still to be looked at */
	uint32_t walks;
};

/* For a sorted table. 0 or -ENOMEM. */
int group_walk_init(struct group_walk *walk, const struct group_table *table)
	__attribute__((warn_unused_result));
void group_walk_destroy(struct group_walk *walk);

/* Calls `visit` once for each level-0 group at or below `group`. */
void group_walk_leaves(struct group_walk *walk, const struct group_table *table,
		       const struct group *group,
		       void (*visit)(void *argument, const struct group *leaf), void *argument);

#endif /* REFSTORM_QGROUP_GROUP_H */
