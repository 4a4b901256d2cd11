// SPDX-License-Identifier: MIT
#include "core/base/alloc.h"
#include "core/qgroup/live_sets_impl.h"

/* Relaxed, all of it: nobody beside it; the next phase is begun by a release. */
void live_sets_clear(struct live_sets *sets)
{
	uint32_t limit = live_sets_limit(sets);
	uint32_t at;

	for (at = 1; at < limit; at++)
		live_sets_strip(live_sets_slot(sets, at));
	for (at = 0; at <= sets->mask; at++)
		order_store_relaxed(&sets->buckets[at], LIVE_SET_EMPTY);
	for (at = 0; at < sets->list_count; at++) {
		alloc_free(sets->lists[at].ids);
		sets->lists[at] = (struct live_sets_list){ 0 };
	}
	*live_sets_slot(sets, LIVE_SET_EMPTY) = (struct live_set){ .forward = LIVE_SET_NONE };
	order_store_relaxed(&sets->next_id, 1);
	order_store_relaxed(&sets->free_left, 0);
	sets->free_settled = 0;
	sets->settled = 1;
	sets->figures = (struct live_sets_figures){ .rewritten = sets->figures.rewritten };
}
