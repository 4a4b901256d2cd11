// SPDX-License-Identifier: MIT
/* What the accounting costs: an item by chain and by table, and the interning of sets. */
#include <pthread.h>
#include <stdlib.h>

#include "bench/shim.h"
#include "core/base/idtable.h"
#include "core/base/random.h"
#include "core/qgroup/chain.h"
#include "core/qgroup/extents.h"
#include "core/qgroup/rootset.h"

#define ROOTS 512U
#define SETS 16384U
#define EXTENTS 65536U
#define ITEMS 200U
#define BATCH 64U

/* Tables that all benchmarks and threads share; nothing in them changes once they are filled. */
static struct rootset_table sets;
static struct extent_table extents;
static uint32_t pairs[SETS][2];
static uint32_t ids[SETS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void)
{
	struct random_state random;
	uint32_t at;

	random_state_seed(&random, 1, 0);
	if (rootset_table_init(&sets) || extent_table_init(&extents))
		abort();
	for (at = 0; at < SETS; at++) {
		pairs[at][0] = (uint32_t)random_state_below(&random, ROOTS);
		pairs[at][1] = pairs[at][0] + 1 + (uint32_t)random_state_below(&random, ROOTS);
		if (rootset_intern(&sets, pairs[at], 2, &ids[at]))
			abort();
	}
	for (at = 0; at < EXTENTS; at++) {
		struct extent *extent;
		bool fresh;

		rcu_section_enter();
		if (extent_table_get(&extents, (at + 1) * 4096ULL, 4096, &extent, &fresh, NULL))
			abort();
		rcu_section_exit();
	}
}

static void begin(void)
{
	rcu_thread_enroll();
	pthread_once(&once, fill_tables);
}

static void intern_hit(struct bench_state *state)
{
	uint32_t at = (uint32_t)bench_thread(state) * 1000;
	uint64_t done = 0;
	uint64_t wrong = 0;

	begin();
	while (bench_running(state)) {
		unsigned more;

		for (more = 0; more < BATCH; more++, at = (at + 7) % SETS) {
			uint32_t id;

			wrong += rootset_intern(&sets, pairs[at], 2, &id) || id != ids[at];
		}
		done += BATCH;
	}
	if (wrong)
		bench_fail(state, "a set was not found under its id");
	bench_done(state, "intern", done);
	rcu_thread_leave();
}

static void extent_get_hit(struct bench_state *state)
{
	uint64_t at = (uint64_t)bench_thread(state) * 1000;
	uint64_t done = 0;
	uint64_t wrong = 0;

	begin();
	while (bench_running(state)) {
		unsigned more;

		rcu_section_enter();
		for (more = 0; more < BATCH; more++, at = (at + 7919) % EXTENTS) {
			uint64_t bytenr = (at + 1) * 4096;
			struct extent *extent = NULL;
			bool fresh = true;

			wrong += extent_table_get(&extents, bytenr, 4096, &extent, &fresh, NULL) ||
				 fresh || extent->bytenr != bytenr;
		}
		rcu_section_exit();
		done += BATCH;
	}
	if (wrong)
		bench_fail(state, "an extent was not found");
	bench_done(state, "extent", done);
	rcu_thread_leave();
}

/* The versions of one leaf, one root further each time, all items as before. */
static void chain_take_same(struct bench_state *state)
{
	static _Thread_local struct runs targets[ITEMS];
	struct chain chain;
	uint32_t position = 0;
	uint64_t done = 0;
	uint64_t taken = 0;
	int result = 0;

	if (chain_init(&chain, ITEMS)) {
		bench_fail(state, "no memory");
		return;
	}
	while (bench_running(state)) {
		struct run run = { position, position + 1 };
		uint32_t at;

		position++;
		chain_begin(&chain, &run, 1);
		for (at = 0; at < ITEMS; at++) {
			struct chain_item item = {
				.key = { .objectid = 257, .offset = at },
				.bytenr = at + 1,
				.check = 4096,
			};

			if (chain_take(&chain, &item, &result))
				taken++;
			else
				result |= chain_add(&chain, &item, &targets[at]);
		}
		result |= chain_end(&chain);
		done += ITEMS;
	}
	if (result || chain_finish(&chain) || taken != done - ITEMS)
		bench_fail(state, "an item was not taken over");
	bench_done(state, "item", done);
	chain_destroy(&chain);
}

void bench_register_sets(void)
{
	static const int threads[] = { 1, 2, 8 };
	unsigned at;

	for (at = 0; at < sizeof(threads) / sizeof(threads[0]); at++) {
		bench_register("rootset/intern/hit", intern_hit, threads[at]);
		bench_register("extents/get/hit", extent_get_hit, threads[at]);
		bench_register("chain/take/same", chain_take_same, threads[at]);
	}
}
