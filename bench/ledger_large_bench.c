/* SPDX-License-Identifier: MIT */
/*
 * The live ledger over a large history: a million extents in four subvolumes that take turns, 1,000
 * snapshots with 1,000 random overwrites between two. Then:
 *
 *   what taking a snapshot cost the accounts, each of the 1,000
 *   assigning 500 snapshots to a group between two commits, which is counted once
 *   dropping 100 from the middle, without groups above level 0; and 100 more where every second one is in one
 *
 * Times are of wall time, medians in microseconds, each from live_groups_begin to live_ledger_finish.
 */
#include <stdlib.h>

#include "bench/shim.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/qgroup/live_ledger.h"

#define SUBVOLS 4U
#define KEYS 250000U /* of each */
#define SNAPSHOTS 1000U
#define BETWEEN 1000U
#define DROPS 100U
#define ASSIGNED 500U
#define BYTES 4096U
#define GROUP rs_group_id(1, 0)
#define FIRST_ROOT 256U

struct large_extent {
	uint32_t word;
	uint32_t born; /* snapshots of its subvolume that there were */
};

struct large {
	struct live_ledger *ledger;
	struct random_state random;
	struct large_extent *key[SUBVOLS];
	uint32_t taken[SUBVOLS];
	uint64_t snapshots[SNAPSHOTS]; /* roots, in the order of time */
	uint32_t snapshot_count;
	struct live_change changes[2 * BETWEEN];
	struct live_delta deltas[2 * BETWEEN];
	struct large_extent *
		owner[2 * BETWEEN]; /* of the change; NULL: of one that is a snapshot's from now on */
	uint32_t change_count;
	uint64_t extents;
	uint64_t wrong;
};

static void large_failed_if(struct large *large, int result)
{
	large->wrong += result != 0;
}

static void large_change(struct large *large, uint64_t root, struct large_extent *extent,
			 int64_t count, bool gone)
{
	uint32_t at = large->change_count++;

	large->changes[at] = (struct live_change){
		.bytenr = at,
		.bytes = BYTES,
		.word = count > 0 ? LIVE_WORD_NONE : extent->word,
		.gone = gone,
		.first = at,
		.count = 1,
	};
	large->deltas[at] = (struct live_delta){ root, count };
	large->owner[at] = count > 0 ? extent : NULL;
}

static void large_commit(struct large *large)
{
	uint32_t at;

	large_failed_if(large, live_groups_begin(live_ledger_groups(large->ledger)));
	large_failed_if(large, live_ledger_apply(large->ledger, large->changes, large->change_count,
						 large->deltas, NULL));
	large_failed_if(large, live_ledger_finish(large->ledger));
	for (at = 0; at < large->change_count; at++)
		if (large->owner[at])
			large->owner[at]->word = large->changes[at].word;
	large->change_count = 0;
}

/* Extents that snapshots have keep their words, which nobody asks for again. */
static void large_overwrite(struct large *large, uint32_t subvol)
{
	uint32_t at;

	for (at = 0; at < BETWEEN; at++) {
		/* One in each part, so that none is taken twice. */
		uint32_t key = at * (KEYS / BETWEEN) +
			       (uint32_t)random_state_below(&large->random, KEYS / BETWEEN);
		struct large_extent *extent = &large->key[subvol][key];
		bool gone = extent->born == large->taken[subvol];

		large_change(large, FIRST_ROOT + subvol, extent, -1, gone);
		large->extents += !gone;
		extent->born = large->taken[subvol];
		large_change(large, FIRST_ROOT + subvol, extent, 1, false);
	}
	large_commit(large);
}

static uint64_t large_snapshot(struct large *large, uint32_t subvol)
{
	uint64_t root = FIRST_ROOT + SUBVOLS + large->snapshot_count;
	uint64_t begin = clock_now_ns();

	large_failed_if(large, live_groups_begin(live_ledger_groups(large->ledger)));
	large_failed_if(large,
			live_ledger_snapshot(large->ledger, FIRST_ROOT + subvol, root, NULL, 0));
	large_failed_if(large, live_ledger_finish(large->ledger));
	begin = clock_now_ns() - begin;
	large->snapshots[large->snapshot_count++] = root;
	large->taken[subvol]++;
	return begin;
}

static uint64_t large_drop(struct large *large, uint32_t at)
{
	uint64_t begin = clock_now_ns();

	large_failed_if(large, live_groups_begin(live_ledger_groups(large->ledger)));
	large_failed_if(large, live_ledger_drop(large->ledger, large->snapshots[at]));
	large_failed_if(large, live_ledger_finish(large->ledger));
	return clock_now_ns() - begin;
}

static uint64_t large_assign(struct large *large)
{
	struct live_groups *groups = live_ledger_groups(large->ledger);
	uint64_t begin = clock_now_ns();
	uint32_t at;

	large_failed_if(large, live_groups_create_group(groups, GROUP));
	for (at = 0; at < ASSIGNED; at++)
		large_failed_if(large, live_groups_assign(groups, large->snapshots[2 * at], GROUP));
	large_failed_if(large, live_groups_begin(groups));
	large_failed_if(large, live_ledger_finish(large->ledger));
	return clock_now_ns() - begin;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return (first > second) - (first < second);
}

static void large_show(struct bench_state *state, const char *name, uint64_t *ns, uint32_t count)
{
	qsort(ns, count, sizeof(*ns), compare_u64);
	bench_figure(state, name, (double)ns[count / 2] / 1e3);
}

static struct large *large_begin(struct pool *pool)
{
	struct large *large = alloc_zeroed(1, sizeof(*large));
	uint32_t subvol;
	uint32_t key;

	if (!large || live_ledger_create(pool, &large->ledger))
		abort();
	random_state_seed(&large->random, 1, 0);
	large_failed_if(large, live_groups_begin(live_ledger_groups(large->ledger)));
	for (subvol = 0; subvol < SUBVOLS; subvol++) {
		large_failed_if(large, live_ledger_root_add(large->ledger, FIRST_ROOT + subvol));
		large->key[subvol] = alloc_zeroed(KEYS, sizeof(*large->key[subvol]));
		if (!large->key[subvol])
			abort();
		for (key = 0; key < KEYS; key++) {
			large_change(large, FIRST_ROOT + subvol, &large->key[subvol][key], 1,
				     false);
			if (large->change_count == BETWEEN)
				large_commit(large);
		}
	}
	large_commit(large);
	large->extents = (uint64_t)SUBVOLS * KEYS;
	return large;
}

static void large_end(struct large *large)
{
	uint32_t subvol;

	live_ledger_destroy(large->ledger);
	for (subvol = 0; subvol < SUBVOLS; subvol++)
		alloc_free(large->key[subvol]);
	alloc_free(large);
}

static void large_figures(struct bench_state *state, struct large *large)
{
	struct live_ledger_figures figures;

	live_ledger_figures_read(large->ledger, &figures);
	bench_figure(state, "extents", (double)large->extents);
	bench_figure(state, "sets", (double)figures.sets.sets);
	bench_figure(state, "runs_per_set", (double)figures.sets.runs / (double)figures.sets.sets);
	/* Of the ledger; the index of extents has four more for the word. */
	bench_figure(state, "bytes_per_extent", (double)figures.bytes / (double)large->extents);
}

static void large_round(struct bench_state *state)
{
	static uint64_t ns[SNAPSHOTS];
	struct pool *pool;
	struct large *large;
	size_t wrong = 1;
	uint32_t at;

	if (pool_create(0, &pool, NULL))
		abort();
	large = large_begin(pool);
	for (at = 0; at < SNAPSHOTS; at++) {
		ns[at] = large_snapshot(large, at % SUBVOLS);
		large_overwrite(large, at % SUBVOLS);
	}
	large_show(state, "snapshot_us", ns, SNAPSHOTS);
	large_figures(state, large);
	for (at = 0; at < DROPS; at++)
		ns[at] = large_drop(large, SNAPSHOTS / 4 + 2 * at + 1);
	large_show(state, "drop_us", ns, DROPS);
	bench_figure(state, "assign_500_us", (double)large_assign(large) / 1e3);
	for (at = 0; at < DROPS; at++)
		ns[at] = large_drop(large, SNAPSHOTS / 2 + at);
	large_show(state, "drop_grouped_us", ns, DROPS);
	large_failed_if(large, live_ledger_recount_all(large->ledger, &wrong));
	if (large->wrong || wrong)
		bench_fail(state, "the ledger has failed, or a recount finds other numbers");
	large_end(large);
	pool_destroy(pool);
}

static void large(struct bench_state *state)
{
	while (bench_running(state))
		large_round(state);
}

void bench_register_ledger_large(void)
{
	bench_register_with("ledger/large/1000000", large, NULL, 1);
}
