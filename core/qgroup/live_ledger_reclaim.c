// SPDX-License-Identifier: MIT
/* What only some roots reference. */
#include <errno.h>
#include <stdlib.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_ledger_impl.h"

/* From here on the pool's workers are worth waking; so many sets a worker takes at a time. */
#define RECLAIM_PARALLEL_MIN 16384U
#define RECLAIM_GRAIN 4096U

/* Roots as runs of the lineage, by labels: half-open, none of which touch. */
struct reclaim {
	const struct live_ledger *ledger;
	uint64_t (*runs)[2];
	size_t count;
	struct pool_range range;
	order_u64 bytes;
};

static int label_compare(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return (first > second) - (first < second);
}

/* The elements' labels, each with that of the next, become runs. */
static void reclaim_join(struct reclaim *reclaim)
{
	size_t count = 0;
	size_t at;

	qsort(reclaim->runs, reclaim->count, sizeof(*reclaim->runs), label_compare);
	for (at = 0; at < reclaim->count; at++) {
		if (count && reclaim->runs[at][0] <= reclaim->runs[count - 1][1]) {
			reclaim->runs[count - 1][1] = reclaim->runs[at][1];
			continue;
		}
		reclaim->runs[count][0] = reclaim->runs[at][0];
		reclaim->runs[count++][1] = reclaim->runs[at][1];
	}
	reclaim->count = count;
}

/* Whether one of the runs has all of this one. */
static bool reclaim_has(const struct reclaim *reclaim, uint64_t begin, uint64_t end)
{
	size_t low = 0;
	size_t high = reclaim->count;

	/* The last run that does not begin behind it. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (reclaim->runs[middle][0] <= begin)
			low = middle + 1;
		else
			high = middle;
	}
	return low && end <= reclaim->runs[low - 1][1];
}

static uint64_t reclaim_set(const struct reclaim *reclaim, uint32_t id)
{
	const struct live_set *set = live_sets_in_use(reclaim->ledger->sets, id);
	const struct lineage_element *elements = reclaim->ledger->lineage.elements;
	const uint32_t *boundaries;
	uint32_t at;

	if (!set || !(set->data + set->metadata))
		return 0;
	boundaries = live_set_boundaries(set);
	for (at = 0; at < set->count; at += 2) {
		if (!reclaim_has(reclaim, elements[boundaries[at]].label,
				 elements[boundaries[at + 1]].label))
			return 0;
	}
	return set->data + set->metadata;
}

static void reclaim_run(void *argument, unsigned worker)
{
	struct reclaim *reclaim = (struct reclaim *)argument;
	uint64_t bytes = 0;
	uint64_t first;
	uint64_t count;

	(void)worker;
	while (pool_range_take(&reclaim->range, &first, &count)) {
		uint64_t at;

		for (at = first; at < first + count; at++)
			bytes += reclaim_set(reclaim, (uint32_t)at);
	}
	/* Relaxed: a sum, read when all workers have returned. */
	order_fetch_add_relaxed(&reclaim->bytes, bytes);
}

int live_ledger_reclaimable(struct live_ledger *ledger, const uint64_t *roots, size_t count,
			    uint64_t *bytes)
{
	struct reclaim reclaim = { .ledger = ledger, .count = count };
	const struct lineage_element *elements = ledger->lineage.elements;
	uint32_t limit = live_sets_limit(ledger->sets);
	size_t at;

	*bytes = 0;
	reclaim.runs = alloc_array(count + 1, sizeof(*reclaim.runs));
	if (!reclaim.runs)
		return -ENOMEM;
	for (at = 0; at < count; at++) {
		uint32_t element = live_roots_find(ledger, roots[at]);

		if (element == LINEAGE_NONE) {
			alloc_free(reclaim.runs);
			return -ENOENT;
		}
		/* A family's end is behind every root. */
		reclaim.runs[at][0] = elements[element].label;
		reclaim.runs[at][1] = elements[elements[element].next].label;
	}
	reclaim_join(&reclaim);
	pool_range_init(&reclaim.range, limit, RECLAIM_GRAIN);
	if (ledger->pool && limit >= RECLAIM_PARALLEL_MIN)
		pool_run(ledger->pool, reclaim_run, &reclaim, NULL);
	else
		reclaim_run(&reclaim, 0);
	*bytes = order_load_relaxed(&reclaim.bytes); /* relaxed: no worker is left */
	alloc_free(reclaim.runs);
	return 0;
}
