/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/base/pool.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/cpuquota.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/base/rcu.h"
#include "core/base/topology.h"

#define POOL_UNBOUND UINT32_MAX
#define POOL_NS_PER_S UINT64_C(1000000000)
/* The period of a watch that asks for none: a day. */
#define POOL_PERIOD_NONE (UINT64_C(86400) * POOL_NS_PER_S)

struct pool_worker {
	struct pool *pool;
	unsigned index;
	uint32_t cpu; /* POOL_UNBOUND for none */
	pthread_t thread;
};

/*
 * One job at a time. The caller writes fn, argument and `running`, and publishes
 * them by a new generation; each worker runs the job once and takes itself off
 * `running`; the one that brings it to 0 wakes the caller.
 *
 * No wake-up is lost. A sleeper reads the word, decides, and then asks the kernel
 * to sleep if the word still has the value that it decided on. The kernel
 * compares and queues under a lock which a wake-up takes too. So for a writer
 * that changes the word first and wakes afterwards there are three cases:
 *  - it writes before the sleeper reads: the sleeper decides not to sleep;
 *  - it writes after that and before the compare: the compare fails (EAGAIN);
 *  - it writes after the compare: the sleeper is queued before the wake-up looks.
 * What remains is that a value could come back between read and compare. The
 * generation moves by 1 a job, and no second job begins before this worker has
 * run the first. `running` only falls until the caller itself starts a new job.
 */
struct pool {
	struct pool_worker *workers;
	unsigned threads;
	struct topology *topology;

	/* Of the current job; written by the caller only, while no worker runs. */
	pool_fn *fn; /* NULL: the workers end */
	void *argument;

	/* Futex of the workers, on a line of its own. */
	order_u32 generation __attribute__((aligned(ORDER_LINE)));

	/* Futex of the caller: workers that have not returned from the job. */
	order_u32 running __attribute__((aligned(ORDER_LINE)));
};

/* Private futexes. Returns 0 or an errno; `deadline` is on the monotonic clock, NULL for none. */
static int pool_futex_wait(order_u32 *word, uint32_t value, const struct timespec *deadline)
{
	long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, deadline,
			  NULL, FUTEX_BITSET_MATCH_ANY);

	return rc < 0 ? errno : 0;
}

static void pool_futex_wake(order_u32 *word, int sleepers)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, sleepers, NULL, NULL, 0);
}

/* Sleeps until there is a generation other than `seen`, and returns it. */
static uint32_t pool_worker_park(struct pool *pool, uint32_t seen)
{
	for (;;) {
		/* POOL.job: sees fn, argument and running of this generation. */
		uint32_t generation = order_load_acquire(&pool->generation);

		if (generation != seen)
			return generation;
		window_pass("pool.park");
		/* Whatever it returns (EAGAIN, a wake-up meant for nobody), the word decides. */
		pool_futex_wait(&pool->generation, seen, NULL);
	}
}

static void *pool_worker_main(void *argument)
{
	struct pool_worker *worker = argument;
	struct pool *pool = worker->pool;
	uint32_t generation = 0;

	/* Before binding, since RCU's own thread may be started by it. */
	rcu_thread_enroll();
	/* A CPU that cannot be had any more costs speed, nothing else. */
	if (worker->cpu != POOL_UNBOUND && topology_bind(pool->topology, worker->cpu))
		worker->cpu = POOL_UNBOUND;
	for (;;) {
		generation = pool_worker_park(pool, generation);
		if (!pool->fn)
			break;
		pool->fn(pool->argument, worker->index);
		/*
		 * POOL.done: all that the job wrote, and that fn and argument have
		 * been read. After it `pool` is still there: pool_destroy joins.
		 */
		if (order_fetch_sub_release(&pool->running, 1) == 1) {
			window_pass("pool.done");
			pool_futex_wake(&pool->running, 1);
		}
	}
	rcu_thread_leave();
	return NULL;
}

/* Publishes a job, or with `fn` NULL the end. No worker runs: pool_run waited for them. */
static void pool_publish(struct pool *pool, pool_fn *fn, void *argument)
{
	pool->fn = fn;
	pool->argument = argument;
	/* Relaxed: published with the job; workers touch it only after they saw the job. */
	order_store_relaxed(&pool->running, pool->threads);
	/* POOL.job: fn, argument and running. Relaxed load: the caller is the only writer. */
	order_store_release(&pool->generation, order_load_relaxed(&pool->generation) + 1);
	window_pass("pool.publish");
	pool_futex_wake(&pool->generation, INT32_MAX);
}

/* Without a watch; futexes that a signal interrupts are simply waited for again. */
static void pool_wait(struct pool *pool)
{
	uint32_t running;

	/* POOL.done: sees what each worker wrote in the job. Ends when the last has returned. */
	while ((running = order_load_acquire(&pool->running))) {
		window_pass("pool.wait");
		pool_futex_wait(&pool->running, running, NULL);
	}
}

/*
 * With a watch. There is always a deadline, since only a futex with one returns
 * from a signal whose handler asks for restarts. A signal that is handled just
 * before the futex sleeps is noticed a period later at the most.
 */
static void pool_wait_watched(struct pool *pool, const struct pool_watch *watch)
{
	uint64_t period_ns = watch->period_ns ? watch->period_ns : POOL_PERIOD_NONE;
	uint64_t next_ns;
	uint32_t running;

	if (period_ns > POOL_PERIOD_NONE)
		period_ns = POOL_PERIOD_NONE;
	next_ns = clock_now_ns() + period_ns;
	/* POOL.done: sees what each worker wrote in the job. Ends when the last has returned. */
	while ((running = order_load_acquire(&pool->running))) {
		struct timespec deadline = {
			.tv_sec = (time_t)(next_ns / POOL_NS_PER_S),
			.tv_nsec = (long)(next_ns % POOL_NS_PER_S),
		};
		int rc;

		window_pass("pool.wait");
		rc = pool_futex_wait(&pool->running, running, &deadline);
		/* By the clock too: workers that keep returning (EAGAIN) must not delay it. */
		if (rc == EINTR || clock_now_ns() >= next_ns) {
			watch->tick(watch->argument);
			next_ns = clock_now_ns() + period_ns;
		}
	}
}

void pool_run(struct pool *pool, pool_fn *fn, void *argument, const struct pool_watch *watch)
{
	assert(fn);
	/* Relaxed: only to notice a second caller, where nothing would be sure any more. */
	assert(!order_load_relaxed(&pool->running));
	pool_publish(pool, fn, argument);
	if (watch)
		pool_wait_watched(pool, watch);
	else
		pool_wait(pool);
}

unsigned pool_threads(const struct pool *pool)
{
	return pool->threads;
}

/* Ends and joins the first `started` workers. */
static void pool_end(struct pool *pool, unsigned started)
{
	pool_publish(pool, NULL, NULL);
	for (unsigned i = 0; i < started; i++)
		pthread_join(pool->workers[i].thread, NULL);
}

static int pool_start(struct pool *pool, struct rs_error *error)
{
	bool bound = pool->threads <= topology_cpus(pool->topology);

	for (unsigned i = 0; i < pool->threads; i++) {
		struct pool_worker *worker = &pool->workers[i];
		char name[16];
		int rc;

		worker->pool = pool;
		worker->index = i;
		worker->cpu = bound ? topology_spread(pool->topology, pool->threads, i) :
				      POOL_UNBOUND;
		rc = pthread_create(&worker->thread, NULL, pool_worker_main, worker);
		if (rc) {
			pool_end(pool, i);
			return error_set(error, -rc, "worker %u of %u cannot be started: %s", i,
					 pool->threads, strerrordesc_np(rc));
		}
		snprintf(name, sizeof(name), "refstorm-%u", i % POOL_THREADS_MAX);
		pthread_setname_np(worker->thread, name);
	}
	return 0;
}

/*
 * Workers inherit the mask of the thread that starts them. Signals that a fault
 * of the thread itself raises stay open: blocked they would kill the process
 * without the handler of a sanitizer or of a crash report.
 */
static int pool_start_blocked(struct pool *pool, struct rs_error *error)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t blocked;
	sigset_t old;
	int rc;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	rc = pool_start(pool, error);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

/* One for each allowed CPU, within the quota. */
static unsigned pool_threads_default(const struct topology *topology)
{
	unsigned threads = topology_cpus(topology);
	unsigned quota = cpuquota_cpus();

	if (quota && quota < threads)
		threads = quota;
	return threads < POOL_THREADS_MAX ? threads : POOL_THREADS_MAX;
}

int pool_create(unsigned threads, struct pool **out, struct rs_error *error)
{
	struct pool *pool;
	int rc;

	*out = NULL;
	if (threads > POOL_THREADS_MAX)
		return error_set(error, -EINVAL, "%u threads are more than the %u there can be",
				 threads, POOL_THREADS_MAX);
	pool = alloc_aligned(_Alignof(struct pool), 1, sizeof(*pool));
	if (!pool)
		return error_no_memory(error, "the worker pool");
	rc = topology_create(&pool->topology, error);
	if (rc)
		goto free_pool;
	pool->threads = threads ? threads : pool_threads_default(pool->topology);
	pool->workers = alloc_zeroed(pool->threads, sizeof(*pool->workers));
	if (!pool->workers) {
		rc = error_no_memory(error, "the worker pool");
		goto destroy_topology;
	}
	rc = pool_start_blocked(pool, error);
	if (rc)
		goto free_workers;
	*out = pool;
	return 0;

free_workers:
	alloc_free(pool->workers);
destroy_topology:
	topology_destroy(pool->topology);
free_pool:
	alloc_free(pool);
	return rc;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	pool_end(pool, pool->threads);
	alloc_free(pool->workers);
	topology_destroy(pool->topology);
	alloc_free(pool);
}

void pool_range_init(struct pool_range *range, uint64_t count, uint64_t grain)
{
	/* Relaxed: nobody else takes; the job that is run next publishes it. */
	order_store_relaxed(&range->next, 0);
	range->end = count;
	range->grain = grain ? grain : 1;
}

bool pool_range_take(struct pool_range *range, uint64_t *first, uint64_t *count)
{
	/*
	 * `next` counts grains and not indexes: it cannot come round to 0 even when
	 * many ask in vain, while its product with the grain can be checked.
	 * Relaxed: each grain is given out once whatever the order, and what lies
	 * behind the indexes is published by the job.
	 */
	uint64_t taken = order_fetch_add_relaxed(&range->next, 1);

	if (__builtin_mul_overflow(taken, range->grain, first) || *first >= range->end)
		return false;
	*count = range->end - *first;
	if (*count > range->grain)
		*count = range->grain;
	return true;
}
