/* SPDX-License-Identifier: MIT */
#include "core/base/rcu.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>

/*
 * Sections inlined, 3 ns instead of 11. The licence of these short functions
 * allows it to any program; MIT is compatible with the LGPL besides.
 */
#define _LGPL_SOURCE 1
#include <urcu/urcu-memb.h>

#include "core/base/clock.h"
#include "core/base/plant.h"
#include "core/base/tally.h"

/*
 * liburcu is not instrumented, so the thread sanitizer has to be told what a
 * grace period orders: the end of every section before what follows the grace
 * period, and deferring before its callback. No more than that is told; the
 * pointers are C11 atomics, which it sees by itself, so that a pointer used
 * outside a section is still a report.
 */
#ifdef ORDER_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char rcu_tsan_grace;
#define rcu_tsan_acquire(address) __tsan_acquire(address)
#define rcu_tsan_release(address) __tsan_release(address)
#else
#define rcu_tsan_acquire(address) ((void)0)
#define rcu_tsan_release(address) ((void)0)
#endif

/* What rcu_deferred's opaque words hold. */
struct rcu_deferred_real {
	struct rcu_head head;
	rcu_deferred_fn *fn;
};

_Static_assert(sizeof(struct rcu_deferred_real) <= sizeof(struct rcu_deferred),
	       "struct rcu_deferred is too small for liburcu's head");
_Static_assert(_Alignof(struct rcu_deferred_real) <= _Alignof(struct rcu_deferred),
	       "struct rcu_deferred is not aligned enough for liburcu's head");

/* What rcu_defer_barrier waits for. */
struct rcu_last {
	struct rcu_deferred deferred;
	sem_t reached;
};

static __thread unsigned rcu_enrolled;
static __thread bool rcu_adopted;
static pthread_once_t rcu_once = PTHREAD_ONCE_INIT;
static pthread_key_t rcu_adopted_key; /* its destructor takes the thread out again */

/* None is left of the process's keys: then adopted threads must leave by ending the process. */
static bool rcu_adopted_key_missing;

static void rcu_adopted_end(void *unused)
{
	(void)unused;
	rcu_adopted = false;
	rcu_thread_leave();
}

/*
 * The thread that calls what is deferred is started here and not by the first
 * rcu_defer, from which it would inherit a worker's binding to one CPU, or, from
 * the main thread, signals that are the program's business.
 */
static void rcu_start(void)
{
	sigset_t blocked;
	sigset_t old;

	sigfillset(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	urcu_memb_get_default_call_rcu_data();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pthread_key_create(&rcu_adopted_key, rcu_adopted_end))
		rcu_adopted_key_missing = true;
}

void rcu_thread_enroll(void)
{
	if (rcu_enrolled++)
		return;
	pthread_once(&rcu_once, rcu_start);
	urcu_memb_register_thread();
}

void rcu_thread_leave(void)
{
	assert(rcu_enrolled);
	if (!--rcu_enrolled)
		urcu_memb_unregister_thread();
}

void rcu_thread_adopt(void)
{
	if (rcu_adopted)
		return;
	rcu_thread_enroll();
	rcu_adopted = true;
	if (!rcu_adopted_key_missing)
		pthread_setspecific(rcu_adopted_key, &rcu_adopted_key);
}

void rcu_section_enter(void)
{
	assert(rcu_enrolled);
	urcu_memb_read_lock();
}

void rcu_section_exit(void)
{
	rcu_tsan_release(&rcu_tsan_grace);
	urcu_memb_read_unlock();
}

static void rcu_deferred_call(struct rcu_head *head)
{
	struct rcu_deferred_real *real =
		(struct rcu_deferred_real *)((char *)head -
					     offsetof(struct rcu_deferred_real, head));

	rcu_tsan_acquire(&rcu_tsan_grace);
	rcu_tsan_acquire(head);
	real->fn((struct rcu_deferred *)real);
}

void rcu_defer(struct rcu_deferred *deferred, rcu_deferred_fn *fn)
{
	struct rcu_deferred_real *real = (struct rcu_deferred_real *)deferred;

	assert(rcu_enrolled);
	if (plant_armed("rcu.early-free")) {
		fn(deferred);
		return;
	}
	real->fn = fn;
	rcu_tsan_release(&real->head);
	urcu_memb_call_rcu(&real->head, rcu_deferred_call);
}

static void rcu_reached(struct rcu_deferred *deferred)
{
	/* `deferred` is the first member. */
	sem_post(&((struct rcu_last *)deferred)->reached);
}

/*
 * All is deferred to one thread, which calls in the order of deferring: when this
 * call has come, all before it have. liburcu's own barrier does the same, but the
 * thread sanitizer sees a race in it.
 */
void rcu_defer_barrier(void)
{
	uint64_t begin = clock_now_ns();
	struct rcu_last last;

	sem_init(&last.reached, 0, 0);
	rcu_thread_enroll();
	rcu_defer(&last.deferred, rcu_reached);
	rcu_thread_leave();
	/* Ends: a signal may interrupt it, the call comes. */
	while (sem_wait(&last.reached))
		;
	sem_destroy(&last.reached);
	tally_grace_waited(clock_now_ns() - begin);
}

void rcu_grace_wait(void)
{
	uint64_t begin = clock_now_ns();

	urcu_memb_synchronize_rcu();
	rcu_tsan_acquire(&rcu_tsan_grace);
	tally_grace_waited(clock_now_ns() - begin);
}
