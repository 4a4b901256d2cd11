/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/order.h"
#include "core/base/plant.h"

#ifdef RS_PLANTS
#define HAS_PLANTS 1
#else
#define HAS_PLANTS 0
#endif
#ifdef RS_WINDOWS
#define HAS_WINDOWS 1
#else
#define HAS_WINDOWS 0
#endif

static void plant_table_is_whole(void **state)
{
	size_t count = 0;
	const struct plant *table = plant_table(&count);

	(void)state;
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(strchr(table[i].name, '.'));
		assert_null(strchr(table[i].name, ':'));
		assert_true(strlen(table[i].effect) > 0);
		assert_int_equal(table[i].caught_by != NULL, table[i].kind == PLANT_BUG);
		assert_int_equal(access(table[i].file, R_OK), 0);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(table[i].name, table[j].name);
	}
}

/*
 * This program again, since the environment is read once. Its exit code has bit 0
 * set if the check of the environment refused, bit 1 if the plant was armed (and
 * counted), bit 2 if another one was, bit 3 if passing the window stalled.
 */
#define REFUSED 1
#define ARMED 2
#define OTHER_ARMED 4
#define STALLED 8
#define CHILD_BROKEN 64

/* Long beside what a busy machine takes for a few calls. */
#define STALL_US "500000"
#define STALL_NS 500000000

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int child(void)
{
	struct rs_error error = RS_ERROR_INIT;
	uint64_t since_ns;
	int result = 0;

	if (plant_environment_check(&error)) {
		result |= REFUSED;
		if (error.code != -EINVAL || !error.what[0])
			result |= CHILD_BROKEN;
	}
	for (int i = 0; i < 3; i++)
		if (plant_armed("rcu.early-free"))
			result |= ARMED;
	if (plant_reached_count() != (result & ARMED ? 3 : 0))
		result |= CHILD_BROKEN;
	if (plant_armed("rcu.early-fre") || plant_armed("rcu.early-free2") || plant_armed(""))
		result |= OTHER_ARMED;
	since_ns = clock_ns();
	window_pass("pool.par");
	window_pass("pool.park2");
	window_pass("");
	if (clock_ns() - since_ns >= STALL_NS)
		result |= CHILD_BROKEN;
	since_ns = clock_ns();
	errno = ENOTTY;
	window_pass("pool.park");
	if (errno != ENOTTY)
		result |= CHILD_BROKEN;
	if (clock_ns() - since_ns >= STALL_NS)
		result |= STALLED;
	return result;
}

static int run_child(const char *plant, const char *window)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid) {
		unsetenv("REFSTORM_PLANT");
		unsetenv("REFSTORM_WINDOW");
		if (plant)
			setenv("REFSTORM_PLANT", plant, 1);
		if (window)
			setenv("REFSTORM_WINDOW", window, 1);
		execl("/proc/self/exe", "plant_test", "child", (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void plant_nothing_armed(void **state)
{
	(void)state;
	assert_int_equal(run_child(NULL, NULL), 0);
}

static void plant_armed_by_name(void **state)
{
	(void)state;
	assert_int_equal(run_child("rcu.early-free", NULL), HAS_PLANTS ? ARMED : REFUSED);
	/* A window is no plant. */
	assert_int_equal(run_child("pool.park", NULL), REFUSED);
	assert_int_equal(run_child("no.such", NULL), REFUSED);
}

static void window_stalls_by_name(void **state)
{
	(void)state;
	assert_int_equal(run_child(NULL, "pool.park:" STALL_US), HAS_WINDOWS ? STALLED : REFUSED);
	assert_int_equal(run_child(NULL, "pool.park:0"), HAS_WINDOWS ? 0 : REFUSED);
}

/* A run that would stall nowhere is refused. */
static void window_nonsense_is_refused(void **state)
{
	static const char *const nonsense[] = {
		"",
		"pool.park",
		"pool.park:",
		"pool.park:x",
		"pool.park:5x",
		"pool.park:-5",
		"pool.park: 5",
		"pool.park:99999999999999999999999",
		":5",
		"no.such:5",
		"rcu.early-free:5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++)
		assert_int_equal(run_child(NULL, nonsense[i]), REFUSED);
}

struct passes {
	order_u32 count;
	order_u32 strange;
};

static void count_pass(const char *name, void *argument)
{
	struct passes *passes = argument;

	order_fetch_add_relaxed(&passes->count, 1);
	if (strcmp(name, "pool.park") != 0)
		order_fetch_add_relaxed(&passes->strange, 1);
}

static void *pass_many(void *argument)
{
	for (int i = 0; i < 1000; i++)
		window_pass("pool.park");
	return argument;
}

/* The hook comes and goes while threads pass: it is called with its argument or not at all. */
static void window_hook_under_threads(void **state)
{
	struct passes passes = { 0 };
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pass_many, NULL), 0);
	window_hook_set(count_pass, &passes);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(order_load_relaxed(&passes.strange), 0);
	assert_true(order_load_relaxed(&passes.count) <= 4000);

	order_store_relaxed(&passes.count, 0);
	window_pass("pool.park");
	assert_int_equal(order_load_relaxed(&passes.count), HAS_WINDOWS);
	window_hook_set(NULL, NULL);
	window_pass("pool.park");
	assert_int_equal(order_load_relaxed(&passes.count), HAS_WINDOWS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plant_table_is_whole),
		cmocka_unit_test(plant_nothing_armed),
		cmocka_unit_test(plant_armed_by_name),
		cmocka_unit_test(window_stalls_by_name),
		cmocka_unit_test(window_nonsense_is_refused),
		cmocka_unit_test(window_hook_under_threads),
	};

	if (argc > 1 && !strcmp(argv[1], "child"))
		return child();
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
