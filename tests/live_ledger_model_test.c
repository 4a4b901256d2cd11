// SPDX-License-Identifier: MIT
/* Random histories of trees, whose accounts are equal to brute force at each cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/alloc.h"
#include "tests/support/ledger_forest.h"
#include "tests/support/threads.h"

#define HISTORIES 300U
#define OPERATIONS 300U
#define WORKERS 3U

static struct ledger_forest forest;

static void history(uint64_t seed, uint64_t stream, struct pool *pool)
{
	unsigned operation;

	ledger_forest_begin(&forest, seed, stream, pool, stream % 2);
	for (operation = 0; operation < OPERATIONS; operation++)
		ledger_forest_step(&forest);
	ledger_forest_cut(&forest);
	ledger_forest_check(&forest);
	ledger_forest_end(&forest);
}

static void histories_equal_brute_force(void **state)
{
	uint64_t seed = threads_data_seed("histories_equal_brute_force");
	uint64_t at;

	(void)state;
	for (at = 0; at < HISTORIES; at++)
		history(seed, at, NULL);
}

static void histories_by_workers_too(void **state)
{
	uint64_t seed = threads_data_seed("histories_by_workers_too");
	struct pool *pool;
	uint64_t at;

	(void)state;
	assert_int_equal(pool_create(WORKERS, &pool, NULL), 0);
	for (at = 0; at < HISTORIES / 4; at++)
		history(seed, at, pool);
	pool_destroy(pool);
}

/* Of one history each allocation fails once. */
static void failures_are_mended(void **state)
{
	uint64_t seed = threads_data_seed("failures_are_mended");
	unsigned failures = 0;
	uint64_t nth;

	(void)state;
	for (nth = 1;; nth++) {
		unsigned operation;

		ledger_forest_begin(&forest, seed, 1, NULL, true);
		forest.failing = true;
		alloc_fail_arm(nth, 0);
		for (operation = 0; operation < OPERATIONS / 3; operation++)
			ledger_forest_step(&forest);
		alloc_fail_arm(0, 0);
		forest.failing = false;
		ledger_forest_cut(&forest);
		ledger_forest_check(&forest);
		ledger_forest_end(&forest);
		failures += forest.failures;
		if (!forest.failures && nth > failures + 20)
			break;
	}
	assert_true(failures > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories_equal_brute_force),
		cmocka_unit_test(histories_by_workers_too),
		cmocka_unit_test(failures_are_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
