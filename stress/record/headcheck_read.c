/* SPDX-License-Identifier: MIT */
/* What others ask of the sums of runs: one extent while runs go on, transactions at rest. */
#include <inttypes.h>
#include <stdlib.h>

#include "stress/record/faults.h"
#include "stress/record/headcheck.h"

bool headcheck_extent_read(const struct headcheck *check, uint32_t extent,
			   struct headcheck_sums *sums)
{
	const struct headcheck_extent *from = &check->extents[extent];

	/* EXTENT.version: sees the sums of that version, or later ones. */
	sums->version = order_load_acquire(&from->version);
	/* EXTENT.sums: with a later one, the version is seen to have moved. */
	sums->refs = order_load_acquire(&from->refs);
	sums->items = order_load_acquire(&from->items);
	sums->weighted = order_load_acquire(&from->weighted);
	return !(sums->version & 1) && headcheck_extent_same(check, extent, sums);
}

bool headcheck_extent_same(const struct headcheck *check, uint32_t extent,
			   const struct headcheck_sums *sums)
{
	/* Relaxed: what the caller has seen since was acquired. */
	return order_load_relaxed(&check->extents[extent].version) == sums->version;
}

static int headcheck_cut_order(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

void headcheck_commits(const struct headcheck *check, uint64_t *cuts, size_t count)
{
	uint64_t last = check->transaction;
	uint64_t transaction;

	qsort(cuts, count, sizeof(cuts[0]), headcheck_cut_order);
	if (last > count + 1)
		faults_report("transaction %" PRIu64 " after %zu commits", last, count);
	for (transaction = 1; transaction <= last && transaction < HEADCHECK_TRANSACTIONS;
	     transaction++) {
		const struct headcheck_range *range = &check->ranges[transaction];

		if (!range->lowest)
			continue;
		if ((transaction > 1 && transaction - 2 < count &&
		     range->lowest <= cuts[transaction - 2]) ||
		    (transaction - 1 < count && range->highest > cuts[transaction - 1]))
			faults_report("transaction %" PRIu64 " has numbers %" PRIu64 " to %" PRIu64
				      ", but was ended by %" PRIu64 ", the one before by %" PRIu64,
				      transaction, range->lowest, range->highest,
				      transaction - 1 < count ? cuts[transaction - 1] : UINT64_MAX,
				      transaction > 1 && transaction - 2 < count ?
					      cuts[transaction - 2] :
					      0);
	}
}
