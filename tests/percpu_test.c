/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/percpu.h"

static void percpu_possible_covers_all(void **state)
{
	cpu_set_t allowed;
	unsigned possible = percpu_possible();

	(void)state;
	assert_true(possible >= 1);
	assert_true(possible >= (unsigned)sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (size_t cpu = possible; cpu < CPU_SETSIZE; cpu++)
		assert_false(CPU_ISSET(cpu, &allowed));
	assert_int_equal(percpu_possible(), possible);
}

static void percpu_slots_are_apart(void **state)
{
	static const size_t sizes[] = { 0, 1, 8, ORDER_LINE - 1, ORDER_LINE, ORDER_LINE + 1, 5000 };

	(void)state;
	for (size_t row = 0; row < sizeof(sizes) / sizeof(sizes[0]); row++) {
		struct percpu percpu;
		size_t bytes = sizes[row];

		assert_int_equal(percpu_create(&percpu, bytes), 0);
		assert_int_equal(percpu.count, percpu_possible());
		for (unsigned cpu = 0; cpu < percpu.count; cpu++) {
			unsigned char *slot = percpu_slot(&percpu, cpu);

			assert_int_equal((uintptr_t)slot % ORDER_LINE, 0);
			for (size_t i = 0; i < bytes; i++)
				assert_int_equal(slot[i], 0);
			memset(slot, (int)cpu + 1, bytes);
		}
		for (unsigned cpu = 0; cpu < percpu.count; cpu++) {
			unsigned char *slot = percpu_slot(&percpu, cpu);

			for (size_t i = 0; i < bytes; i++)
				assert_int_equal(slot[i], (unsigned char)(cpu + 1));
		}
		percpu_destroy(&percpu);
	}
}

/* A CPU that nobody expected gets a slot that exists. */
static void percpu_unexpected_cpus(void **state)
{
	static const unsigned beyond[] = { 0, 1, 2, 7, 1000, UINT32_MAX / 2, UINT32_MAX - 1 };
	struct percpu percpu;

	(void)state;
	assert_int_equal(percpu_create(&percpu, 64), 0);
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		unsigned cpu = percpu.count + beyond[i];
		unsigned char *slot;

		if (cpu < percpu.count)
			cpu = UINT32_MAX;
		slot = percpu_slot(&percpu, cpu);
		assert_true(slot >= percpu.base);
		assert_true(slot < percpu.base + percpu.count * percpu.stride);
		assert_ptr_equal(slot, percpu_slot(&percpu, cpu % percpu.count));
	}
	percpu_destroy(&percpu);
}

static void percpu_without_memory(void **state)
{
	struct percpu percpu;

	(void)state;
	alloc_fail_arm(1, 0);
	assert_int_equal(percpu_create(&percpu, 64), -ENOMEM);
	assert_int_equal(alloc_fail_count(), 1);
	alloc_fail_arm(0, 0);
	assert_int_equal(percpu_create(&percpu, SIZE_MAX), -ENOMEM);
	assert_int_equal(percpu_create(&percpu, SIZE_MAX / 2), -ENOMEM);
	percpu_destroy(&percpu);
}

/* Bound to each CPU in turn, both ways of asking give that CPU. */
static unsigned current_is_wrong(void)
{
	cpu_set_t allowed;
	unsigned wrong = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t one;

		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		wrong += sched_setaffinity(0, sizeof(one), &one) != 0;
		wrong += percpu_current() != cpu;
		wrong += percpu_current_slow() != cpu;
	}
	wrong += sched_setaffinity(0, sizeof(allowed), &allowed) != 0;
	return wrong;
}

static void percpu_current_is_right(void **state)
{
	(void)state;
	assert_int_equal(current_is_wrong(), 0);
}

static void *current_in_thread(void *argument)
{
	return current_is_wrong() ? NULL : argument;
}

static void percpu_current_in_threads(void **state)
{
	pthread_t thread;
	void *right;
	int mark;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, current_in_thread, &mark), 0);
	assert_int_equal(pthread_join(thread, &right), 0);
	assert_ptr_equal(right, &mark);
}

/* This program again, with the C library told not to register rseq. */
static void percpu_current_without_rseq(void **state)
{
	pid_t pid = fork();
	int status = -1;

	(void)state;
	if (!pid) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execl("/proc/self/exe", "percpu_test", "without-rseq", (char *)NULL);
		_exit(99);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percpu_possible_covers_all),
		cmocka_unit_test(percpu_slots_are_apart),
		cmocka_unit_test(percpu_unexpected_cpus),
		cmocka_unit_test(percpu_without_memory),
		cmocka_unit_test(percpu_current_is_right),
		cmocka_unit_test(percpu_current_in_threads),
		cmocka_unit_test(percpu_current_without_rseq),
	};

	if (argc > 1 && !strcmp(argv[1], "without-rseq"))
		return __rseq_size != 0 ? 2 : current_is_wrong() != 0;
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
