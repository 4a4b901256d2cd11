// SPDX-License-Identifier: MIT
/*
 * What the live ledger costs: a subvolume whose extents are overwritten while snapshots are
 * taken, so that they are spread over as many root sets.
 *
 *   apply     a commit of random overwrites: of each, one extent loses the root and a fresh one gains it;
 *             from live_groups_begin to live_ledger_finish
 *   snapshot  one more, with its commit
 *   drop      of one from the middle, with its commit
 */
#include <stdlib.h>

#include "bench/shim.h"
#include "core/base/alloc.h"
#include "core/base/random.h"
#include "core/qgroup/live_ledger.h"

#define KEYS 100000U
#define OVERWRITES 100000U /* over all of the history */
#define EXTENTS (1U << 20)
#define COMMIT 3000U
#define ROOT 256U
#define BYTES 4096U
#define BETWEEN 12U /* overwrites before a snapshot that is timed */

struct history {
	struct live_ledger *ledger;
	struct random_state random;
	uint32_t *key;   /* extent */
	uint32_t *word;  /* by extent */
	uint32_t *birth; /* by extent: snapshots taken before */
	uint32_t *free;
	uint32_t free_count;
	uint32_t extent_count;
	uint64_t *snapshots;
	uint32_t snapshot_count;
	uint32_t taken;
	struct live_change *changes;
	struct live_delta *deltas;
	uint32_t *extents; /* of the changes */
	uint32_t *order;   /* keys that the measured commits overwrite, each once */
	uint32_t ordered;  /* of them done */
	uint32_t *stamp;   /* by key: the commit that overwrites it */
	uint32_t commits;
	uint32_t change_count;
	uint64_t wrong;
};

static void *history_array(size_t count, size_t size)
{
	void *array = alloc_zeroed(count, size);

	if (!array)
		abort();
	return array;
}

static void history_change(struct history *history, uint32_t extent, int64_t count, bool gone)
{
	uint32_t at = history->change_count++;

	history->changes[at] = (struct live_change){
		.bytenr = extent,
		.bytes = BYTES,
		.word = history->word[extent],
		.gone = gone,
		.first = at,
		.count = 1,
	};
	history->deltas[at] = (struct live_delta){ ROOT, count };
	history->extents[at] = extent;
}

static uint32_t history_fresh(struct history *history)
{
	uint32_t extent = history->free_count ? history->free[--history->free_count] :
						history->extent_count++;

	if (extent >= EXTENTS)
		abort();
	history->birth[extent] = history->taken;
	return extent;
}

static void history_overwrite(struct history *history, uint32_t key)
{
	uint32_t old = history->key[key];

	history_change(history, old, -1, history->birth[old] == history->taken);
	history->key[key] = history_fresh(history);
	history_change(history, history->key[key], 1, false);
}

/* What a measured commit brings: keys as old as the history made them. False: none is left. */
static bool history_plan_next(struct history *history)
{
	uint32_t at;

	history->change_count = 0;
	if (history->ordered + COMMIT > KEYS)
		return false;
	for (at = 0; at < COMMIT; at++)
		history_overwrite(history, history->order[history->ordered++]);
	return true;
}

static void history_order(struct history *history)
{
	uint32_t at;

	for (at = 0; at < KEYS; at++) {
		uint32_t other = (uint32_t)random_state_below(&history->random, at + 1);

		history->order[at] = history->order[other];
		history->order[other] = at;
	}
}

/* What a commit brings: so many keys, each once, in random order. */
static void history_plan(struct history *history, uint32_t count)
{
	history->change_count = 0;
	history->commits++;
	while (count--) {
		uint32_t key = (uint32_t)random_state_below(&history->random, KEYS);

		if (history->stamp[key] == history->commits)
			continue;
		history->stamp[key] = history->commits;
		history_overwrite(history, key);
	}
}

static void history_begin_commit(struct history *history)
{
	history->wrong += live_groups_begin(live_ledger_groups(history->ledger)) != 0;
}

static void history_apply(struct history *history)
{
	history->wrong += live_ledger_apply(history->ledger, history->changes,
					    history->change_count, history->deltas, NULL) != 0;
}

static void history_finish(struct history *history)
{
	history->wrong += live_ledger_finish(history->ledger) != 0;
}

static void history_words(struct history *history)
{
	uint32_t at;

	for (at = 0; at < history->change_count; at++) {
		uint32_t extent = history->extents[at];

		history->word[extent] = history->changes[at].word;
		if (history->changes[at].gone)
			history->free[history->free_count++] = extent;
	}
}

static void history_commit(struct history *history)
{
	history_begin_commit(history);
	history_apply(history);
	history_finish(history);
	history_words(history);
}

static void history_snapshot(struct history *history)
{
	uint64_t root = ROOT + 1 + history->taken;

	history_begin_commit(history);
	history->wrong += live_ledger_snapshot(history->ledger, ROOT, root, NULL, 0) != 0;
	history_finish(history);
	history->snapshots[history->snapshot_count++] = root;
	history->taken++;
}

static void history_drop(struct history *history, uint32_t at)
{
	uint64_t root = history->snapshots[at];

	history_begin_commit(history);
	history->wrong += live_ledger_drop(history->ledger, root) != 0;
	history_finish(history);
	for (; at + 1 < history->snapshot_count; at++)
		history->snapshots[at] = history->snapshots[at + 1];
	history->snapshot_count--;
}

static void history_begin(struct history *history, uint32_t snapshots)
{
	uint32_t at;

	*history = (struct history){ .extent_count = 1 };
	random_state_seed(&history->random, 1, snapshots);
	history->key = history_array(KEYS, sizeof(*history->key));
	history->stamp = history_array(KEYS, sizeof(*history->stamp));
	history->order = history_array(KEYS, sizeof(*history->order));
	history_order(history);
	history->word = history_array(EXTENTS, sizeof(*history->word));
	history->birth = history_array(EXTENTS, sizeof(*history->birth));
	history->free = history_array(EXTENTS, sizeof(*history->free));
	history->snapshots = history_array(1U << 20, sizeof(*history->snapshots));
	history->changes = history_array(2 * OVERWRITES, sizeof(*history->changes));
	history->deltas = history_array(2 * OVERWRITES, sizeof(*history->deltas));
	history->extents = history_array(2 * OVERWRITES, sizeof(*history->extents));
	if (live_ledger_create(NULL, &history->ledger))
		abort();
	history_begin_commit(history);
	history->wrong += live_ledger_root_add(history->ledger, ROOT) != 0;
	for (at = 0; at < KEYS; at++) {
		history->key[at] = history_fresh(history);
		history_change(history, history->key[at], 1, false);
	}
	history_commit(history);
	for (at = 0; at < snapshots; at++) {
		history_snapshot(history);
		history_plan(history, OVERWRITES / snapshots);
		history_commit(history);
	}
}

static void history_end(struct history *history)
{
	live_ledger_destroy(history->ledger);
	alloc_free(history->key);
	alloc_free(history->order);
	alloc_free(history->stamp);
	alloc_free(history->word);
	alloc_free(history->birth);
	alloc_free(history->free);
	alloc_free(history->snapshots);
	alloc_free(history->changes);
	alloc_free(history->deltas);
	alloc_free(history->extents);
}

/* All of the level-0 groups is what their sets have: a recount finds nothing wrong. */
static void history_check(struct history *history)
{
	size_t wrong = 1;

	history->wrong += live_ledger_recount_all(history->ledger, &wrong) != 0;
	history->wrong += wrong;
}

static void history_show(struct history *history, struct bench_state *state)
{
	struct live_ledger_figures figures;

	live_ledger_figures_read(history->ledger, &figures);
	bench_figure(state, "sets", (double)figures.sets.sets);
	bench_figure(state, "runs_per_set",
		     (double)figures.sets.runs / (double)(figures.sets.sets | !figures.sets.sets));
	bench_figure(state, "bytes_per_extent",
		     (double)figures.bytes / (history->extent_count - history->free_count));
	bench_figure(state, "misses_per_change",
		     (double)figures.memo_misses / (double)figures.changes);
	history_check(history);
	if (history->wrong)
		bench_fail(state, "the ledger has failed, or a recount finds other numbers");
}

static void apply(struct bench_state *state)
{
	uint32_t snapshots = *(const uint32_t *)bench_argument(state);
	struct history history;
	uint64_t wrong = 0;
	uint64_t done = 0;

	history_begin(&history, snapshots);
	while (bench_running(state)) {
		bench_pause(state);
		if (!history_plan_next(&history)) {
			wrong += history.wrong;
			history_end(&history);
			history_begin(&history, snapshots);
			wrong += !history_plan_next(&history);
		}
		bench_resume(state);
		history_begin_commit(&history);
		history_apply(&history);
		history_finish(&history);
		bench_pause(state);
		history_words(&history);
		done += history.change_count;
		bench_resume(state);
	}
	history.wrong += wrong;
	bench_done(state, "extent", done);
	history_show(&history, state);
	history_end(&history);
}

static void snapshot(struct bench_state *state)
{
	struct history history;
	uint64_t done = 0;

	history_begin(&history, *(const uint32_t *)bench_argument(state));
	for (; bench_running(state); done++) {
		history_snapshot(&history);
		bench_pause(state);
		history_plan(&history, BETWEEN);
		history_commit(&history);
		history_drop(&history, history.snapshot_count / 2);
		bench_resume(state);
	}
	bench_done(state, "snapshot", done);
	history_show(&history, state);
	history_end(&history);
}

static void drop(struct bench_state *state)
{
	struct history history;
	uint64_t done = 0;

	history_begin(&history, *(const uint32_t *)bench_argument(state));
	for (; bench_running(state); done++) {
		bench_pause(state);
		history_snapshot(&history);
		history_plan(&history, BETWEEN);
		history_commit(&history);
		bench_resume(state);
		history_drop(&history, history.snapshot_count / 2);
	}
	bench_done(state, "drop", done);
	history_show(&history, state);
	history_end(&history);
}

void bench_register_ledger(void)
{
	static const uint32_t snapshots[] = { 1, 64, 1024, 8192 };

	bench_register_with("ledger/apply/1", apply, &snapshots[0], 1);
	bench_register_with("ledger/apply/64", apply, &snapshots[1], 1);
	bench_register_with("ledger/apply/1024", apply, &snapshots[2], 1);
	bench_register_with("ledger/apply/8192", apply, &snapshots[3], 1);
	bench_register_with("ledger/snapshot/1024", snapshot, &snapshots[2], 1);
	bench_register_with("ledger/drop/1024", drop, &snapshots[2], 1);
	bench_register_with("ledger/drop/8192", drop, &snapshots[3], 1);
}
