/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/base/pool.h"
#include "core/base/random.h"
#include "core/base/rcu.h"

#define MAX_WORKERS 16
#define MS UINT64_C(1000000)

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / (1000 * MS)), (long)(ns % (1000 * MS)) };

	nanosleep(&time, NULL);
}

static struct pool *create(unsigned threads)
{
	struct rs_error error = RS_ERROR_INIT;
	struct pool *pool = NULL;
	int rc = pool_create(threads, &pool, &error);

	if (rc)
		print_error("pool_create: %d, %s\n", rc, error.what);
	assert_int_equal(rc, 0);
	assert_non_null(pool);
	return pool;
}

/* Plain members on purpose: only the pool orders them. */
struct sum {
	struct pool_range range;
	const uint32_t *values;
	uint64_t part[MAX_WORKERS];
	unsigned runs[MAX_WORKERS];
};

static void sum_job(void *argument, unsigned worker)
{
	struct sum *sum = argument;
	uint64_t first;
	uint64_t count;

	sum->runs[worker]++;
	while (pool_range_take(&sum->range, &first, &count))
		for (uint64_t i = first; i < first + count; i++)
			sum->part[worker] += sum->values[i];
}

#define VALUES 500

/* The caller changes the values before each job, and adds up the parts after it. */
static void run_sums(unsigned threads, unsigned jobs)
{
	struct pool *pool = create(threads);
	uint32_t values[VALUES];
	struct random_state random;

	assert_int_equal(pool_threads(pool), threads);
	random_state_seed(&random, threads, jobs);
	for (unsigned job = 0; job < jobs; job++) {
		struct sum sum = { .values = values };
		uint64_t count = random_state_below(&random, VALUES + 1);
		uint64_t expected = 0;
		uint64_t found = 0;

		for (uint64_t i = 0; i < count; i++) {
			values[i] = (uint32_t)random_state_next(&random);
			expected += values[i];
		}
		pool_range_init(&sum.range, count, 1 + random_state_below(&random, 70));
		pool_run(pool, sum_job, &sum, NULL);
		for (unsigned i = 0; i < threads; i++) {
			assert_int_equal(sum.runs[i], 1);
			found += sum.part[i];
		}
		assert_true(found == expected);
	}
	pool_destroy(pool);
}

static void pool_jobs_one_worker(void **state)
{
	(void)state;
	run_sums(1, 3000);
}

static void pool_jobs_two_workers(void **state)
{
	(void)state;
	run_sums(2, 3000);
}

static void pool_jobs_three_workers(void **state)
{
	(void)state;
	run_sums(3, 2000);
}

static void pool_jobs_sixteen_workers(void **state)
{
	(void)state;
	run_sums(MAX_WORKERS, 500);
}

static void pool_range_truth(void **state)
{
	static const struct {
		uint64_t count;
		uint64_t grain;
		uint64_t takes;
		uint64_t last; /* how many in the last take */
	} rows[] = {
		{ 0, 1, 0, 0 },
		{ 0, UINT64_MAX, 0, 0 },
		{ 1, 1, 1, 1 },
		{ 1, 100, 1, 1 },
		{ 10, 3, 4, 1 },
		{ 9, 3, 3, 3 },
		{ 5, 0, 5, 1 }, /* a grain of 0 counts as 1 */
		{ UINT64_MAX, UINT64_MAX, 1, UINT64_MAX },
		{ UINT64_MAX, UINT64_MAX / 2, 3, 1 },
		{ UINT64_MAX - 1, UINT64_MAX, 1, UINT64_MAX - 1 },
	};

	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct pool_range range;
		uint64_t next = 0;
		uint64_t takes = 0;
		uint64_t first;
		uint64_t count = 0;

		pool_range_init(&range, rows[row].count, rows[row].grain);
		while (pool_range_take(&range, &first, &count)) {
			assert_true(first == next);
			assert_true(count > 0);
			next = first + count;
			takes++;
		}
		assert_true(takes == rows[row].takes);
		assert_true(next == rows[row].count);
		assert_true(!takes || count == rows[row].last);
		for (int i = 0; i < 100; i++)
			assert_false(pool_range_take(&range, &first, &count));
	}
}

struct ticks {
	order_u32 count;
	pthread_t caller;
	bool signals;
};

static void tick(void *argument)
{
	struct ticks *ticks = argument;

	order_fetch_add_relaxed(&ticks->count, 1);
}

/* Returns after three ticks of the caller, or after a minute, when the test has failed. */
static void wait_for_ticks(void *argument, unsigned worker)
{
	struct ticks *ticks = argument;

	for (int i = 0; i < 60000 && order_load_relaxed(&ticks->count) < 3; i++) {
		if (ticks->signals && worker == 0)
			pthread_kill(ticks->caller, SIGUSR1);
		sleep_ns(MS);
	}
}

static void pool_ticks_by_the_clock(void **state)
{
	struct pool *pool = create(2);
	struct ticks ticks = { .caller = pthread_self() };
	struct pool_watch watch = { 2 * MS, tick, &ticks };

	(void)state;
	pool_run(pool, wait_for_ticks, &ticks, &watch);
	assert_true(order_load_relaxed(&ticks.count) >= 3);
	pool_destroy(pool);
}

static void nothing(int number)
{
	(void)number;
}

/* Handlers that ask for restarts are the harder case: the kernel could go on sleeping. */
static void pool_ticks_after_signals(void **state)
{
	struct pool *pool = create(2);
	struct ticks ticks = { .caller = pthread_self(), .signals = true };
	struct pool_watch watch = { 0, tick, &ticks };
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct sigaction old;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	pool_run(pool, wait_for_ticks, &ticks, &watch);
	assert_true(order_load_relaxed(&ticks.count) >= 3);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	pool_destroy(pool);
}

static void send_signals(void *argument, unsigned worker)
{
	struct ticks *ticks = argument;

	if (worker == 0)
		for (int i = 0; i < 20; i++) {
			pthread_kill(ticks->caller, SIGUSR1);
			sleep_ns(MS / 10);
		}
	order_fetch_add_relaxed(&ticks->count, 1);
}

/* Without a watch a signal neither ends the wait early nor does harm. */
static void pool_waits_through_signals(void **state)
{
	struct pool *pool = create(3);
	struct ticks ticks = { .caller = pthread_self() };
	struct sigaction action = { .sa_handler = nothing };
	struct sigaction old;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	for (unsigned job = 1; job <= 20; job++) {
		pool_run(pool, send_signals, &ticks, NULL);
		assert_int_equal(order_load_relaxed(&ticks.count), 3 * job);
	}
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	pool_destroy(pool);
}

static void pool_create_and_destroy(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		unsigned threads = 1 + i % 5;
		struct pool *pool = create(threads);

		/* Half of them end without ever having run a job. */
		if (i & 1) {
			uint32_t values[VALUES] = { 0 };
			struct sum sum = { .values = values };

			pool_range_init(&sum.range, VALUES, 7);
			pool_run(pool, sum_job, &sum, NULL);
			for (unsigned worker = 0; worker < threads; worker++)
				assert_int_equal(sum.runs[worker], 1);
		}
		pool_destroy(pool);
	}
	pool_destroy(NULL);
}

struct placement {
	cpu_set_t masks[MAX_WORKERS];
	sigset_t signals[MAX_WORKERS];
	unsigned failures[MAX_WORKERS];
};

static void look_around(void *argument, unsigned worker)
{
	struct placement *placement = argument;

	if (sched_getaffinity(0, sizeof(cpu_set_t), &placement->masks[worker]) ||
	    pthread_sigmask(SIG_SETMASK, NULL, &placement->signals[worker]))
		placement->failures[worker]++;
	/* Enrolled: else liburcu would count on a thread that it does not know. */
	rcu_section_enter();
	rcu_section_exit();
}

static struct placement placement_of(struct pool *pool)
{
	struct placement placement = { 0 };

	pool_run(pool, look_around, &placement, NULL);
	for (unsigned i = 0; i < pool_threads(pool); i++)
		assert_int_equal(placement.failures[i], 0);
	return placement;
}

static void pool_workers_are_bound_apart(void **state)
{
	struct pool *pool;
	struct placement placement;
	cpu_set_t allowed;
	cpu_set_t used;
	unsigned threads;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	threads = (unsigned)CPU_COUNT(&allowed);
	if (threads > MAX_WORKERS)
		threads = MAX_WORKERS;
	pool = create(threads);
	placement = placement_of(pool);
	CPU_ZERO(&used);
	for (unsigned i = 0; i < threads; i++) {
		assert_int_equal(CPU_COUNT(&placement.masks[i]), 1);
		CPU_OR(&used, &used, &placement.masks[i]);
	}
	assert_int_equal(CPU_COUNT(&used), threads);
	CPU_AND(&used, &used, &allowed);
	assert_int_equal(CPU_COUNT(&used), threads);
	pool_destroy(pool);
}

static void pool_respects_the_mask(void **state)
{
	struct pool *pool;
	struct placement placement;
	cpu_set_t allowed;
	cpu_set_t one;
	size_t last = CPU_SETSIZE - 1;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (last && !CPU_ISSET(last, &allowed))
		last--;
	CPU_ZERO(&one);
	CPU_SET(last, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);

	pool = create(0);
	assert_int_equal(pool_threads(pool), 1);
	placement = placement_of(pool);
	assert_true(CPU_EQUAL(&placement.masks[0], &one));
	pool_destroy(pool);

	pool = create(5);
	placement = placement_of(pool);
	for (int i = 0; i < 5; i++)
		assert_true(CPU_EQUAL(&placement.masks[i], &one));
	pool_destroy(pool);

	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
	pool = create(MAX_WORKERS);
	placement = placement_of(pool);
	/* More workers than CPUs are left to the scheduler. */
	if (CPU_COUNT(&allowed) < MAX_WORKERS)
		for (int i = 0; i < MAX_WORKERS; i++)
			assert_true(CPU_EQUAL(&placement.masks[i], &allowed));
	pool_destroy(pool);
}

static void pool_workers_block_signals(void **state)
{
	struct pool *pool = create(2);
	struct placement placement = placement_of(pool);
	sigset_t mine;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sigismember(&placement.signals[i], SIGINT), 1);
		assert_int_equal(sigismember(&placement.signals[i], SIGTERM), 1);
		assert_int_equal(sigismember(&placement.signals[i], SIGUSR1), 1);
		assert_int_equal(sigismember(&placement.signals[i], SIGALRM), 1);
		assert_int_equal(sigismember(&placement.signals[i], SIGSEGV), 0);
	}
	/* The caller's own mask is as before. */
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	assert_int_equal(sigismember(&mine, SIGINT), 0);
	pool_destroy(pool);
}

static void pool_refuses_too_many(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct pool *pool = NULL;

	(void)state;
	assert_int_equal(pool_create(POOL_THREADS_MAX + 1, &pool, &error), -EINVAL);
	assert_null(pool);
	assert_int_equal(error.code, -EINVAL);
	assert_int_equal(pool_create(UINT32_MAX, &pool, NULL), -EINVAL);
	assert_null(pool);
}

static void pool_create_without_memory(void **state)
{
	unsigned refused = 0;

	(void)state;
	for (unsigned nth = 1;; nth++) {
		struct rs_error error = RS_ERROR_INIT;
		struct pool *pool = NULL;
		int rc;

		assert_true(nth < 100);
		alloc_fail_arm(nth, 0);
		rc = pool_create(2, &pool, &error);
		if (!alloc_fail_count()) {
			alloc_fail_arm(0, 0);
			assert_int_equal(rc, 0);
			pool_destroy(pool);
			break;
		}
		alloc_fail_arm(0, 0);
		/* A choice of CPUs can do without memory; nothing else can. */
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			assert_int_equal(error.code, -ENOMEM);
			assert_null(pool);
			refused++;
		}
		pool_destroy(pool);
	}
	assert_true(refused >= 3);
}

#ifdef RS_WINDOWS
static order_u32 windows_passed;

/* Widens every window by a sleep now and then, so that all orders of sleeping and waking occur. */
static void stall_now_and_then(const char *name, void *argument)
{
	static __thread struct random_state random;
	static order_u32 streams;

	if (strncmp(name, "pool.", 5) != 0)
		return;
	if (!random.word[0] && !random.word[1])
		random_state_seed(&random, *(uint64_t *)argument,
				  order_fetch_add_relaxed(&streams, 1));
	order_fetch_add_relaxed(&windows_passed, 1);
	switch (random_state_below(&random, 4)) {
	case 0:
		sleep_ns(random_state_below(&random, 200000));
		break;
	case 1:
		sched_yield();
		break;
	default:
		break;
	}
}

static void pool_jobs_with_stalls(void **state)
{
	uint64_t seed = 20;

	(void)state;
	window_hook_set(stall_now_and_then, &seed);
	run_sums(1, 300);
	run_sums(2, 300);
	run_sums(3, 300);
	run_sums(MAX_WORKERS, 50);
	window_hook_set(NULL, NULL);
	assert_true(order_load_relaxed(&windows_passed) > 950);
}

static unsigned threads_alive(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned count = 0;

	assert_non_null(tasks);
	for (struct dirent *task = readdir(tasks); task; task = readdir(tasks))
		count += task->d_name[0] != '.';
	closedir(tasks);
	return count;
}

/* From when the first worker parks, threads are to have more stack than there is memory. */
static void ask_for_too_much_stack(const char *name, void *argument)
{
	pthread_attr_t attributes;

	(void)name;
	if (pthread_attr_init(&attributes))
		return;
	if (!pthread_attr_setstacksize(&attributes, *(size_t *)argument))
		pthread_setattr_default_np(&attributes);
	pthread_attr_destroy(&attributes);
}

/* Some workers run already when the next cannot be started: they end, and are joined. */
static void pool_create_without_threads(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct pool *pool = NULL;
	pthread_attr_t before;
	size_t bytes = (size_t)1 << 46;
	unsigned alive = threads_alive();
	int rc;

	(void)state;
	assert_int_equal(pthread_getattr_default_np(&before), 0);
	window_hook_set(ask_for_too_much_stack, &bytes);
	rc = pool_create(POOL_THREADS_MAX, &pool, &error);
	window_hook_set(NULL, NULL);
	assert_int_equal(pthread_setattr_default_np(&before), 0);
	pthread_attr_destroy(&before);
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(error.code, -EAGAIN);
	assert_null(pool);
	/* A joined thread may still be on its last instructions in the kernel. */
	for (int i = 0; i < 1000 && threads_alive() > alive; i++)
		sleep_ns(MS);
	assert_int_equal(threads_alive(), alive);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_range_truth),
		cmocka_unit_test(pool_jobs_one_worker),
		cmocka_unit_test(pool_jobs_two_workers),
		cmocka_unit_test(pool_jobs_three_workers),
		cmocka_unit_test(pool_jobs_sixteen_workers),
		cmocka_unit_test(pool_ticks_by_the_clock),
		cmocka_unit_test(pool_ticks_after_signals),
		cmocka_unit_test(pool_waits_through_signals),
		cmocka_unit_test(pool_create_and_destroy),
		cmocka_unit_test(pool_workers_are_bound_apart),
		cmocka_unit_test(pool_respects_the_mask),
		cmocka_unit_test(pool_workers_block_signals),
		cmocka_unit_test(pool_refuses_too_many),
		cmocka_unit_test(pool_create_without_memory),
#ifdef RS_WINDOWS
		cmocka_unit_test(pool_jobs_with_stalls),
		cmocka_unit_test(pool_create_without_threads),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
