/* SPDX-License-Identifier: MIT */
/* Counters of groups, from the roots that had an extent and those that have it. */
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/qgroup/live_extent_impl.h"

int live_extent_groups_fit(struct live_extent *engine)
{
	uint32_t limit = live_groups_limit(engine->groups);
	void *grown;

	if (limit <= engine->limit)
		return 0;
	grown = alloc_resize(engine->touched, limit, sizeof(*engine->touched));
	if (!grown)
		return -ENOMEM;
	engine->touched = grown;
	grown = alloc_resize(engine->refs, limit, sizeof(*engine->refs));
	if (!grown)
		return -ENOMEM;
	engine->refs = grown;
	memset(engine->refs + engine->limit, 0, (limit - engine->limit) * sizeof(*engine->refs));
	engine->limit = limit;
	return 0;
}

static struct live_extent_refs *refs_of(struct live_extent *engine, uint32_t number)
{
	struct live_extent_refs *refs = &engine->refs[number];

	if (refs->turn != engine->turn) {
		*refs = (struct live_extent_refs){ .turn = engine->turn };
		engine->touched[engine->touched_count++] = number;
	}
	return refs;
}

static void refs_add(struct live_extent *engine, const struct live_extent_roots *roots, bool old)
{
	size_t at;

	for (at = 0; at < roots->count; at++) {
		const uint32_t *above;
		size_t count = live_groups_above(engine->groups, roots->roots[at], &above);
		size_t group;

		for (group = 0; group < count; group++) {
			struct live_extent_refs *refs = refs_of(engine, above[group]);

			refs->old += old;
			refs->now += !old;
		}
	}
}

/* All that had, or have it, are members: 1; 0 where none does, or others do too. */
static int refs_alone(size_t members, size_t all)
{
	return members && members == all;
}

void live_extent_update(struct live_extent *engine, const struct live_extent_roots *old,
			const struct live_extent_roots *now, uint64_t bytes, bool metadata)
{
	uint32_t at;

	if (old->count == now->count &&
	    (!old->count || !memcmp(old->roots, now->roots, old->count * sizeof(*old->roots))))
		return;
	engine->turn++;
	engine->touched_count = 0;
	refs_add(engine, old, true);
	refs_add(engine, now, false);
	for (at = 0; at < engine->touched_count; at++) {
		const struct live_extent_refs *refs = &engine->refs[engine->touched[at]];
		int rfer = (refs->now != 0) - (refs->old != 0);
		int excl = refs_alone(refs->now, now->count) - refs_alone(refs->old, old->count);
		struct live_group_counter *counter;

		if (!rfer && !excl)
			continue;
		counter = live_groups_counter(engine->groups, engine->touched[at]);
		counter->rfer += rfer * (int64_t)bytes;
		counter->excl += excl * (int64_t)bytes;
		counter->data_rfer += metadata ? 0 : rfer * (int64_t)bytes;
		counter->data_excl += metadata ? 0 : excl * (int64_t)bytes;
	}
}

bool live_extent_roots_have(const struct live_extent_roots *roots, uint64_t root)
{
	size_t at;

	for (at = 0; at < roots->count; at++)
		if (roots->roots[at] == root)
			return true;
	return false;
}

/* Room for one more than `from` has. NULL: no memory. */
static uint64_t *roots_room(struct live_extent *engine, unsigned which,
			    const struct live_extent_roots *from)
{
	uint64_t *grown = array_grow(engine->some[which], 0, from->count + 1,
				     &engine->some_capacity[which], sizeof(*grown));

	if (grown)
		engine->some[which] = grown;
	return grown;
}

int live_extent_roots_without(struct live_extent *engine, unsigned which,
			      const struct live_extent_roots *from,
			      const struct live_extent_roots *these, struct live_extent_roots *out)
{
	uint64_t *roots = roots_room(engine, which, from);
	size_t count = 0;
	size_t at;

	if (!roots)
		return -ENOMEM;
	for (at = 0; at < from->count; at++)
		if (!live_extent_roots_have(these, from->roots[at]))
			roots[count++] = from->roots[at];
	*out = (struct live_extent_roots){ roots, count };
	return 0;
}

int live_extent_roots_with(struct live_extent *engine, unsigned which,
			   const struct live_extent_roots *from, uint64_t root,
			   struct live_extent_roots *out)
{
	uint64_t *roots = roots_room(engine, which, from);
	size_t below = 0;

	if (!roots)
		return -ENOMEM;
	while (below < from->count && from->roots[below] < root)
		below++;
	if (from->count) {
		memmove(roots, from->roots, below * sizeof(*roots));
		memmove(roots + below + 1, from->roots + below,
			(from->count - below) * sizeof(*roots));
	}
	roots[below] = root;
	*out = (struct live_extent_roots){ roots, from->count + 1 };
	return 0;
}
