/* SPDX-License-Identifier: MIT */
/* Runs of the lineage: which roots a group above level 0 has, and how a set of roots lies to them. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/qgroup/live_groups_impl.h"

/* How many boundaries, from `low` on counted with those before, stand at or before the element. */
static size_t runs_upto(const struct lineage *lineage, const uint32_t *boundaries, size_t low,
			size_t count, uint32_t element)
{
	const struct lineage_element *elements = lineage->elements;
	uint64_t label = elements[element].label;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (elements[boundaries[middle]].label <= label)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t live_boundary_find(const struct lineage *lineage, const uint32_t *boundaries, size_t count,
			  uint32_t boundary)
{
	size_t upto = runs_upto(lineage, boundaries, 0, count, boundary);

	return upto && boundaries[upto - 1] == boundary ? upto - 1 : count;
}

bool live_runs_has(const struct lineage *lineage, const struct live_runs *runs, uint32_t element)
{
	return runs_upto(lineage, runs->boundaries, 0, runs->count, element) % 2;
}

unsigned live_runs_compare(const struct lineage *lineage, const struct live_runs *runs,
			   const struct live_part *part)
{
	const uint32_t *members = runs->boundaries;
	unsigned result = LIVE_INSIDE;
	size_t upto = 0;
	uint32_t at;

	for (at = 0; at < part->count && result != LIVE_MEETS; at += 2) {
		uint32_t end = part->boundaries[at + 1];

		if (at == part->without)
			continue;
		upto = runs_upto(lineage, members, upto, runs->count, part->boundaries[at]);
		if (upto % 2) {
			/* It begins inside of a run. */
			result |= LIVE_MEETS;
			if (lineage_before(lineage, members[upto], end))
				result &= ~LIVE_INSIDE;
			continue;
		}
		result &= ~LIVE_INSIDE;
		if (upto == runs->count)
			break; /* nor are those behind it members */
		if (lineage_before(lineage, members[upto], end))
			result |= LIVE_MEETS;
	}
	return result;
}

static void runs_count_set(struct live_groups *groups, struct live_runs *runs, size_t count)
{
	groups->populated += (count != 0) - (size_t)(runs->count != 0);
	runs->count = count;
}

int live_runs_reserve(struct live_groups *groups, struct live_runs *runs)
{
	uint32_t *larger = live_groups_grow(groups, runs->boundaries, runs->count, 2,
					    &runs->capacity, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	runs->boundaries = larger;
	return 0;
}

void live_runs_clear(struct live_groups *groups, struct live_runs *runs)
{
	runs_count_set(groups, runs, 0);
}

/* A boundary at the element if there was none, and none if there was. */
static void runs_flip(struct live_groups *groups, struct live_runs *runs, uint32_t boundary)
{
	uint32_t *boundaries = runs->boundaries;
	size_t count = runs->count;
	size_t upto = runs_upto(groups->lineage, boundaries, 0, count, boundary);

	if (upto && boundaries[upto - 1] == boundary) {
		memmove(&boundaries[upto - 1], &boundaries[upto],
			(count - upto) * sizeof(*boundaries));
		runs_count_set(groups, runs, count - 1);
		return;
	}
	assert(count < runs->capacity);
	memmove(&boundaries[upto + 1], &boundaries[upto], (count - upto) * sizeof(*boundaries));
	boundaries[upto] = boundary;
	runs_count_set(groups, runs, count + 1);
}

void live_runs_toggle(struct live_groups *groups, struct live_runs *runs, uint32_t element)
{
	runs_flip(groups, runs, element);
	runs_flip(groups, runs, lineage_next(groups->lineage, element));
}

void live_runs_append(struct live_groups *groups, struct live_runs *runs, uint32_t element)
{
	size_t count = runs->count;

	if (count && runs->boundaries[count - 1] == element) {
		runs->boundaries[count - 1] = lineage_next(groups->lineage, element);
		return;
	}
	runs->boundaries[count] = element;
	runs->boundaries[count + 1] = lineage_next(groups->lineage, element);
	runs_count_set(groups, runs, count + 2);
}

void live_runs_drop(struct live_groups *groups, struct live_runs *runs, uint32_t element)
{
	uint32_t next = lineage_next(groups->lineage, element);
	size_t at = live_boundary_find(groups->lineage, runs->boundaries, runs->count, element);

	if (at == runs->count)
		return;
	/* It means its successor from now on; a run or a gap between the two vanishes. */
	if (at + 1 < runs->count && runs->boundaries[at + 1] == next)
		live_runs_toggle(groups, runs, element);
	else
		runs->boundaries[at] = next;
}
