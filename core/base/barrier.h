/* SPDX-License-Identifier: MIT */
/*
 * An asymmetric memory barrier: the side that runs often pays nothing, the side that runs seldom
 * asks the kernel for a barrier on every CPU that runs a thread of this process (membarrier).
 *
 * Callers: any thread; barrier_start before the first other call and best before threads are made,
 * since the kernel registers the process fast only while it has one.
 * Guarantee: of two threads, one with store A, barrier_light, load B, and one with store B,
 * barrier_heavy, load A, at least one load sees the other's store. Bare barriers, not ordered
 * operations, because no pair of C11 operations leaves the frequent side free; the data that
 * depend on the outcome are atomics all the same.
 */
#ifndef REFSTORM_BASE_BARRIER_H
#define REFSTORM_BASE_BARRIER_H

#include "core/base/order.h"

/* Finds out what the kernel has. May be called again. */
void barrier_start(void);

/* Whether the kernel can restart all restartable sequences that are in progress. */
bool barrier_can_restart(void);

/* False: barrier_light is a full barrier, since the kernel has no membarrier. */
extern bool barrier_asymmetric;

static inline void barrier_light(void)
{
	if (__builtin_expect(barrier_asymmetric, 1))
		order_fence_compiler();
	else
		order_fence_full();
}

/* About 10 us. */
void barrier_heavy(void);

/* As barrier_heavy; and no sequence that began before it goes on after it. Only if barrier_can_restart. */
void barrier_restart(void);

#endif /* REFSTORM_BASE_BARRIER_H */
