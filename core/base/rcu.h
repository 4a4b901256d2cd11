/* SPDX-License-Identifier: MIT */
/*
 * RCU, by liburcu's memb flavour, with the annotations that the thread sanitizer
 * needs (liburcu 0.13 has none). Nobody else includes liburcu.
 *
 * Who may call: sections and rcu_pointer_observe only by enrolled threads;
 * publishing, deferring and waiting by any enrolled thread outside a section
 * (deferring also inside one). Progress: sections are wait-free; rcu_grace_wait
 * and rcu_defer_barrier block.
 */
#ifndef REFSTORM_BASE_RCU_H
#define REFSTORM_BASE_RCU_H

#include "core/base/order.h"
#include "core/base/plant.h"

/*
 * Before a thread's first section, and after its last one. Enrolling twice is counted. The first
 * thread to enroll should not be bound to a CPU: RCU's own thread inherits its affinity mask.
 */
void rcu_thread_enroll(void);
void rcu_thread_leave(void);

/* Enrolls the thread until it ends, for entrances to the library. Again: nothing. */
void rcu_thread_adopt(void);

/* A section may be entered again inside one. */
void rcu_section_enter(void);
void rcu_section_exit(void);

/* What a publisher stored, with all that it wrote before. Valid to the section's end. */
static inline void *rcu_pointer_observe(order_ptr *pointer)
{
	/* RCU.publish: sees all that the publisher wrote to the object before. */
	void *observed = order_load_acquire(pointer);

	window_pass("rcu.observed");
	return observed;
}

/* Publishers of one pointer take turns; those that may race exchange it instead (acq_rel). */
static inline void rcu_pointer_publish(order_ptr *pointer, void *value)
{
	/* RCU.publish: the object's contents. */
	order_store_release(pointer, value);
}

/* Embedded in what is freed later. */
struct rcu_deferred {
	void *opaque[4];
};
typedef void rcu_deferred_fn(struct rcu_deferred *deferred);

/* `fn` is called once all sections that are open now have ended, on a thread of RCU's own. */
void rcu_defer(struct rcu_deferred *deferred, rcu_deferred_fn *fn);

/* Returns when all that was deferred before has been called. Not inside a section. */
void rcu_defer_barrier(void);

/* Returns when all sections that are open now have ended. Not inside a section. */
void rcu_grace_wait(void);

#endif /* REFSTORM_BASE_RCU_H */
