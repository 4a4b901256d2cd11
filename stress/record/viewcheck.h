/* SPDX-License-Identifier: MIT */
/*
 * The oracle's list of views that are held. Who may call: a holder its own slot; viewcheck_head
 * whoever runs heads.
 *
 * A slot is filled after rs_view_acquire has returned and emptied before rs_view_release is
 * called, so that a number past a cut that stands in one is past a view that is held.
 */
#ifndef REFSTORM_STRESS_RECORD_VIEWCHECK_H
#define REFSTORM_STRESS_RECORD_VIEWCHECK_H

#include "core/base/order.h"

#define VIEWCHECK_MAX 16U
#define VIEWCHECK_NONE UINT64_MAX

struct viewcheck_slot {
	order_u64 cut;
	order_u64 passed; /* the cut, if a number past it was run all the same */
} __attribute__((aligned(ORDER_LINE)));

struct viewcheck {
	struct viewcheck_slot slots[VIEWCHECK_MAX];
	unsigned count;
};

void viewcheck_init(struct viewcheck *views, unsigned count);

void viewcheck_hold(struct viewcheck *views, unsigned slot, uint64_t cut);
void viewcheck_leave(struct viewcheck *views, unsigned slot);

/* Of a view that was released, and had not been ended: something past it has been run. */
bool viewcheck_is_passed(const struct viewcheck *views, unsigned slot, uint64_t cut);

/* A head is run that has this number. */
static inline void viewcheck_head(struct viewcheck *views, uint64_t highest)
{
	unsigned at;

	for (at = 0; at < views->count; at++) {
		/* VIEWCHECK.cut: the holder has acquired the view. */
		uint64_t cut = order_load_acquire(&views->slots[at].cut);

		if (__builtin_expect(highest > cut, 0))
			/* Relaxed: a late one cannot be taken for that of another view. */
			order_store_relaxed(&views->slots[at].passed, cut);
	}
}

#endif /* REFSTORM_STRESS_RECORD_VIEWCHECK_H */
