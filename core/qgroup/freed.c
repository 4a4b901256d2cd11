// SPDX-License-Identifier: MIT
#include "core/qgroup/freed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"

#define NO_SET UINT32_MAX

/* What freed_best holds while it goes. `left` are the roots of a set that are not deleted yet. */
struct best {
	const struct flat_sets *flat;
	uint32_t *left_count;               /* of each set */
	uint64_t *left_sum;                 /* of their positions: of a single one, its position */
	uint32_t *with_left;                /* first set with so many left, or NO_SET */
	uint32_t *next;                     /* set with as many left as this one */
	uint32_t left_max;                  /* of all sets at the start */
	uint64_t *gain;                     /* of the root at each position */
	struct freed_candidate *candidates; /* by position; those deleted are taken out */
	uint32_t candidate_count;
	struct freed_candidate *tied;
	uint32_t tied_count;
	uint64_t *shared; /* of each tied one, and one more */
};

static uint64_t entry_bytes(const struct ledger_entry *entry)
{
	return entry->data + entry->metadata;
}

uint64_t freed_by_all(const struct flat_sets *flat, const uint32_t *before)
{
	uint64_t sum = 0;
	uint32_t at;

	for (at = 0; at < flat->count; at++)
		if (flat_sets_count(flat, at, before) == flat_sets_count(flat, at, flat->roots))
			sum += entry_bytes(&flat->bytes[at]);
	return sum;
}

/* Runs hold roots only, so a set of one root begins with it. */
void freed_by_each(const struct flat_sets *flat, uint64_t *bytes)
{
	uint32_t at;

	for (at = 0; at < flat->count; at++)
		if (flat_sets_count(flat, at, flat->roots) == 1)
			bytes[flat->boundaries[flat->first[at]]] += entry_bytes(&flat->bytes[at]);
}

static void best_destroy(struct best *best)
{
	alloc_free(best->left_count);
	alloc_free(best->left_sum);
	alloc_free(best->with_left);
	alloc_free(best->next);
	alloc_free(best->gain);
	alloc_free(best->tied);
	alloc_free(best->shared);
}

/* Links the set, and if one root is left, that one would free it. */
static void best_note(struct best *best, uint32_t set)
{
	uint32_t left = best->left_count[set];

	best->next[set] = best->with_left[left];
	best->with_left[left] = set;
	if (left == 1)
		best->gain[best->left_sum[set]] += entry_bytes(&best->flat->bytes[set]);
}

static void best_forget_notes(struct best *best)
{
	uint32_t left;

	for (left = 0; left <= best->left_max; left++)
		best->with_left[left] = NO_SET;
	/* Only candidates are asked for their gain. */
	for (left = 0; left < best->candidate_count; left++)
		best->gain[best->candidates[left].position] = 0;
}

static int best_init(struct best *best, uint32_t positions)
{
	const struct flat_sets *flat = best->flat;
	uint32_t roots = flat->roots[positions];
	uint32_t set;

	best->left_max = roots;
	best->left_count = alloc_zeroed(flat->count + 1U, sizeof(*best->left_count));
	best->left_sum = alloc_zeroed(flat->count + 1U, sizeof(*best->left_sum));
	best->with_left = alloc_array(roots + 1U, sizeof(*best->with_left));
	best->next = alloc_array(flat->count + 1U, sizeof(*best->next));
	best->gain = alloc_zeroed(positions + 1U, sizeof(*best->gain));
	best->tied = alloc_array(best->candidate_count + 1U, sizeof(*best->tied));
	best->shared = alloc_array(best->candidate_count + 1U, sizeof(*best->shared));
	if (!best->left_count || !best->left_sum || !best->with_left || !best->next ||
	    !best->gain || !best->tied || !best->shared)
		return -ENOMEM;
	best_forget_notes(best);
	for (set = 0; set < flat->count; set++) {
		uint32_t at;

		for (at = flat->first[set]; at < flat->first[set + 1]; at += 2) {
			uint64_t begin = flat->boundaries[at];
			uint64_t end = flat->boundaries[at + 1];

			best->left_count[set] += (uint32_t)(end - begin);
			best->left_sum[set] += (begin + end - 1) * (end - begin) / 2;
		}
		best_note(best, set);
	}
	return 0;
}

static bool set_holds(const struct flat_sets *flat, uint32_t set, uint32_t position)
{
	uint32_t at;

	for (at = flat->first[set]; at < flat->first[set + 1]; at += 2)
		if (position < flat->boundaries[at + 1])
			return position >= flat->boundaries[at];
	return false;
}

/* Takes the root out of all sets and the candidates. */
static void best_delete(struct best *best, struct freed_candidate root)
{
	uint32_t kept = 0;
	uint32_t at;

	for (at = 0; at < best->candidate_count; at++)
		if (best->candidates[at].position != root.position)
			best->candidates[kept++] = best->candidates[at];
	best->candidate_count = kept;
	best_forget_notes(best);
	for (at = 0; at < best->flat->count; at++) {
		if (set_holds(best->flat, at, root.position)) {
			best->left_count[at]--;
			best->left_sum[at] -= root.position;
		}
		best_note(best, at);
	}
}

/* The first tied root at `position` or behind it. */
static uint32_t tied_from(const struct best *best, uint32_t position)
{
	uint32_t low = 0;
	uint32_t high = best->tied_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (best->tied[middle].position < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Leaves those of the tied that have most bytes in the sets of the list that begins with `set`. */
static void narrow(struct best *best, uint32_t set)
{
	const struct flat_sets *flat = best->flat;
	uint64_t most = 0;
	uint64_t sum = 0;
	uint32_t kept = 0;
	uint32_t at;

	memset(best->shared, 0, (best->tied_count + 1U) * sizeof(*best->shared));
	/* Each run adds its bytes where it begins and takes them away where it ends. */
	for (; set != NO_SET; set = best->next[set])
		for (at = flat->first[set]; at < flat->first[set + 1]; at += 2) {
			uint64_t bytes = entry_bytes(&flat->bytes[set]);

			best->shared[tied_from(best, flat->boundaries[at])] += bytes;
			best->shared[tied_from(best, flat->boundaries[at + 1])] -= bytes;
		}
	for (at = 0; at < best->tied_count; at++) {
		sum += best->shared[at];
		if (sum > most)
			kept = 0;
		if (sum < most)
			continue;
		most = sum;
		best->tied[kept++] = best->tied[at];
	}
	best->tied_count = kept;
}

static struct freed_candidate best_choose(struct best *best)
{
	struct freed_candidate lowest;
	uint64_t most = 0;
	uint32_t at;

	best->tied_count = 0;
	for (at = 0; at < best->candidate_count; at++) {
		uint64_t gain = best->gain[best->candidates[at].position];

		if (gain > most)
			best->tied_count = 0;
		if (gain < most)
			continue;
		most = gain;
		best->tied[best->tied_count++] = best->candidates[at];
	}
	for (at = 2; at <= best->left_max && best->tied_count > 1; at++)
		if (best->with_left[at] != NO_SET)
			narrow(best, best->with_left[at]);
	lowest = best->tied[0];
	for (at = 1; at < best->tied_count; at++)
		if (best->tied[at].id < lowest.id)
			lowest = best->tied[at];
	return lowest;
}

static int compare_positions(const void *a, const void *b)
{
	uint32_t left = ((const struct freed_candidate *)a)->position;
	uint32_t right = ((const struct freed_candidate *)b)->position;

	return left < right ? -1 : left > right;
}

int freed_best(const struct flat_sets *flat, struct freed_candidate *candidates, uint32_t count,
	       struct freed_step *steps, uint32_t most)
{
	struct best best = { .flat = flat, .candidates = candidates, .candidate_count = count };
	uint64_t total = 0;
	uint32_t at;
	int ret;

	if (count)
		qsort(candidates, count, sizeof(*candidates), compare_positions);
	ret = best_init(&best, flat->positions);
	for (at = 0; !ret && at < most && best.candidate_count; at++) {
		struct freed_candidate root = best_choose(&best);

		total += best.gain[root.position];
		steps[at] = (struct freed_step){ root, best.gain[root.position], total };
		best_delete(&best, root);
	}
	best_destroy(&best);
	return ret;
}
