/* SPDX-License-Identifier: MIT */
#include "core/qgroup/live_rescan.h"

#include <errno.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/base/probe.h"
#include "core/qgroup/live_accounts_extent.h"
#include "core/forest/futex.h"
#include "core/qgroup/live_rescan_walk.h"

/* A step holds up commits for about so long. */
#define RESCAN_STEP_NS UINT64_C(1000000)
/* Extents between two looks at the clock. */
#define RESCAN_LOOK 32U
/* Beside writers it rests so many times as long as it works. */
#define RESCAN_RESTS 2U
#define RESCAN_REST_NS_MAX UINT64_C(20000000)
/* Sets that nobody uses, from which on they are looked at. */
#define RESCAN_UNUSED_MIN 65536U
/* It lets commits go first for so many of these. */
#define RESCAN_WAIT_NS 50000
#define RESCAN_WAITS 200U

struct live_rescan {
	struct live_accounts *accounts;
	struct live_rescan_walk walk;
	pthread_t thread;
	bool thread_runs;
	order_u32 end;
	order_u32 wanted; /* moves when there is something to do: a futex */

	/* Under the commit lock. */
	bool by_itself;      /* nobody has asked for it: who does makes it theirs */
	bool fresh;          /* the accounts began with nothing */
	uint64_t at;         /* extents that begin below are counted */
	uint64_t generation; /* that the walk has kept sets of */
	uint64_t unused;     /* sets that the last sweep left: the walk has kept them */

	order_u32 state;   /* enum rs_rescan_state; changed under the commit lock */
	order_u32 outcome; /* of the last: 0, or an errno */
	order_u64 bytenr;
	order_u64 rescans;
	order_u64 differences;
};

struct live_rescan_step {
	struct live_rescan *rescan;
	uint64_t until_ns;
	unsigned count;
	int result;
	struct rs_error error;
};

static enum rs_rescan_state live_rescan_state(const struct live_rescan *rescan)
{
	/* Relaxed: changed under the commit lock; to others it is of some moment. */
	return (enum rs_rescan_state)order_load_relaxed(&rescan->state);
}

static void live_rescan_set(struct live_rescan *rescan, enum rs_rescan_state state)
{
	struct rs_forest *forest = rescan->accounts->forest;

	/* RESCAN.state: what the rescan has done. */
	order_store_release(&rescan->state, state);
	/* RESCAN.event: the state. */
	order_fetch_add_release(&forest->rescan_event, 1);
	futex_wake_all(&forest->rescan_event);
	/* RESCAN.wanted: the state. */
	order_fetch_add_release(&rescan->wanted, 1);
	futex_wake_all(&rescan->wanted);
}

static void live_rescan_end(struct live_rescan *rescan, int outcome)
{
	struct live_accounts *accounts = rescan->accounts;

	if (outcome && live_accounts_inconsistent(accounts) && !accounts->reason.code)
		error_set(&accounts->reason, outcome, "a rescan ended before it had counted all");
	/* Relaxed: told by the state. */
	order_store_relaxed(&rescan->outcome, (uint32_t)-outcome);
	if (!outcome)
		order_fetch_add_relaxed(&rescan->rescans, 1);
	live_rescan_set(rescan, RS_RESCAN_NONE);
}

static void live_rescan_found(struct live_rescan *rescan)
{
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&rescan->differences, 1);
}

/* The extent has the new word from now on. */
static void live_rescan_install(struct live_rescan *rescan, const struct extent *extent,
				uint32_t word)
{
	struct live_ledger *ledger = rescan->accounts->ledger;
	uint32_t old = rescan->fresh ? LIVE_WORD_NONE : extent->account;

	if (!rescan->fresh && live_ledger_word_same(ledger, old, word)) {
		live_ledger_word_drop(ledger, word);
		return;
	}
	if (!rescan->fresh)
		live_rescan_found(rescan);
	live_ledger_move(ledger, live_ledger_word_set(ledger, old),
			 live_ledger_word_set(ledger, word), extent->bytes, extent->metadata);
	(void)extent_index_account_set(rescan->accounts->forest->extents, extent->bytenr, word);
	live_ledger_word_drop(ledger, old);
}

static int live_rescan_extent(void *argument, const struct extent *extent)
{
	struct live_rescan_step *step = argument;
	struct live_rescan *rescan = step->rescan;
	uint32_t word;

	if (++step->count % RESCAN_LOOK == 0 && clock_now_ns() >= step->until_ns) {
		rescan->at = extent->bytenr;
		return 1;
	}
	if (rescan->accounts->extent) {
		step->result =
			live_extent_count(rescan->accounts->extent, extent->bytenr, &step->error);
		return step->result != 0;
	}
	step->result = live_rescan_walk_word(&rescan->walk, extent, &word, &step->error);
	if (step->result)
		return 1;
	live_rescan_install(rescan, extent, word);
	return 0;
}

/* Bytes of each set, added up from the words of all extents. */
struct live_rescan_sums {
	struct live_ledger *ledger;
	struct live_group_bytes {
		uint64_t data;
		uint64_t metadata;
	} * sums;
};

static int live_rescan_sum(void *argument, const struct extent *extent)
{
	struct live_rescan_sums *sums = argument;
	uint32_t set = live_ledger_word_set(sums->ledger, extent->account);

	if (extent->metadata)
		sums->sums[set].metadata += extent->bytes;
	else
		sums->sums[set].data += extent->bytes;
	return 0;
}

/* What the ledger has for each set must be what its extents are. */
static int live_rescan_check_sets(struct live_rescan *rescan)
{
	struct live_sets *sets = live_ledger_sets(rescan->accounts->ledger);
	uint32_t limit = live_sets_limit(sets);
	struct live_rescan_sums sums = {
		.ledger = rescan->accounts->ledger,
		.sums = alloc_zeroed(limit, sizeof(*sums.sums)),
	};
	uint32_t id;

	if (!sums.sums)
		return -ENOMEM;
	extent_index_each(rescan->accounts->forest->extents, live_rescan_sum, &sums);
	for (id = 1; id < limit; id++) {
		struct live_set *set;

		if (!live_sets_in_use(sets, id))
			continue;
		set = live_set_at(sets, id);
		if (set->data == sums.sums[id].data && set->metadata == sums.sums[id].metadata)
			continue;
		live_rescan_found(rescan);
		set->data = sums.sums[id].data;
		set->metadata = sums.sums[id].metadata;
	}
	alloc_free(sums.sums);
	return 0;
}

/* Groups follow what was mended, before commits build on it. */
static int live_rescan_recount(struct live_rescan *rescan)
{
	struct live_accounts *accounts = rescan->accounts;
	size_t wrong;
	int result = live_ledger_recount_all(accounts->ledger, &wrong);

	if (result)
		return result;
	/* Relaxed: a sum. */
	order_fetch_add_relaxed(&rescan->differences, wrong);
	live_groups_publish(accounts->groups);
	return 0;
}

static int live_rescan_finish(struct live_rescan *rescan)
{
	struct live_accounts *accounts = rescan->accounts;
	size_t wrong = 0;
	int result = 0;

	if (accounts->ledger) {
		live_rescan_walk_forget(&rescan->walk);
		live_ledger_sweep(accounts->ledger);
		result = live_rescan_check_sets(rescan);
		if (!result)
			result = live_ledger_recount_all(accounts->ledger, &wrong);
	}
	if (result)
		return result;
	if (rescan->fresh) {
		accounts->known = LIVE_ACCOUNTS_ALL;
		accounts->reason = (struct rs_error)RS_ERROR_INIT;
		/* Relaxed: the groups' own words tell of their numbers. */
		order_store_relaxed(&accounts->inconsistent, 0);
	} else {
		order_fetch_add_relaxed(&rescan->differences, wrong);
	}
	live_groups_publish(accounts->groups);
	live_accounts_publish(accounts);
	/* Relaxed, both: the next commit is of the forest's generation; nothing trails. */
	order_store_relaxed(&accounts->generation,
			    order_load_relaxed(&accounts->forest->generation) - 1);
	return 0;
}

/* Before the first step of accounts that were given up. */
static int live_rescan_roots(struct live_accounts *accounts)
{
	int result = live_groups_begin(accounts->groups);

	return result ? result : live_accounts_scan(accounts, false);
}

/* Sets on the way to those of extents are used by nobody: they go when there are many. */
static int live_rescan_settle(struct live_rescan *rescan)
{
	struct live_ledger *ledger = rescan->accounts->ledger;
	struct live_sets_figures figures;
	int result = live_sets_settle(live_ledger_sets(ledger));

	if (result)
		return result;
	live_sets_figures_read(live_ledger_sets(ledger), &figures);
	if (figures.unused < rescan->unused + RESCAN_UNUSED_MIN ||
	    figures.unused - rescan->unused < (figures.sets + figures.forwarding) / 2)
		return 0;
	live_rescan_walk_hold(&rescan->walk, true);
	live_ledger_sweep(ledger);
	live_rescan_walk_hold(&rescan->walk, false);
	live_sets_figures_read(live_ledger_sets(ledger), &figures);
	rescan->unused = figures.unused;
	return 0;
}

/* By the holder of the commit lock, between two commits. */
static void live_rescan_step(struct live_rescan *rescan)
{
	struct live_accounts *accounts = rescan->accounts;
	struct rs_forest *forest = accounts->forest;
	struct live_rescan_step step = {
		.rescan = rescan,
		.until_ns = clock_now_ns() + RESCAN_STEP_NS,
		.error = RS_ERROR_INIT,
	};
	/* Relaxed: changed under the commit lock. */
	uint64_t generation = order_load_relaxed(&forest->generation);
	uint64_t differences = order_load_relaxed(&rescan->differences);
	int stopped;

	if (rescan->generation != generation && accounts->ledger) {
		live_rescan_walk_forget(&rescan->walk);
		rescan->unused = 0;
	}
	rescan->generation = generation;
	if (accounts->scan)
		step.result = live_rescan_roots(accounts);
	stopped = step.result ||
		  extent_index_each_from(forest->extents, rescan->at, live_rescan_extent, &step);
	if (!step.result && accounts->ledger)
		step.result = live_rescan_settle(rescan);
	/* Relaxed: as above. */
	if (!step.result && stopped && order_load_relaxed(&rescan->differences) != differences)
		step.result = live_rescan_recount(rescan);
	if (step.result) {
		live_accounts_give_up(accounts, step.result, &step.error);
		live_rescan_end(rescan, step.result);
		return;
	}
	if (!stopped)
		rescan->at = LIVE_ACCOUNTS_ALL;
	if (rescan->fresh)
		accounts->known = rescan->at;
	PROBE2(rescan_step, rescan->at, generation);
	/* Relaxed: for those who ask how far it is. */
	order_store_relaxed(&rescan->bytenr, rescan->at);
	if (stopped)
		return;
	step.result = live_rescan_finish(rescan);
	if (step.result)
		live_accounts_give_up(accounts, step.result, NULL);
	live_rescan_end(rescan, step.result);
}

/* A step, and a rest. False: there is nothing to do. */
static bool live_rescan_work(struct live_rescan *rescan)
{
	struct rs_forest *forest = rescan->accounts->forest;
	struct timespec pause = { 0 };
	uint64_t generation;
	uint64_t begin;
	unsigned turn;
	bool more;

	lock_acquire(&forest->commit_lock);
	generation = rescan->generation;
	begin = clock_thread_cpu_ns();
	if (live_rescan_state(rescan) == RS_RESCAN_RUNS) {
		if (rs_forest_aborted(forest, NULL))
			live_rescan_end(rescan, -EROFS);
		else if (forest->trails)
			/* Who waits for this may be the only one who can make the commit that helps. */
			live_rescan_end(rescan, -ENOMEM);
		else
			live_rescan_step(rescan);
	}
	more = live_rescan_state(rescan) == RS_RESCAN_RUNS;
	begin = (clock_thread_cpu_ns() - begin) * RESCAN_RESTS;
	if (generation != rescan->generation)
		pause.tv_nsec = (long)(begin < RESCAN_REST_NS_MAX ? begin : RESCAN_REST_NS_MAX);
	lock_release(&forest->commit_lock);
	window_pass("rescan.between");
	/* Who waits for the lock is to have it first; but many that commit all the time do not keep it out. */
	for (turn = 0; more && turn < RESCAN_WAITS; turn++) {
		/* Relaxed, both: looked at again. */
		if (!order_load_relaxed(&forest->commits_wait) || order_load_relaxed(&rescan->end))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = RESCAN_WAIT_NS }, NULL);
	}
	if (more && pause.tv_nsec)
		nanosleep(&pause, NULL);
	return more;
}

static void *live_rescan_thread(void *argument)
{
	struct live_rescan *rescan = argument;

	rcu_thread_adopt();
	/* RESCAN.end: nothing; the thread is joined behind it. */
	while (!order_load_acquire(&rescan->end)) {
		/* RESCAN.wanted: what was wanted before is seen in the state. */
		uint32_t wanted = order_load_acquire(&rescan->wanted);

		if (!live_rescan_work(rescan) && !order_load_acquire(&rescan->end))
			futex_wait(&rescan->wanted, wanted);
	}
	return NULL;
}

int live_rescan_create(struct live_accounts *accounts, struct live_rescan **out)
{
	struct live_rescan *rescan = alloc_zeroed(1, sizeof(*rescan));
	int result = rescan ? 0 : -ENOMEM;

	if (result)
		return result;
	rescan->accounts = accounts;
	if (accounts->ledger)
		result = live_rescan_walk_init(&rescan->walk, accounts->forest, accounts->ledger);
	if (result) {
		alloc_free(rescan);
		return result;
	}
	if (pthread_create(&rescan->thread, NULL, live_rescan_thread, rescan))
		result = -EAGAIN;
	rescan->thread_runs = !result;
	if (result) {
		live_rescan_destroy(rescan);
		return result;
	}
	*out = rescan;
	return 0;
}

void live_rescan_destroy(struct live_rescan *rescan)
{
	if (!rescan)
		return;
	if (rescan->thread_runs) {
		/* RESCAN.end: nothing. */
		order_store_release(&rescan->end, 1);
		/* RESCAN.wanted: that it is to end. */
		order_fetch_add_release(&rescan->wanted, 1);
		futex_wake_all(&rescan->wanted);
		pthread_join(rescan->thread, NULL);
	}
	live_rescan_walk_destroy(&rescan->walk);
	alloc_free(rescan);
}

static void live_rescan_begin(struct live_rescan *rescan)
{
	struct live_accounts *accounts = rescan->accounts;

	/* The engine `extent` has nothing that it could compare: as with the kernel, it begins again. */
	rescan->fresh = accounts->extent || live_accounts_inconsistent(accounts);
	rescan->at = 0;
	rescan->generation = 0;
	/* Relaxed, both: changed under the commit lock, and read for how far it is. */
	order_store_relaxed(&rescan->bytenr, 0);
	if (!rescan->fresh)
		return;
	order_store_relaxed(&accounts->inconsistent, 1);
	live_accounts_clear(accounts);
}

int live_rescan_start(struct live_rescan *rescan)
{
	if (live_rescan_state(rescan) != RS_RESCAN_NONE && !rescan->by_itself)
		return -EINPROGRESS;
	rescan->by_itself = false;
	live_rescan_begin(rescan);
	live_rescan_set(rescan, RS_RESCAN_RUNS);
	return 0;
}

int live_rescan_pause(struct live_rescan *rescan)
{
	if (live_rescan_state(rescan) != RS_RESCAN_RUNS)
		return -EINVAL;
	live_rescan_set(rescan, RS_RESCAN_PAUSED);
	return 0;
}

int live_rescan_resume(struct live_rescan *rescan)
{
	if (live_rescan_state(rescan) != RS_RESCAN_PAUSED)
		return -EINVAL;
	live_rescan_set(rescan, RS_RESCAN_RUNS);
	return 0;
}

int live_rescan_cancel(struct live_rescan *rescan)
{
	if (live_rescan_state(rescan) == RS_RESCAN_NONE)
		return -EINVAL;
	live_rescan_end(rescan, -ECANCELED);
	return 0;
}

void live_rescan_restart(struct live_rescan *rescan)
{
	live_rescan_begin(rescan);
	if (live_rescan_state(rescan) == RS_RESCAN_NONE) {
		rescan->by_itself = true;
		live_rescan_set(rescan, RS_RESCAN_RUNS);
	}
}

void live_rescan_lose(struct live_rescan *rescan)
{
	if (rescan && live_rescan_state(rescan) != RS_RESCAN_NONE)
		live_rescan_begin(rescan);
}

void live_rescan_read(const struct live_rescan *rescan, struct rs_quota_status *status)
{
	status->rescan = live_rescan_state(rescan);
	/* Relaxed, all of them: of some moment. */
	status->rescan_bytenr = order_load_relaxed(&rescan->bytenr);
	status->rescans = order_load_relaxed(&rescan->rescans);
	status->differences = order_load_relaxed(&rescan->differences);
}

int live_rescan_outcome(const struct live_rescan *rescan)
{
	/* RESCAN.state: sees the outcome. */
	enum rs_rescan_state state = (enum rs_rescan_state)order_load_acquire(&rescan->state);

	if (state == RS_RESCAN_RUNS)
		return -EINPROGRESS;
	/* Relaxed: told by the state. */
	return state == RS_RESCAN_PAUSED ? -EAGAIN : -(int)order_load_relaxed(&rescan->outcome);
}
