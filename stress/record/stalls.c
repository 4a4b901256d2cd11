/* SPDX-License-Identifier: MIT */
#include "stress/record/stalls.h"

#include <string.h>
#include <time.h>

#include "core/base/order.h"
#include "core/base/plant.h"
#include "core/base/random.h"

/* Relaxed, all counts: sums. The rest does not change while the hook is set. */
static struct {
	uint64_t seed;
	uint64_t one_in;
	unsigned windows;
	const char *names[STALLS_WINDOWS_MAX];
	order_u64 passes[STALLS_WINDOWS_MAX];
	order_u64 stalls[STALLS_WINDOWS_MAX];
	order_u64 made;
	order_u64 stream;
} stalls;

bool stalls_are_possible(void)
{
#ifdef RS_WINDOWS
	return true;
#else
	return false;
#endif
}

static unsigned stalls_find(const char *name)
{
	unsigned at = 0;

	while (at < stalls.windows && strcmp(stalls.names[at], name) != 0)
		at++;
	return at;
}

static void stalls_hook(const char *name, void *argument)
{
	static __thread struct random_state random;
	static __thread bool seeded;
	struct timespec pause = { 0, 0 };
	unsigned window = stalls_find(name);
	uint64_t us;

	(void)argument;
	if (!seeded)
		random_state_seed(&random, stalls.seed, order_fetch_add_relaxed(&stalls.stream, 1));
	seeded = true;
	if (window < stalls.windows)
		order_fetch_add_relaxed(&stalls.passes[window], 1);
	if (!random_state_chance(&random, 1, stalls.one_in))
		return;
	us = random_state_chance(&random, 1, 64) ? 5000 : random_state_below(&random, 200);
	pause.tv_nsec = (long)us * 1000;
	nanosleep(&pause, NULL);
	order_fetch_add_relaxed(&stalls.made, 1);
	if (window < stalls.windows)
		order_fetch_add_relaxed(&stalls.stalls[window], 1);
}

/* The first time. */
static void stalls_list(void)
{
	size_t count;
	const struct plant *table = plant_table(&count);
	size_t at;

	if (stalls.windows)
		return;
	for (at = 0; at < count && stalls.windows < STALLS_WINDOWS_MAX; at++)
		if (table[at].kind == PLANT_WINDOW)
			stalls.names[stalls.windows++] = table[at].name;
}

void stalls_begin(uint64_t seed, uint64_t one_in)
{
	stalls.seed = seed;
	stalls.one_in = one_in;
	stalls_list();
	window_hook_set(stalls_hook, NULL);
}

void stalls_end(void)
{
	window_hook_set(NULL, NULL);
}

bool stalls_window(unsigned at, struct stalls_window *window)
{
	stalls_list();
	if (at >= stalls.windows)
		return false;
	window->name = stalls.names[at];
	window->passes = order_load_relaxed(&stalls.passes[at]);
	window->stalls = order_load_relaxed(&stalls.stalls[at]);
	return true;
}

uint64_t stalls_made(void)
{
	return order_load_relaxed(&stalls.made);
}
