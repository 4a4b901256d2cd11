/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>

#include "core/base/alloc.h"
#include "core/base/barrier.h"
#include "tests/support/threads.h"

#define LIGHT_TURNS 500000U
#define HEAVY_TURNS_MAX 100000U
#define ROUNDS_MAX 4000U
#define MEETINGS 1000U

/*
 * One thread counts x up and looks at y, the other counts y up and looks at x, each with its
 * barrier in between. Nobody waits: what each saw at each step is compared afterwards.
 */
struct litmus {
	order_u32 x __attribute__((aligned(ORDER_LINE)));
	order_u32 y __attribute__((aligned(ORDER_LINE)));
	order_u32 over;
	uint32_t *light_saw; /* at step x: y */
	uint32_t *heavy_saw; /* at step y: x */
	uint32_t heavy_turns;
	void (*heavy)(void);
};

static void litmus_light(struct litmus *litmus)
{
	uint32_t at;

	for (at = 1; at <= LIGHT_TURNS; at++) {
		/* Relaxed, all of them: the barriers are what is tested. */
		order_store_relaxed(&litmus->x, at);
		barrier_light();
		litmus->light_saw[at] = order_load_relaxed(&litmus->y);
		/* The other one too needs a CPU. */
		if (!(at % 65536))
			sched_yield();
	}
	order_store_relaxed(&litmus->over, 1);
}

static void litmus_heavy(struct litmus *litmus)
{
	uint32_t at;

	for (at = 1; at <= HEAVY_TURNS_MAX && !order_load_relaxed(&litmus->over); at++) {
		order_store_relaxed(&litmus->y, at);
		litmus->heavy();
		litmus->heavy_saw[at] = order_load_relaxed(&litmus->x);
	}
	litmus->heavy_turns = at - 1;
}

static void litmus_thread(void *argument, unsigned thread)
{
	if (thread)
		litmus_heavy(argument);
	else
		litmus_light(argument);
}

/* How often one went on between two steps of the other. */
static uint32_t litmus_once(void (*heavy)(void))
{
	struct litmus litmus = { .heavy = heavy };
	uint32_t met = 0;
	uint32_t at;

	litmus.light_saw = alloc_zeroed(LIGHT_TURNS + 1, sizeof(uint32_t));
	litmus.heavy_saw = alloc_zeroed(HEAVY_TURNS_MAX + 1, sizeof(uint32_t));
	assert_non_null(litmus.light_saw);
	assert_non_null(litmus.heavy_saw);
	threads_run(2, litmus_thread, &litmus);
	for (at = 1; at <= litmus.heavy_turns; at++) {
		/* The first store of x that it has not seen: the load behind that one sees this y. */
		uint32_t unseen = litmus.heavy_saw[at] + 1;

		met += litmus.heavy_saw[at] != litmus.heavy_saw[at - 1];
		if (unseen <= LIGHT_TURNS && litmus.light_saw[unseen] < at)
			fail_msg("y=%u, x seen %u; x=%u, y seen %u", at, unseen - 1, unseen,
				 litmus.light_saw[unseen]);
	}
	alloc_free(litmus.light_saw);
	alloc_free(litmus.heavy_saw);
	return met;
}

/* Again until they have run side by side for a while. */
static void litmus_run(void (*heavy)(void))
{
	uint32_t met = 0;
	unsigned round;

	for (round = 0; round < ROUNDS_MAX && met < MEETINGS; round++)
		met += litmus_once(heavy);
	assert_in_range(met, MEETINGS, UINT32_MAX);
}

static void barrier_heavy_meets_light(void **state)
{
	(void)state;
	litmus_run(barrier_heavy);
}

static void barrier_restart_meets_light(void **state)
{
	(void)state;
	if (!barrier_can_restart())
		skip();
	litmus_run(barrier_restart);
}

/* As on a kernel without membarrier. */
static void barrier_symmetric(void **state)
{
	bool asymmetric = barrier_asymmetric;

	(void)state;
	barrier_asymmetric = false;
	litmus_run(barrier_heavy);
	barrier_asymmetric = asymmetric;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(barrier_heavy_meets_light),
		cmocka_unit_test(barrier_restart_meets_light),
		cmocka_unit_test(barrier_symmetric),
	};

	barrier_start();
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
