// SPDX-License-Identifier: MIT
#include "core/qgroup/ancestry.h"

#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/qgroup/subvol.h"

/*
 * Every subvolume gets a source: the number of the subvolume it was taken of, or
 * count + the number of the first of those that share a source which is gone (a
 * subvolume that is no snapshot shares it with nobody).
 */
struct ancestry {
	const struct subvol *subvols;
	uint32_t count;
	uint32_t *source;   /* of each subvolume, as above */
	uint32_t *children; /* subvolumes by source, the oldest first */
	uint32_t *first;    /* where the children of each source begin; count * 2 + 1 of them */
	uint32_t *stack;
	bool *visited;
	const struct subvol **by_uuid; /* scratch for sorting */
};

static bool is_zero(const uint8_t *uuid)
{
	static const uint8_t zero[BTRFS_UUID_SIZE];

	return !memcmp(uuid, zero, sizeof(zero));
}

static int compare_uuid(const void *a, const void *b)
{
	const struct subvol *left = *(const struct subvol *const *)a;
	const struct subvol *right = *(const struct subvol *const *)b;

	return memcmp(left->uuid, right->uuid, sizeof(left->uuid));
}

static int compare_parent_uuid(const void *a, const void *b)
{
	const struct subvol *left = *(const struct subvol *const *)a;
	const struct subvol *right = *(const struct subvol *const *)b;
	int order = memcmp(left->parent_uuid, right->parent_uuid, sizeof(left->parent_uuid));

	return order ? order : left < right ? -1 : left > right;
}

static void find_living_sources(struct ancestry *work)
{
	uint32_t at;

	for (at = 0; at < work->count; at++)
		work->by_uuid[at] = &work->subvols[at];
	qsort(work->by_uuid, work->count, sizeof(*work->by_uuid), compare_uuid);
	for (at = 0; at < work->count; at++) {
		struct subvol wanted;
		const struct subvol *key = &wanted;
		const struct subvol *const *found;

		work->source[at] = work->count + at;
		if (is_zero(work->subvols[at].parent_uuid))
			continue;
		memcpy(wanted.uuid, work->subvols[at].parent_uuid, sizeof(wanted.uuid));
		found = bsearch(&key, work->by_uuid, work->count, sizeof(*work->by_uuid),
				compare_uuid);
		if (found && *found != &work->subvols[at])
			work->source[at] = (uint32_t)(*found - work->subvols);
	}
}

static void join_orphans(struct ancestry *work)
{
	uint32_t first = 0; /* of those with this parent_uuid that have no living source */
	bool has_first = false;
	uint32_t at;

	for (at = 0; at < work->count; at++)
		work->by_uuid[at] = &work->subvols[at];
	qsort(work->by_uuid, work->count, sizeof(*work->by_uuid), compare_parent_uuid);
	for (at = 0; at < work->count; at++) {
		uint32_t number = (uint32_t)(work->by_uuid[at] - work->subvols);

		if (work->source[number] < work->count || is_zero(work->by_uuid[at]->parent_uuid))
			continue;
		if (has_first && !memcmp(work->subvols[first].parent_uuid,
					 work->by_uuid[at]->parent_uuid, BTRFS_UUID_SIZE)) {
			work->source[number] = work->count + first;
		} else {
			first = number;
			has_first = true;
		}
	}
}

/* qsort has no argument for its comparison, so what it needs stands in the element. */
struct child {
	uint32_t source;
	uint32_t number;
	uint64_t created;
};

static int compare_children(const void *a, const void *b)
{
	const struct child *left = a;
	const struct child *right = b;

	if (left->source != right->source)
		return left->source < right->source ? -1 : 1;
	if (left->created != right->created)
		return left->created < right->created ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number;
}

static int sort_children(struct ancestry *work)
{
	struct child *children = alloc_array(work->count + 1U, sizeof(*children));
	uint32_t source = 0;
	uint32_t at;

	if (!children)
		return -1;
	for (at = 0; at < work->count; at++)
		children[at] = (struct child){ work->source[at], at, work->subvols[at].created };
	qsort(children, work->count, sizeof(*children), compare_children);
	for (at = 0; at < work->count; at++) {
		while (source <= children[at].source)
			work->first[source++] = at;
		work->children[at] = children[at].number;
	}
	while (source <= work->count * 2)
		work->first[source++] = work->count;
	alloc_free(children);
	return 0;
}

/* The children of one source and all that descends from them, as one family. */
static int add_family(struct ancestry *work, struct lineage *lineage, uint32_t first, uint32_t end)
{
	uint32_t depth = 0;
	uint32_t element = LINEAGE_NONE;

	while (first < end)
		work->stack[depth++] = work->children[first++];
	/* Ends: each subvolume is the child of one source, so it is put on the stack once. */
	while (depth) {
		uint32_t number = work->stack[--depth];
		uint64_t id = work->subvols[number].root.id;
		uint32_t at;
		int ret;

		if (work->visited[number])
			continue;
		work->visited[number] = true;
		ret = element ? lineage_add_snapshot(lineage, element, id, &element) :
				lineage_add_family(lineage, id, &element);
		if (ret)
			return ret;
		/* The youngest comes off the stack first: it was put behind the source last. */
		for (at = work->first[number]; at < work->first[number + 1]; at++)
			if (!work->visited[work->children[at]])
				work->stack[depth++] = work->children[at];
	}
	return 0;
}

static int add_families(struct ancestry *work, struct lineage *lineage)
{
	uint32_t at;
	int ret = 0;

	for (at = work->count; !ret && at < work->count * 2; at++)
		if (work->first[at] < work->first[at + 1])
			ret = add_family(work, lineage, work->first[at], work->first[at + 1]);
	/* Those left descend from one another in a circle, which only a damaged image has. */
	for (at = 0; !ret && at < work->count; at++) {
		if (work->visited[work->children[at]])
			continue;
		ret = add_family(work, lineage, at, at + 1);
	}
	return ret;
}

int ancestry_build(struct subvol_list *list, struct rs_error *error)
{
	struct ancestry work = { .subvols = list->subvols, .count = (uint32_t)list->count };
	size_t room = list->count * 2 + 1;
	int ret = -1;

	work.source = alloc_array(room, sizeof(*work.source));
	work.children = alloc_array(room, sizeof(*work.children));
	work.first = alloc_array(room, sizeof(*work.first));
	work.stack = alloc_array(room, sizeof(*work.stack));
	work.visited = alloc_zeroed(room, sizeof(*work.visited));
	work.by_uuid = alloc_array(room, sizeof(*work.by_uuid));
	if (work.source && work.children && work.first && work.stack && work.visited &&
	    work.by_uuid) {
		find_living_sources(&work);
		join_orphans(&work);
		if (!sort_children(&work))
			ret = add_families(&work, &list->lineage);
	}
	alloc_free(work.source);
	alloc_free(work.children);
	alloc_free(work.first);
	alloc_free(work.stack);
	alloc_free(work.visited);
	alloc_free(work.by_uuid);
	return ret ? error_no_memory(error, "the lineage") : 0;
}
