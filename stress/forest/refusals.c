/* SPDX-License-Identifier: MIT */
#include "stress/forest/refusals.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/base/alloc.h"
#include "refstorm/forest.h"
#include "workloads/script.h"

#define TRIES 4U
#define SPELL_MOST 6U

void refusals_init(struct refusals *refusals, enum refusals_kind kind, uint64_t seed)
{
	memset(refusals, 0, sizeof(*refusals));
	refusals->kind = kind;
	pthread_mutex_init(&refusals->lock, NULL);
	random_state_seed(&refusals->random, seed, 0);
}

void refusals_end(struct refusals *refusals)
{
	pthread_mutex_destroy(&refusals->lock);
}

/* Far and near by turns: single allocations of an operation, and whole stretches without any. */
static void arm_locked(struct refusals *refusals)
{
	uint64_t most = UINT64_C(8) << random_state_below(&refusals->random, 9);

	refusals->made += alloc_fail_count();
	refusals->spell = 1 + (unsigned)random_state_below(&refusals->random, SPELL_MOST);
	alloc_fail_arm(1 + random_state_below(&refusals->random, most),
		       refusals->kind == REFUSALS_SPELLS);
}

static void disarm_locked(struct refusals *refusals)
{
	refusals->made += alloc_fail_count();
	alloc_fail_arm(0, 0);
}

void refusals_resume(struct refusals *refusals)
{
	if (refusals->kind == REFUSALS_NONE)
		return;
	pthread_mutex_lock(&refusals->lock);
	refusals->armed = true;
	arm_locked(refusals);
	pthread_mutex_unlock(&refusals->lock);
}

void refusals_pause(struct refusals *refusals)
{
	if (refusals->kind == REFUSALS_NONE)
		return;
	pthread_mutex_lock(&refusals->lock);
	refusals->armed = false;
	disarm_locked(refusals);
	pthread_mutex_unlock(&refusals->lock);
}

/* Behind an operation: what has failed is counted, and the next to fail is chosen. */
static void go_on(struct refusals *refusals)
{
	if (!alloc_fail_count())
		return;
	/* Relaxed: see the struct. */
	order_store_relaxed(&refusals->happened, 1);
	pthread_mutex_lock(&refusals->lock);
	if (refusals->armed && alloc_fail_count() &&
	    (refusals->kind == REFUSALS_SINGLE || !--refusals->spell))
		arm_locked(refusals);
	pthread_mutex_unlock(&refusals->lock);
}

/* What lines may come to behind one that has not done what it should. */
static bool is_later(int ret)
{
	switch (-ret) {
	case 0:
	case ENOMEM:
	case ENOENT:
	case EEXIST:
	case EINVAL:
	case EROFS:
	case EBUSY:
	case ENOTCONN:
	case EINPROGRESS:
		return true;
	default:
		return false;
	}
}

/*
 * A rescan ends where there is no memory. A commit that had none for the accounts shows a root to them
 * late, and they do not learn which groups a snapshot was put into.
 */
static bool is_expected(const struct script_operation *operation, int ret)
{
	switch (operation->kind) {
	case SCRIPT_GROUP_ASSIGN:
	case SCRIPT_GROUP_UNASSIGN:
	case SCRIPT_GROUP_REMOVE:
		return ret == -ENOENT || ret == -ENOMEM;
	default:
		return ret == -ENOMEM;
	}
}

/* Quotas stay as they are then, whatever the script thinks: what is asked of rescans may even succeed. */
static bool is_aborted(const struct refusals *refusals)
{
	return refusals->forest && rs_forest_aborted(refusals->forest, NULL);
}

int refusals_take(struct refusals *refusals, refusals_run_fn *run, void *thread,
		  const struct script_operation *operation)
{
	int wanted = -(int)operation->fails;
	unsigned tries;
	int ret;

	/* Relaxed: see the struct. What running a script takes is there before its first operation. */
	if (!order_load_relaxed(&refusals->begun) && !order_exchange_relaxed(&refusals->begun, 1))
		refusals_resume(refusals);
	ret = run(thread, operation);
	go_on(refusals);
	for (tries = 0; tries < TRIES && ret == -ENOMEM && operation->kind != SCRIPT_RESCAN_WAIT;
	     tries++) {
		ret = run(thread, operation);
		go_on(refusals);
	}
	/* Relaxed: see the struct. */
	if (ret == wanted || !order_load_relaxed(&refusals->happened))
		return ret;
	if (is_aborted(refusals))
		return wanted;
	if (!is_expected(operation, ret) &&
	    !(order_load_relaxed(&refusals->diverged) && is_later(ret)))
		return ret;
	order_store_relaxed(&refusals->diverged, 1);
	return wanted;
}

uint64_t refusals_made(const struct refusals *refusals)
{
	return refusals->made;
}
