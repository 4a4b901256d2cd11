/* SPDX-License-Identifier: MIT */
#include "core/forest/space.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/rcu.h"
#include "core/disk/format.h"
#include "core/forest/space_group.h"

#define SPACE_BEGIN (UINT64_C(1) << 30)
#define SPACE_DATA_GROUP (UINT64_C(1) << 30)
#define SPACE_METADATA_GROUP (UINT64_C(256) << 20)
#define SPACE_GROUP_MIN (UINT64_C(1) << 20)
/* A window is filled with so much, and what is larger than a quarter of that does not go through it. */
#define SPACE_WINDOW_BYTES (UINT64_C(1) << 20)
#define SPACE_WINDOW_BLOCKS 64U
/* What is given back makes a window of data no larger. */
#define SPACE_WINDOW_KEEP (2 * SPACE_WINDOW_BYTES)

/* Sorted by address. By the space's lock. */
struct space_groups {
	struct space_group **at;
	size_t count;
	size_t capacity;
};

int space_init(struct space *space, uint32_t node_bytes, uint64_t capacity)
{
	memset(space, 0, sizeof(*space));
	lock_init(&space->lock, LOCK_RANK_SPACE, "forest.space");
	space->node_bytes = node_bytes;
	space->capacity = capacity - capacity % FORMAT_NODE_BYTES_MAX;
	space->end = SPACE_BEGIN;
	space->groups = alloc_zeroed(1, sizeof(*space->groups));
	if (!space->groups) {
		lock_destroy(&space->lock);
		return -ENOMEM;
	}
	return 0;
}

void space_destroy(struct space *space)
{
	size_t at;

	if (!space->groups)
		return;
	for (at = 0; at < space->groups->count; at++)
		space_group_destroy(space->groups->at[at]);
	alloc_free(space->groups->at);
	alloc_free(space->groups);
	lock_destroy(&space->lock);
}

/* The first group that does not end before `bytenr`. */
static size_t space_lower_bound(const struct space_groups *groups, uint64_t bytenr)
{
	size_t first = 0;
	size_t count = groups->count;

	while (count) {
		const struct space_group *group = groups->at[first + count / 2];

		if (group->bytenr + group->bytes <= bytenr) {
			first += count / 2 + 1;
			count -= count / 2 + 1;
		} else {
			count /= 2;
		}
	}
	return first;
}

static int space_insert_locked(struct space *space, struct space_group *group)
{
	struct space_groups *groups = space->groups;
	size_t at = space_lower_bound(groups, group->bytenr);
	void *grown;

	if (at < groups->count && groups->at[at]->bytenr < group->bytenr + group->bytes)
		return -EUCLEAN;
	grown = array_grow(groups->at, groups->count, 1, &groups->capacity, sizeof(groups->at[0]));
	if (!grown)
		return -ENOMEM;
	groups->at = grown;
	memmove(groups->at + at + 1, groups->at + at, (groups->count - at) * sizeof(groups->at[0]));
	groups->at[at] = group;
	groups->count++;
	space->grouped += group->bytes;
	if (group->bytenr + group->bytes > space->end)
		space->end = group->bytenr + group->bytes;
	return 0;
}

int space_add_group(struct space *space, uint64_t bytenr, uint64_t bytes, enum space_kind kind,
		    bool mixed)
{
	struct space_group *group = space_group_create(bytenr, bytes, kind, mixed);
	int result;

	if (!group)
		return -ENOMEM;
	lock_acquire(&space->lock);
	result = space_insert_locked(space, group);
	lock_release(&space->lock);
	if (result)
		space_group_destroy(group);
	return result;
}

/* The group that the range lies in; NULL if it lies in none. Groups stay until the end. */
static struct space_group *space_group_of(const struct space *space, uint64_t bytenr,
					  uint64_t bytes)
{
	struct lock *lock = (struct lock *)&space->lock;
	struct space_group *group = NULL;
	size_t at;

	lock_acquire(lock);
	at = space_lower_bound(space->groups, bytenr);
	if (at < space->groups->count && space_group_holds(space->groups->at[at], bytenr, bytes))
		group = space->groups->at[at];
	lock_release(lock);
	return group;
}

static void space_count(struct space *space, const struct space_group *group, uint64_t bytes)
{
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&space->used[group->kind], bytes);
}

int space_mark(struct space *space, uint64_t bytenr, uint64_t bytes)
{
	struct space_group *group = space_group_of(space, bytenr, bytes);

	if (!group || bytenr % SPACE_UNIT || bytes % SPACE_UNIT ||
	    !space_group_mark(group, bytenr, bytes))
		return -EUCLEAN;
	space_count(space, group, bytes);
	return 0;
}

void space_free(struct space *space, uint64_t bytenr, uint64_t bytes)
{
	struct space_group *group = space_group_of(space, bytenr, bytes);
	bool was_used = group && space_group_free(group, bytenr, bytes);

	assert(was_used);
	if (was_used)
		/* Relaxed: a sum. */
		order_fetch_sub_relaxed(&space->used[group->kind], bytes);
}

bool space_is_used(const struct space *space, uint64_t bytenr, uint64_t bytes)
{
	struct space_group *group = space_group_of(space, bytenr, bytes);

	return group && space_group_is_used(group, bytenr, bytes);
}

uint64_t space_used(const struct space *space, enum space_kind kind)
{
	/* Relaxed: a number that was right a moment ago. */
	return order_load_relaxed(&space->used[kind]);
}

/*
 * The group at or, going round, behind number `at` that may have so many units of the kind free; the
 * `turns` that it takes are counted down. NULL: none has in as many turns.
 */
static struct space_group *space_pick(struct space *space, enum space_kind kind, uint64_t units,
				      size_t *at, size_t *turns)
{
	struct space_groups *groups = space->groups;
	struct space_group *found = NULL;

	lock_acquire(&space->lock);
	for (; *turns && groups->count && !found; --*turns) {
		struct space_group *group = groups->at[*at % groups->count];

		/* Relaxed: a hint; who takes looks again. */
		if ((group->kind == kind || group->mixed) &&
		    order_load_relaxed(&group->free) >= units)
			found = group;
		else
			*at = (*at + 1) % groups->count;
	}
	lock_release(&space->lock);
	return found;
}

static uint64_t space_group_bytes(const struct space *space, enum space_kind kind,
				  uint64_t bytes_min)
{
	uint64_t usual = kind == SPACE_DATA ? SPACE_DATA_GROUP : SPACE_METADATA_GROUP;
	/* A small space is not given away with the first group. */
	uint64_t share = space->capacity / 8;
	uint64_t left = space->capacity > space->grouped ? space->capacity - space->grouped : 0;
	uint64_t bytes = share < usual ? share : usual;

	bytes = bytes < SPACE_GROUP_MIN ? SPACE_GROUP_MIN : bytes;
	bytes_min +=
		(FORMAT_NODE_BYTES_MAX - bytes_min % FORMAT_NODE_BYTES_MAX) % FORMAT_NODE_BYTES_MAX;
	bytes = bytes < bytes_min && bytes_min <= left ? bytes_min : bytes;
	bytes = bytes < left ? bytes : left;
	return bytes - bytes % FORMAT_NODE_BYTES_MAX;
}

/* One more group, of `bytes_min` at least if there is as much left. 0, -ENOSPC, -ENOMEM. */
static int space_grow(struct space *space, enum space_kind kind, uint64_t bytes_min)
{
	struct space_group *group;
	uint64_t bytes;
	int result;

	lock_acquire(&space->lock);
	bytes = space_group_bytes(space, kind, bytes_min);
	group = bytes ? space_group_create(space->end, bytes, kind, false) : NULL;
	result = group ? space_insert_locked(space, group) : bytes ? -ENOMEM : -ENOSPC;
	lock_release(&space->lock);
	if (result)
		space_group_destroy(group);
	return result;
}

void space_window_init(struct space_window *window, struct space *space, enum space_kind kind)
{
	window->space = space;
	window->kind = kind;
	/* Relaxed: a number. Those that come one behind the other begin in different groups. */
	window->group = order_fetch_add_relaxed(&space->windows[kind], 1);
	window->count = 0;
	window->bytes = 0;
}

void space_window_drain(struct space_window *window)
{
	while (window->count) {
		const struct space_piece *piece = &window->pieces[--window->count];

		space_free(window->space, piece->bytenr, piece->bytes);
	}
	window->bytes = 0;
}

static size_t space_count_groups(struct space *space)
{
	size_t count;

	lock_acquire(&space->lock);
	count = space->groups->count;
	lock_release(&space->lock);
	return count;
}

/* Up to `units` more, from the groups that there are. Whether there was any. */
static bool space_window_fill(struct space_window *window, uint64_t units)
{
	struct space *space = window->space;
	unsigned align = window->kind == SPACE_METADATA ? space->node_bytes / SPACE_UNIT : 1;
	struct space_group *group;
	bool any = false;
	size_t turns = space_count_groups(space);

	while (units && window->count < SPACE_PIECES) {
		uint64_t got;

		group = space_pick(space, window->kind, align, &window->group, &turns);
		if (!group)
			break;
		got = space_group_take_some(group, units, align, window->pieces, SPACE_PIECES,
					    &window->count);
		units -= got;
		window->bytes += got * SPACE_UNIT;
		space_count(space, group, got * SPACE_UNIT);
		any = any || got;
		if (units)
			window->group++;
	}
	return any;
}

/* The same, with a new group where there is none, and what commits have freed a moment ago. */
static int space_window_refill(struct space_window *window, uint64_t units)
{
	int result = 0;

	if (space_window_fill(window, units))
		return 0;
	result = space_grow(window->space, window->kind, 0);
	if (result == -ENOSPC) {
		rcu_defer_barrier();
		return space_window_fill(window, units) ? 0 : -ENOSPC;
	}
	/* Another may have emptied the group already: the caller tries again. */
	if (!result)
		(void)!space_window_fill(window, units);
	return result;
}

/* From the front of a piece of the window that is large enough. 0: there is none. */
static uint64_t space_window_take(struct space_window *window, uint64_t bytes)
{
	unsigned at = window->count;

	while (at--) {
		struct space_piece *piece = &window->pieces[at];
		uint64_t bytenr = piece->bytenr;

		if (piece->bytes < bytes)
			continue;
		piece->bytenr += bytes;
		piece->bytes -= bytes;
		window->bytes -= bytes;
		if (!piece->bytes)
			*piece = window->pieces[--window->count];
		return bytenr;
	}
	return 0;
}

/*
 * One run of all groups of the kind. 0: there is none, and then `*longest`, unless NULL, says how
 * long the longest may be.
 */
static uint64_t space_take_run(struct space_window *window, uint64_t bytes, uint64_t *longest)
{
	struct space *space = window->space;
	/* Groups are only added; one that comes between is found the next time. */
	size_t turns = space_count_groups(space);
	struct space_group *group;
	uint64_t bytenr = 0;
	uint64_t units = 0;

	while (!bytenr) {
		group = space_pick(space, window->kind, longest ? 1 : bytes / SPACE_UNIT,
				   &window->group, &turns);
		if (!group)
			break;
		bytenr = space_group_take_run(group, bytes / SPACE_UNIT, &units);
		if (bytenr)
			space_count(space, group, bytes);
		else
			window->group++;
	}
	if (longest)
		*longest = units * SPACE_UNIT;
	return bytenr;
}

/* A run of `bytes`, or else the longest that is not below `bytes_min`. 0 or -ENOSPC. */
static int space_take_longest(struct space_window *window, uint64_t bytes, uint64_t bytes_min,
			      uint64_t *bytenr, uint64_t *got)
{
	uint64_t longest = bytes;

	/* Ends: it gets shorter each time. */
	while (longest >= bytes_min && longest) {
		*got = longest;
		*bytenr = space_take_run(window, *got, &longest);
		if (*bytenr)
			return 0;
		longest = longest < *got ? longest : *got - SPACE_UNIT;
	}
	return -ENOSPC;
}

/* From a new group, or from all that there is. */
static int space_take_more(struct space_window *window, uint64_t bytes, uint64_t bytes_min,
			   uint64_t *bytenr, uint64_t *got)
{
	int result;

	/* Ends: what can still be grouped gets less. Another may have emptied the new group. */
	do {
		result = space_grow(window->space, window->kind, bytes_min);
		if (result == -ENOMEM)
			return result;
		if (!space_take_longest(window, bytes, bytes_min, bytenr, got))
			return 0;
	} while (!result);
	/* What commits have freed a moment ago, and what is in the window. */
	rcu_defer_barrier();
	space_window_drain(window);
	return space_take_longest(window, bytes, bytes_min, bytenr, got);
}

int space_take(struct space_window *window, uint64_t bytes, uint64_t bytes_min, uint64_t *bytenr,
	       uint64_t *got)
{
	bool small = bytes <= SPACE_WINDOW_BYTES / 4;

	bytes = bytes < SPACE_EXTENT_MAX ? bytes : SPACE_EXTENT_MAX;
	*got = bytes;
	*bytenr = space_window_take(window, bytes);
	if (!*bytenr && small && window->bytes < SPACE_WINDOW_BYTES / 4 &&
	    space_window_fill(window, SPACE_WINDOW_BYTES / SPACE_UNIT))
		*bytenr = space_window_take(window, bytes);
	if (!*bytenr)
		*bytenr = space_take_run(window, bytes, NULL);
	return *bytenr ? 0 : space_take_more(window, bytes, bytes_min, bytenr, got);
}

int space_blocks_reserve(struct space_window *window, unsigned blocks)
{
	uint32_t node_bytes = window->space->node_bytes;
	unsigned wanted = blocks < SPACE_WINDOW_BLOCKS ? SPACE_WINDOW_BLOCKS : blocks;
	int result = 0;

	assert(blocks <= SPACE_PIECES);
	while (window->bytes < (uint64_t)blocks * node_bytes && !result) {
		uint64_t more = (uint64_t)wanted * node_bytes - window->bytes;

		/* Pieces so small that there is no room for as many: together they have the blocks. */
		assert(window->count < SPACE_PIECES);
		result = space_window_refill(window, more / SPACE_UNIT);
	}
	return result;
}

uint64_t space_block_take(struct space_window *window)
{
	uint64_t bytenr = space_window_take(window, window->space->node_bytes);

	assert(bytenr);
	return bytenr;
}

void space_give_back(struct space_window *window, uint64_t bytenr, uint64_t bytes)
{
	/* Blocks stay, which are reserved for what the writer does; data not beyond measure. */
	if (window->count == SPACE_PIECES ||
	    (window->kind == SPACE_DATA && window->bytes + bytes > SPACE_WINDOW_KEEP)) {
		space_free(window->space, bytenr, bytes);
		return;
	}
	/* Not joined to a neighbour, which may be of another group: no extent lies in two. */
	window->pieces[window->count++] = (struct space_piece){ bytenr, bytes };
	window->bytes += bytes;
}
