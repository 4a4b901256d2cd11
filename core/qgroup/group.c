// SPDX-License-Identifier: MIT
#include "core/qgroup/group.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/array.h"

void group_table_destroy(struct group_table *table)
{
	alloc_free(table->groups);
	alloc_free(table->relations);
	alloc_free(table->member_space);
	*table = (struct group_table){ 0 };
}

struct group *group_table_add(struct group_table *table, uint64_t id)
{
	struct group *groups =
		array_grow(table->groups, table->count, 1, &table->capacity, sizeof(*groups));

	if (!groups)
		return NULL;
	table->groups = groups;
	table->sorted = false;
	groups[table->count] = (struct group){ .id = id };
	return &groups[table->count++];
}

int group_table_relate(struct group_table *table, uint64_t member, uint64_t parent)
{
	struct group_relation *relations;

	if (group_level(member) >= group_level(parent))
		return -EINVAL;
	relations = array_grow(table->relations, table->relation_count, 1,
			       &table->relation_capacity, sizeof(*relations));
	if (!relations)
		return -ENOMEM;
	table->relations = relations;
	table->sorted = false;
	relations[table->relation_count++] = (struct group_relation){ member, parent };
	return 0;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *left = a;
	const struct group *right = b;
	int order = compare_numbers(left->id, right->id);

	/* Of two that are the same, the one that says more comes first. */
	return order ? order : (int)right->has_stored - (int)left->has_stored;
}

static int compare_relations(const void *a, const void *b)
{
	const struct group_relation *left = a;
	const struct group_relation *right = b;
	int order = compare_numbers(left->parent, right->parent);

	return order ? order : compare_numbers(left->member, right->member);
}

static void drop_double_groups(struct group_table *table)
{
	size_t kept = 0;
	size_t at;

	for (at = 0; at < table->count; at++)
		if (!kept || table->groups[kept - 1].id != table->groups[at].id)
			table->groups[kept++] = table->groups[at];
	table->count = kept;
}

static void link_members(struct group_table *table, size_t *dangling)
{
	const struct group_relation *last = NULL;
	uint32_t *space = table->member_space;
	size_t at;

	for (at = 0; at < table->relation_count; at++) {
		const struct group_relation *relation = &table->relations[at];
		struct group *parent = group_table_find(table, relation->parent);
		struct group *member = group_table_find(table, relation->member);

		if (last && !compare_relations(last, relation))
			continue;
		last = relation;
		if (!parent || !member) {
			(*dangling)++;
			continue;
		}
		if (!parent->member_count)
			parent->members = space;
		parent->members[parent->member_count++] = (uint32_t)(member - table->groups);
		space++;
	}
}

int group_table_sort(struct group_table *table, size_t *dangling)
{
	uint32_t *space = alloc_array(table->relation_count + 1, sizeof(*space));
	size_t at;

	*dangling = 0;
	if (!space)
		return -ENOMEM;
	alloc_free(table->member_space);
	table->member_space = space;
	for (at = 0; at < table->count; at++) {
		table->groups[at].members = NULL;
		table->groups[at].member_count = 0;
	}
	if (table->count)
		qsort(table->groups, table->count, sizeof(*table->groups), compare_groups);
	drop_double_groups(table);
	if (table->relation_count)
		qsort(table->relations, table->relation_count, sizeof(*table->relations),
		      compare_relations);
	table->sorted = true;
	link_members(table, dangling);
	return 0;
}

struct group *group_table_find(const struct group_table *table, uint64_t id)
{
	size_t low = 0;
	size_t high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->groups[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->count && table->groups[low].id == id ? &table->groups[low] : NULL;
}

int group_walk_init(struct group_walk *walk, const struct group_table *table)
{
	walk->walks = 0;
	walk->seen = alloc_zeroed(table->count + 1, sizeof(*walk->seen));
	walk->stack = alloc_array(table->count + 1, sizeof(*walk->stack));
	if (walk->seen && walk->stack)
		return 0;
	group_walk_destroy(walk);
	return -ENOMEM;
}

void group_walk_destroy(struct group_walk *walk)
{
	alloc_free(walk->seen);
	alloc_free(walk->stack);
	*walk = (struct group_walk){ 0 };
}

/* Each group is put on the stack once a walk, so it cannot grow past the table. */
void group_walk_leaves(struct group_walk *walk, const struct group_table *table,
		       const struct group *group,
		       void (*visit)(void *argument, const struct group *leaf), void *argument)
{
	size_t depth = 0;

	walk->walks++;
	walk->stack[depth++] = (uint32_t)(group - table->groups);
	walk->seen[group - table->groups] = walk->walks;
	while (depth) {
		const struct group *top = &table->groups[walk->stack[--depth]];
		size_t at;

		if (!group_level(top->id))
			visit(argument, top);
		for (at = 0; at < top->member_count; at++) {
			uint32_t member = top->members[at];

			if (walk->seen[member] == walk->walks)
				continue;
			walk->seen[member] = walk->walks;
			walk->stack[depth++] = member;
		}
	}
}
