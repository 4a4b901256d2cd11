/* SPDX-License-Identifier: MIT */
#include "core/forest/space_group.h"

#include "core/base/alloc.h"

#define GROUP_WORD 64U

struct space_group *space_group_create(uint64_t bytenr, uint64_t bytes, enum space_kind kind,
				       bool mixed)
{
	struct space_group *group = alloc_zeroed(1, sizeof(*group));
	uint64_t units = bytes / SPACE_UNIT;

	if (!group)
		return NULL;
	group->bits = alloc_zeroed(units / GROUP_WORD + 1, sizeof(uint64_t));
	if (!group->bits) {
		alloc_free(group);
		return NULL;
	}
	group->bytenr = bytenr;
	group->bytes = bytes;
	group->kind = kind;
	group->mixed = mixed;
	/* Relaxed: before anybody uses it. */
	order_store_relaxed(&group->free, units);
	group->longest = units;
	lock_init(&group->lock, LOCK_RANK_SPACE_GROUP, "forest.space.group");
	return group;
}

void space_group_destroy(struct space_group *group)
{
	if (!group)
		return;
	lock_destroy(&group->lock);
	alloc_free(group->bits);
	alloc_free(group);
}

static uint64_t group_units(const struct space_group *group)
{
	return group->bytes / SPACE_UNIT;
}

/* The first unit from `at` on, below `end`, whose bit is (`used`) or is not set; `end` if there is none. */
static uint64_t group_next(const struct space_group *group, uint64_t at, uint64_t end, bool used)
{
	while (at < end) {
		uint64_t word = group->bits[at / GROUP_WORD];

		word = (used ? word : ~word) >> (at % GROUP_WORD);
		if (word) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at += GROUP_WORD - at % GROUP_WORD;
	}
	return end;
}

static uint64_t group_free(const struct space_group *group)
{
	/* Relaxed: by the lock. */
	return order_load_relaxed(&group->free);
}

static uint64_t group_mask(uint64_t at, uint64_t count)
{
	uint64_t ones = count >= GROUP_WORD ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	return ones << (at % GROUP_WORD);
}

/* Units of one word, from `at` on. */
static uint64_t group_step(uint64_t at, uint64_t count)
{
	uint64_t room = GROUP_WORD - at % GROUP_WORD;

	return count < room ? count : room;
}

static void group_set(struct space_group *group, uint64_t at, uint64_t count, bool used)
{
	uint64_t left = group_free(group);
	uint64_t step;

	/* Relaxed: by the lock; others take it for a hint. */
	order_store_relaxed(&group->free, used ? left - count : left + count);
	/* At most two runs, none longer than the longest, have become one with it. */
	if (!used)
		group->longest = 2 * group->longest + count;
	if (group->longest > group_units(group))
		group->longest = group_units(group);
	for (; count; at += step, count -= step) {
		step = group_step(at, count);
		if (used)
			group->bits[at / GROUP_WORD] |= group_mask(at, step);
		else
			group->bits[at / GROUP_WORD] &= ~group_mask(at, step);
	}
}

/* Free units from `at` on, up to the end and to `most`, a multiple of `align`; `at` is free and aligned. */
static uint64_t group_run(const struct space_group *group, uint64_t at, uint64_t most,
			  unsigned align)
{
	uint64_t units = group_units(group);
	uint64_t end = most < units - at ? at + most : units;
	uint64_t count = group_next(group, at, end, true) - at;

	return count - count % align;
}

/* Of the units [from, end). */
static uint64_t group_take_range(struct space_group *group, uint64_t from, uint64_t end,
				 uint64_t units, unsigned align, struct space_piece *pieces,
				 unsigned piece_count, unsigned *taken)
{
	uint64_t got = 0;
	uint64_t at = group_next(group, from, end, false);

	while (at < end && got < units && *taken < piece_count) {
		uint64_t aligned = (at + align - 1) / align * align;
		uint64_t run = 0;

		if (aligned + align <= group_units(group) &&
		    group_next(group, at, aligned + 1, true) == aligned + 1)
			run = group_run(group, aligned, units - got, align);
		if (run) {
			group_set(group, aligned, run, true);
			pieces[(*taken)++] = (struct space_piece){
				group->bytenr + aligned * SPACE_UNIT,
				run * SPACE_UNIT,
			};
			got += run;
			group->hint = aligned + run;
			at = group_next(group, aligned + run, end, false);
		} else {
			at = group_next(group, group_next(group, at, end, true), end, false);
		}
	}
	return got;
}

uint64_t space_group_take_some(struct space_group *group, uint64_t units, unsigned align,
			       struct space_piece *pieces, unsigned piece_count, unsigned *taken)
{
	uint64_t hint;
	uint64_t got;

	lock_acquire(&group->lock);
	hint = group->hint;
	got = group_take_range(group, hint, group_units(group), units, align, pieces, piece_count,
			       taken);
	if (got < units)
		got += group_take_range(group, 0, hint, units - got, align, pieces, piece_count,
					taken);
	lock_release(&group->lock);
	return got;
}

/* The first run of `units`, or their number; the longest that was passed in `*longest`. */
static uint64_t group_find_run(const struct space_group *group, uint64_t units, uint64_t *longest)
{
	uint64_t end = group_units(group);
	uint64_t at = group_next(group, 0, end, false);

	while (at < end) {
		uint64_t behind = group_next(group, at, end, true);

		if (behind - at >= units)
			return at;
		*longest = behind - at > *longest ? behind - at : *longest;
		at = group_next(group, behind, end, false);
	}
	return end;
}

uint64_t space_group_take_run(struct space_group *group, uint64_t units, uint64_t *longest)
{
	uint64_t bytenr = 0;
	uint64_t found = 0;
	uint64_t at;

	lock_acquire(&group->lock);
	if (group_free(group) >= units && group->longest >= units) {
		at = group_find_run(group, units, &found);
		if (at < group_units(group)) {
			group_set(group, at, units, true);
			bytenr = group->bytenr + at * SPACE_UNIT;
		} else {
			group->longest = found;
		}
	}
	if (group->longest > group_free(group))
		group->longest = group_free(group);
	if (!bytenr && group->longest > *longest)
		*longest = group->longest;
	lock_release(&group->lock);
	return bytenr;
}

/* Whether all units are in use (or free). */
static bool group_is(const struct space_group *group, uint64_t at, uint64_t count, bool used)
{
	return group_next(group, at, at + count, !used) == at + count;
}

static bool group_change(struct space_group *group, uint64_t bytenr, uint64_t bytes, bool used)
{
	uint64_t at = (bytenr - group->bytenr) / SPACE_UNIT;
	uint64_t count = bytes / SPACE_UNIT;
	bool good;

	lock_acquire(&group->lock);
	good = group_is(group, at, count, !used);
	if (good)
		group_set(group, at, count, used);
	lock_release(&group->lock);
	return good;
}

bool space_group_mark(struct space_group *group, uint64_t bytenr, uint64_t bytes)
{
	return group_change(group, bytenr, bytes, true);
}

bool space_group_free(struct space_group *group, uint64_t bytenr, uint64_t bytes)
{
	return group_change(group, bytenr, bytes, false);
}

bool space_group_is_used(struct space_group *group, uint64_t bytenr, uint64_t bytes)
{
	bool used;

	lock_acquire(&group->lock);
	used = group_is(group, (bytenr - group->bytenr) / SPACE_UNIT, bytes / SPACE_UNIT, true);
	lock_release(&group->lock);
	return used;
}
