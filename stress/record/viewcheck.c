/* SPDX-License-Identifier: MIT */
#include "stress/record/viewcheck.h"

void viewcheck_init(struct viewcheck *views, unsigned count)
{
	unsigned at;

	views->count = count;
	for (at = 0; at < VIEWCHECK_MAX; at++) {
		/* Relaxed, both: before the threads begin. */
		order_store_relaxed(&views->slots[at].cut, VIEWCHECK_NONE);
		order_store_relaxed(&views->slots[at].passed, 0);
	}
}

void viewcheck_hold(struct viewcheck *views, unsigned slot, uint64_t cut)
{
	/* VIEWCHECK.cut: that the view is held. */
	order_store_release(&views->slots[slot].cut, cut);
}

void viewcheck_leave(struct viewcheck *views, unsigned slot)
{
	/* Relaxed: seen late it would say that a view is held which is not. The release comes after. */
	order_store_relaxed(&views->slots[slot].cut, VIEWCHECK_NONE);
}

bool viewcheck_is_passed(const struct viewcheck *views, unsigned slot, uint64_t cut)
{
	/* Relaxed: whoever ran heads has most likely stored it by now; cuts differ, so it is ours. */
	return order_load_relaxed(&views->slots[slot].passed) == cut;
}
