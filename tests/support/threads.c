/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/order.h"
#include "core/base/plant.h"
#include "core/base/rcu.h"

struct threads_job {
	threads_fn *fn;
	void *argument;
	pthread_barrier_t start;
	order_u32 next;
};

static void *threads_main(void *argument)
{
	struct threads_job *job = argument;
	unsigned thread = order_fetch_add_relaxed(&job->next, 1); /* relaxed: a number, no more */

	rcu_thread_enroll();
	pthread_barrier_wait(&job->start);
	job->fn(job->argument, thread);
	rcu_thread_leave();
	return NULL;
}

void threads_run(unsigned count, threads_fn *fn, void *argument)
{
	struct threads_job job = { .fn = fn, .argument = argument };
	pthread_t threads[THREADS_MAX];
	unsigned at;

	assert_in_range(count, 1, THREADS_MAX);
	assert_int_equal(pthread_barrier_init(&job.start, NULL, count), 0);
	for (at = 0; at < count; at++)
		assert_int_equal(pthread_create(&threads[at], NULL, threads_main, &job), 0);
	for (at = 0; at < count; at++)
		assert_int_equal(pthread_join(threads[at], NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&job.start), 0);
}

static uint64_t threads_seed(const char *name, const char *kind, const char *variable)
{
	const char *given = getenv(variable);
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (given)
		seed = strtoull(given, NULL, 10);
	print_message("%s: %s=%llu (%s)\n", name, variable, (unsigned long long)seed, kind);
	return seed;
}

uint64_t threads_data_seed(const char *name)
{
	return threads_seed(name, "data", "REFSTORM_DATA_SEED");
}

uint64_t threads_timing_seed(const char *name)
{
	return threads_seed(name, "timing", "REFSTORM_TIMING_SEED");
}

#define STALL_WINDOWS_MAX 16

/* Written before the threads begin, but for the counts. */
static struct {
	const char *prefix;
	unsigned one_in;
	unsigned us_max;
	uint64_t seed;
	order_u64 stream;
	const char *names[STALL_WINDOWS_MAX];
	order_u32 passed[STALL_WINDOWS_MAX]; /* relaxed: read when the threads are joined */
	unsigned windows;
} stalls;

static void stall_hook(const char *name, void *argument)
{
	static __thread struct random_state random;
	static __thread uint64_t seeded;
	struct timespec pause = { 0, 0 };
	unsigned at;

	(void)argument;
	if (strncmp(name, stalls.prefix, strlen(stalls.prefix)) != 0)
		return;
	for (at = 0; at < stalls.windows; at++)
		if (!strcmp(name, stalls.names[at]))
			order_store_relaxed(&stalls.passed[at], 1);
	if (seeded != stalls.seed) {
		random_state_seed(&random, stalls.seed, order_fetch_add_relaxed(&stalls.stream, 1));
		seeded = stalls.seed;
	}
	if (!random_state_chance(&random, 1, stalls.one_in))
		return;
	pause.tv_nsec = (long)random_state_below(&random, stalls.us_max) * 1000;
	nanosleep(&pause, NULL);
}

void threads_stalls_begin(const char *prefix, uint64_t seed, unsigned one_in, unsigned us_max)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	size_t at;

	stalls.prefix = prefix;
	stalls.one_in = one_in;
	stalls.us_max = us_max;
	stalls.seed = seed | 1; /* 0 is that of a thread that has not drawn yet */
	stalls.windows = 0;
	for (at = 0; at < count; at++) {
		if (table[at].kind != PLANT_WINDOW ||
		    strncmp(table[at].name, prefix, strlen(prefix)) != 0)
			continue;
		assert_true(stalls.windows < STALL_WINDOWS_MAX);
		order_store_relaxed(&stalls.passed[stalls.windows], 0);
		stalls.names[stalls.windows++] = table[at].name;
	}
	assert_true(stalls.windows > 0);
	window_hook_set(stall_hook, NULL);
}

void threads_stalls_end(void)
{
	window_hook_set(NULL, NULL);
}

void threads_stalls_assert_passed(const char *window)
{
#ifdef RS_WINDOWS
	unsigned at;

	for (at = 0; at < stalls.windows; at++)
		if (!strcmp(window, stalls.names[at]) && order_load_relaxed(&stalls.passed[at]))
			return;
	fail_msg("no thread has passed the window %s", window);
#else
	(void)window;
#endif
}
