/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/topology.h"

static struct topology *create(void)
{
	struct rs_error error = RS_ERROR_INIT;
	struct topology *topology = NULL;

	assert_int_equal(topology_create(&topology, &error), 0);
	assert_non_null(topology);
	return topology;
}

static void topology_is_the_mask(void **state)
{
	struct topology *topology = create();
	cpu_set_t allowed;
	unsigned cpus = topology_cpus(topology);

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	assert_int_equal(cpus, CPU_COUNT(&allowed));
	for (unsigned threads = 1; threads <= cpus; threads++) {
		cpu_set_t used;

		CPU_ZERO(&used);
		for (unsigned i = 0; i < threads; i++)
			CPU_SET((size_t)topology_spread(topology, threads, i), &used);
		assert_int_equal(CPU_COUNT(&used), threads);
		CPU_AND(&used, &used, &allowed);
		assert_int_equal(CPU_COUNT(&used), threads);
	}
	for (unsigned i = 0; i < 4 * cpus + 3; i++) {
		unsigned cpu = topology_spread(topology, 4 * cpus + 3, i);

		assert_true(CPU_ISSET((size_t)cpu, &allowed));
		assert_true(topology_numa_node(topology, cpu) >= 0);
	}
	topology_destroy(topology);
	topology_destroy(NULL);
}

static void topology_respects_a_narrow_mask(void **state)
{
	struct topology *topology;
	cpu_set_t allowed;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t one;

		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		topology = create();
		assert_int_equal(topology_cpus(topology), 1);
		assert_int_equal(topology_spread(topology, 1, 0), cpu);
		assert_int_equal(topology_spread(topology, 3, 2), cpu);
		assert_non_null(strstr(topology_summary(topology), "(1 allowed)"));
		/* A CPU outside of the mask is refused, wherever it is. */
		for (unsigned other = 0; other < CPU_SETSIZE; other++)
			if (other != cpu) {
				assert_int_equal(topology_bind(topology, other), -EINVAL);
				assert_int_equal(topology_numa_node(topology, other), -1);
			}
		assert_int_equal(topology_bind(topology, UINT32_MAX), -EINVAL);
		assert_int_equal(topology_numa_node(topology, UINT32_MAX), -1);
		topology_destroy(topology);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

static void topology_bind_binds(void **state)
{
	struct topology *topology = create();
	cpu_set_t before;
	cpu_set_t now;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (unsigned i = 0; i < topology_cpus(topology); i++) {
		unsigned cpu = topology_spread(topology, topology_cpus(topology), i);

		assert_int_equal(topology_bind(topology, cpu), 0);
		assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
		assert_int_equal(CPU_COUNT(&now), 1);
		assert_true(CPU_ISSET((size_t)cpu, &now));
		assert_int_equal(sched_getcpu(), cpu);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	topology_destroy(topology);
}

static void topology_summary_says_it(void **state)
{
	struct topology *topology = create();
	const char *summary = topology_summary(topology);

	(void)state;
	assert_true(strlen(summary) > 0);
	assert_non_null(strstr(summary, "CPU"));
	assert_non_null(strstr(summary, "allowed)"));
	assert_null(strchr(summary, '\n'));
	topology_destroy(topology);
}

static void topology_without_memory(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct topology *topology = NULL;

	(void)state;
	alloc_fail_arm(1, 0);
	assert_int_equal(topology_create(&topology, &error), -ENOMEM);
	alloc_fail_arm(0, 0);
	assert_null(topology);
	assert_int_equal(error.code, -ENOMEM);

	/* A choice is made without memory too, and still a different one for each. */
	topology = create();
	if (topology_cpus(topology) >= 2) {
		unsigned first;
		unsigned second;

		alloc_fail_arm(1, 1);
		first = topology_spread(topology, 2, 0);
		second = topology_spread(topology, 2, 1);
		assert_int_equal(alloc_fail_count(), 2);
		alloc_fail_arm(0, 0);
		assert_int_not_equal(first, second);
	}
	topology_destroy(topology);
}

/*
 * A machine of 2 packages, each of 2 L3 caches of 2 cores of 2 threads, as hwloc
 * numbers it: cpu = ((package * 2 + l3) * 2 + core) * 2 + thread.
 */
#define MACHINE "pack:2 l3:2 core:2 pu:2"
#define MACHINE_CPUS 16

/* How many different objects of `cpus` CPUs each the first `threads` threads are spread over. */
static unsigned spread_over(const struct topology *topology, unsigned threads, unsigned cpus)
{
	bool used[MACHINE_CPUS] = { false };
	unsigned count = 0;

	for (unsigned i = 0; i < threads; i++) {
		unsigned cpu = topology_spread(topology, threads, i);

		assert_true(cpu < MACHINE_CPUS);
		count += !used[cpu / cpus];
		used[cpu / cpus] = true;
	}
	return count;
}

static unsigned at_most(unsigned value, unsigned limit)
{
	return value < limit ? value : limit;
}

/* For any number of threads: first over the packages, then caches, then cores, then threads. */
static void topology_spreads_outside_in(void **state)
{
	struct topology *topology;

	(void)state;
	assert_int_equal(setenv("HWLOC_SYNTHETIC", MACHINE, 1), 0);
	topology = create();
	assert_int_equal(unsetenv("HWLOC_SYNTHETIC"), 0);
	assert_int_equal(topology_cpus(topology), MACHINE_CPUS);
	for (unsigned threads = 1; threads <= 2 * MACHINE_CPUS + 1; threads++) {
		assert_int_equal(spread_over(topology, threads, 8), at_most(threads, 2));
		assert_int_equal(spread_over(topology, threads, 4), at_most(threads, 4));
		assert_int_equal(spread_over(topology, threads, 2), at_most(threads, 8));
		assert_int_equal(spread_over(topology, threads, 1), at_most(threads, 16));
	}
	assert_non_null(strstr(topology_summary(topology), "2 packages, 8 cores, 16 CPUs"));
	topology_destroy(topology);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topology_is_the_mask),
		cmocka_unit_test(topology_respects_a_narrow_mask),
		cmocka_unit_test(topology_bind_binds),
		cmocka_unit_test(topology_summary_says_it),
		cmocka_unit_test(topology_without_memory),
		cmocka_unit_test(topology_spreads_outside_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
