/* SPDX-License-Identifier: MIT */
/*
 * The worker pool: a fixed number of threads that run one job at a time
 * together, each bound to a CPU of the affinity mask, parked on a futex between
 * jobs.
 *
 * Who may call: pool_run from one thread at a time, never from a worker.
 * pool_range_take from any thread. Progress: pool_run blocks until all workers
 * have returned; pool_range_take is wait-free.
 * Guarantee: what the caller wrote before pool_run is seen by the workers, and
 * what the workers wrote is seen by the caller after pool_run returns.
 */
#ifndef REFSTORM_BASE_POOL_H
#define REFSTORM_BASE_POOL_H

#include "core/base/order.h"
#include "refstorm/error.h"

struct pool;

/* Runs in each worker; `worker` is 0 .. pool_threads() - 1. */
typedef void pool_fn(void *argument, unsigned worker);

/*
 * What the caller of pool_run does while it waits: `tick` about every `period_ns`, and after a
 * signal. A period of 0 is after signals only; one handled just before the wait is seen late.
 */
struct pool_watch {
	uint64_t period_ns;
	void (*tick)(void *argument);
	void *argument;
};

/*
 * `threads` workers, 0 for one on each CPU that the affinity mask of the caller
 * allows (and the container's CPU quota, rounded up). Workers are spread over
 * the topology and bound one CPU each, unless there are more workers than CPUs:
 * then they are left to the scheduler within the mask. Each is registered with
 * RCU, and blocks all signals but those of its own faults. Returns 0, -EINVAL
 * (over POOL_THREADS_MAX), -ENOMEM or -EAGAIN (no more threads to be had).
 */
int pool_create(unsigned threads, struct pool **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Ends and joins the workers. NULL is allowed. */
void pool_destroy(struct pool *pool);

unsigned pool_threads(const struct pool *pool);

/*
 * Runs `fn` once on every worker at the same time and waits for all. `watch` may be NULL. Not
 * inside an RCU section: a job that waits for a grace period would wait for its caller.
 */
void pool_run(struct pool *pool, pool_fn *fn, void *argument, const struct pool_watch *watch);

#define POOL_THREADS_MAX 1024

/* An index range that workers share: each takes the next `grain` indexes until none is left. */
struct pool_range {
	order_u64 next;
	uint64_t end;
	uint64_t grain;
};

/* Not to be called while others take. `grain` is at least 1. */
void pool_range_init(struct pool_range *range, uint64_t count, uint64_t grain);

/* False when the range is used up. Writes one shared line a call. */
bool pool_range_take(struct pool_range *range, uint64_t *first, uint64_t *count);

#endif /* REFSTORM_BASE_POOL_H */
