/* SPDX-License-Identifier: MIT */
/*
 * What a changed extent costs the accounts of a live forest, from a merged head to counters.
 *
 *   ledger, extent  beside so many snapshots: a file of 100,000 blocks, overwritten 100,000 times while they are
 *                   taken, so that its extents are spread over about as many root sets; then commits of 3,000
 *                   overwrites each of blocks that none of these commits has met
 *
 * The accounts' hooks are wrapped; all that is measured is done in them. Heads, which are many and cost little,
 * are measured by the monotonic clock, references that are traced by the thread's CPU time, both less what
 * reading the clock takes; all else by the CPU time of the process, since the ledger has workers. What the
 * forest does for the accounts outside of them, recording root deltas, does not count.
 *
 * Of both engines the changed extents are those whose head says that a root gained or lost them; for that
 * root deltas are recorded where `extent` has no use for them. Tree blocks of the subvolume are copied once
 * behind the last snapshot before quotas are on: else a first commit would trace all of the file's extents,
 * which would count against `extent` alone. So does not count the first commit behind the rescan, of one block:
 * there the ledger gives back what the rescan has left, whatever has changed (first_ms).
 *
 * Behind that the groups of all subvolumes are checked: with 1 and 64 snapshots against the oracle's recount, which
 * would take minutes and 16 GiB with 1,024, with more against a ledger that begins with nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/forest_work.h"
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/random.h"
#include "core/base/rcu.h"
#include "core/forest/forest_impl.h"
#include "refstorm/quota.h"

#define BLOCKS 100000U
#define OVERWRITES 100000U /* over all of the history */
#define COMMIT 3000U
#define COMMITS_MAX 20U
#define CPU_NS_MAX UINT64_C(5000000000) /* no commit begins behind it */
#define COPY_EVERY 64U                  /* blocks; fewer than a leaf has, but for some */
#define CLOCK_PAIRS 20000U
#define CLOCK_TRIES 10U

struct changed {
	const char *name;
	enum rs_quota_engine engine;
	uint32_t snapshots;
	bool recounted; /* by the oracle, who reads each root's whole tree */
};

/* Hooks are given the accounts only. */
static struct {
	struct forest_accounts *accounts;
	const struct forest_hooks *original;
	struct forest_hooks timed;
	uint64_t extents; /* changed */
	uint64_t heads;
	uint64_t traces;
	uint64_t head_ns; /* of the running commit, by the wall */
	uint64_t run_ns;  /* where its heads began */
	uint64_t run_cpu_ns;
	double heads_ns; /* of all commits */
	uint64_t trace_ns;
	uint64_t settle_ns; /* begin, settle, finish */
	double head_clock_ns;
	double trace_clock_ns;
} changed_work;

static uint64_t changed_process_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

/* What two readings of a clock find with nothing between them. */
static double changed_clock_cost(uint64_t (*clock)(void))
{
	double least = 1e9;
	unsigned try;
	unsigned at;

	for (try = 0; try < CLOCK_TRIES; try++) {
		uint64_t sum = 0;

		for (at = 0; at < CLOCK_PAIRS; at++) {
			uint64_t begin = clock();

			sum += clock() - begin;
		}
		if ((double)sum / CLOCK_PAIRS < least)
			least = (double)sum / CLOCK_PAIRS;
	}
	return least;
}

static void changed_begin(struct forest_accounts *accounts, const struct rs_subvol *snapshot)
{
	uint64_t begin = changed_process_ns();

	changed_work.original->begin(accounts, snapshot);
	changed_work.settle_ns += changed_process_ns() - begin;
	changed_work.head_ns = 0;
	changed_work.run_cpu_ns = clock_thread_cpu_ns();
	changed_work.run_ns = clock_now_ns();
}

static bool changed_has_root_delta(const struct rs_head *head)
{
	size_t at;

	for (at = 0; at < head->root_count; at++)
		if (head->roots[at].count)
			return true;
	return false;
}

static void changed_head(struct forest_accounts *accounts, const struct rs_head *head,
			 const struct extent_result *result)
{
	uint64_t begin = clock_now_ns();

	changed_work.original->head(accounts, head, result);
	changed_work.head_ns += clock_now_ns() - begin;
	changed_work.heads++;
	changed_work.extents += changed_has_root_delta(head);
}

/* Their share of the CPU time of this thread: it may have waited for a CPU. */
static void changed_heads_end(void)
{
	double run_ns = (double)(clock_now_ns() - changed_work.run_ns);
	double cpu_ns = (double)(clock_thread_cpu_ns() - changed_work.run_cpu_ns);

	changed_work.heads_ns +=
		(double)changed_work.head_ns * (cpu_ns < run_ns ? cpu_ns / run_ns : 1);
}

static void changed_settle(struct forest_accounts *accounts, struct rs_subvol *snapshot)
{
	uint64_t begin;

	changed_heads_end();
	begin = changed_process_ns();
	changed_work.original->settle(accounts, snapshot);
	changed_work.settle_ns += changed_process_ns() - begin;
}

static void changed_finish(struct forest_accounts *accounts, uint64_t generation)
{
	uint64_t begin = changed_process_ns();

	changed_work.original->finish(accounts, generation);
	changed_work.settle_ns += changed_process_ns() - begin;
}

static void changed_trace(struct forest_accounts *accounts, uint64_t bytenr, uint64_t bytes,
			  bool metadata)
{
	uint64_t begin = clock_thread_cpu_ns();

	changed_work.original->trace(accounts, bytenr, bytes, metadata);
	changed_work.trace_ns += clock_thread_cpu_ns() - begin;
	changed_work.traces++;
}

/* From nothing. Nobody else uses the forest, and no transaction is open. */
static void changed_hooks_wrap(void)
{
	struct forest_accounts *accounts = forest_accounts_held(forest_work.forest);

	memset(&changed_work, 0, sizeof(changed_work));
	changed_work.head_clock_ns = changed_clock_cost(clock_now_ns);
	changed_work.trace_clock_ns = changed_clock_cost(clock_thread_cpu_ns);
	changed_work.accounts = accounts;
	changed_work.original = accounts->hooks;
	changed_work.timed = *accounts->hooks;
	changed_work.timed.begin = changed_begin;
	changed_work.timed.head = changed_head;
	changed_work.timed.settle = changed_settle;
	changed_work.timed.finish = changed_finish;
	if (changed_work.timed.trace)
		changed_work.timed.trace = changed_trace;
	accounts->hooks = &changed_work.timed;
	forest_work.forest->root_deltas = true;
}

static void changed_hooks_restore(void)
{
	changed_work.accounts->hooks = changed_work.original;
	forest_work.forest->root_deltas = changed_work.original->root_deltas;
}

static double changed_less_clock(double ns, uint64_t count, double clock_ns)
{
	ns -= (double)count * clock_ns;
	return ns > 0 ? ns : 0;
}

/* As forest_work_begin, but for the thread that takes trees apart. */
static void changed_forest_begin(void)
{
	const struct rs_forest_options options = { .no_drop_thread = true };

	memset(&forest_work, 0, sizeof(forest_work));
	if (rs_forest_create(&options, &forest_work.forest, NULL) ||
	    rs_writer_join(forest_work.forest, &forest_work.writer))
		abort();
}

static void changed_history(const struct changed *changed, struct forest_work_file *file,
			    struct random_state *random)
{
	struct rs_subvol *snapshot;
	char name[16];
	uint32_t left;
	uint32_t at;

	forest_work_fill(file, "source", BLOCKS);
	for (at = 0; at < changed->snapshots; at++) {
		for (left = OVERWRITES / changed->snapshots; left; left--)
			forest_work_write(forest_work.writer, file,
					  random_state_below(random, BLOCKS));
		snprintf(name, sizeof(name), "s%u", at);
		forest_work_failed_if(rs_subvol_snapshot(forest_work.writer, file->subvol, name,
							 true, &snapshot));
	}
	for (at = 0; at < BLOCKS; at += COPY_EVERY)
		forest_work_write(forest_work.writer, file, at);
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
	forest_work_failed_if(rs_quota_enable(forest_work.writer, changed->engine));
	forest_work_failed_if(rs_rescan_wait(forest_work.forest));
}

/* Blocks that still have what the history gave them, in random order. */
static uint32_t changed_order(uint32_t *order, struct random_state *random)
{
	uint32_t count = 0;
	uint32_t block;

	for (block = 0; block < BLOCKS; block++) {
		uint32_t other;

		if (block % COPY_EVERY == 0)
			continue;
		other = (uint32_t)random_state_below(random, ++count);
		order[count - 1] = order[other];
		order[other] = block;
	}
	return count;
}

static uint64_t changed_cpu_ns(void)
{
	return changed_work.settle_ns + changed_work.trace_ns + (uint64_t)changed_work.heads_ns;
}

/* How many commits. */
static uint32_t changed_commits(const struct forest_work_file *file, struct random_state *random)
{
	uint32_t *order = alloc_array(BLOCKS, sizeof(*order));
	uint32_t commits = 0;
	uint32_t done = 0;
	uint32_t count;
	uint32_t left;

	if (!order)
		abort();
	count = changed_order(order, random);
	while (commits < COMMITS_MAX && done + COMMIT <= count && changed_cpu_ns() < CPU_NS_MAX) {
		for (left = COMMIT; left; left--)
			forest_work_write(forest_work.writer, file, order[done++]);
		/* What the commit before has freed is not freed meanwhile. */
		rcu_defer_barrier();
		forest_work_failed_if(rs_forest_commit(forest_work.writer));
		commits++;
	}
	alloc_free(order);
	return commits;
}

static void changed_show(struct bench_state *state, const struct changed *changed, uint32_t commits)
{
	double heads_ns = changed_less_clock(changed_work.heads_ns, changed_work.heads,
					     changed_work.head_clock_ns);
	double trace_ns = changed_less_clock((double)changed_work.trace_ns, changed_work.traces,
					     changed_work.trace_clock_ns);
	double extents = (double)(changed_work.extents | !changed_work.extents);
	struct rs_quota_status status;

	rs_quota_status_read(forest_work.forest, &status);
	if (status.inconsistent || changed_work.extents < (uint64_t)commits * COMMIT * 2)
		bench_fail(state, "the accounts are not told of all overwrites, or are lost");
	bench_figure(state, "cpu_ns_per_extent",
		     (heads_ns + trace_ns + (double)changed_work.settle_ns) / extents);
	bench_figure(state, "head_ns", heads_ns / extents);
	bench_figure(state, "trace_ns", trace_ns / extents);
	bench_figure(state, "settle_ns", (double)changed_work.settle_ns / extents);
	bench_figure(state, "head_clock_ns", changed_work.head_clock_ns);
	bench_figure(state, "snapshots", changed->snapshots);
	bench_figure(state, "sets", (double)status.sets);
	bench_figure(state, "extents", (double)changed_work.extents);
	bench_figure(state, "traces", (double)changed_work.traces);
	bench_figure(state, "commits", commits);
}

/* Groups of all subvolumes, ascending. Their number. */
static size_t changed_groups_read(struct rs_group_usage *usages, size_t room)
{
	uint64_t id = 0;
	size_t count = 0;

	while (count < room && !rs_group_next(forest_work.forest, &id))
		forest_work_failed_if(rs_group_read(forest_work.forest, id, &usages[count++]));
	return count;
}

/* A ledger that begins with nothing must come to the same numbers. */
static void changed_groups_count_again(struct bench_state *state, const struct changed *changed)
{
	size_t room = changed->snapshots + 8;
	struct rs_group_usage *before = alloc_zeroed(room, sizeof(*before));
	struct rs_group_usage *after = alloc_zeroed(room, sizeof(*after));
	size_t count;

	if (!before || !after)
		abort();
	count = changed_groups_read(before, room);
	forest_work_failed_if(rs_quota_disable(forest_work.writer));
	forest_work_failed_if(rs_quota_enable(forest_work.writer, RS_QUOTA_LEDGER));
	forest_work_failed_if(rs_rescan_wait(forest_work.forest));
	if (count < changed->snapshots + 1 || changed_groups_read(after, room) != count ||
	    memcmp(before, after, count * sizeof(*before)))
		bench_fail(state, "groups are not what they are when counted again");
	alloc_free(before);
	alloc_free(after);
}

/* The first commit behind the rescan gives back sets that only the rescan had. */
static void changed_first(struct bench_state *state, const struct forest_work_file *file)
{
	changed_hooks_wrap();
	forest_work_write(forest_work.writer, file, 0);
	rcu_defer_barrier();
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
	bench_figure(state, "first_ms", (double)changed_cpu_ns() / 1e6);
	changed_hooks_restore();
}

static void changed_round(struct bench_state *state, const struct changed *changed)
{
	struct forest_work_file file;
	struct random_state random;
	uint64_t begin = clock_now_ns();
	uint32_t commits;

	random_state_seed(&random, FOREST_WORK_SEED, changed->snapshots);
	changed_forest_begin();
	changed_history(changed, &file, &random);
	bench_figure(state, "history_seconds", (double)(clock_now_ns() - begin) / 1e9);
	changed_first(state, &file);
	changed_hooks_wrap();
	commits = changed_commits(&file, &random);
	changed_hooks_restore();
	changed_show(state, changed, commits);
	begin = clock_now_ns();
	if (changed->recounted)
		forest_work_groups_check(state);
	else
		changed_groups_count_again(state, changed);
	bench_figure(state, "check_seconds", (double)(clock_now_ns() - begin) / 1e9);
	forest_work_end();
}

static void changed(struct bench_state *state)
{
	while (bench_running(state))
		changed_round(state, bench_argument(state));
	if (order_load_relaxed(&forest_work.failed))
		bench_fail(state, "calls failed that should not have");
}

static const struct changed all_changed[] = {
	{ "ledger/1", RS_QUOTA_LEDGER, 1, true },
	{ "ledger/64", RS_QUOTA_LEDGER, 64, true },
	{ "ledger/1024", RS_QUOTA_LEDGER, 1024, false },
	{ "ledger/8192", RS_QUOTA_LEDGER, 8192, false },
	{ "extent/1", RS_QUOTA_EXTENT, 1, true },
	{ "extent/64", RS_QUOTA_EXTENT, 64, true },
	{ "extent/512", RS_QUOTA_EXTENT, 512, false },
	{ "extent/1024", RS_QUOTA_EXTENT, 1024, false },
};

void bench_register_quota_changed(void)
{
	char name[64];
	size_t at;

	for (at = 0; at < sizeof(all_changed) / sizeof(all_changed[0]); at++) {
		snprintf(name, sizeof(name), "quota/changed/%s", all_changed[at].name);
		bench_register_with(name, changed, &all_changed[at], 1);
	}
}
