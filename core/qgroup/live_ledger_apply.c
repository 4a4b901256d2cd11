// SPDX-License-Identifier: MIT
/* The changes of a commit. */
#include <errno.h>

#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/qgroup/live_ledger_impl.h"

/* A worker takes one in so many of the changes that are worth waking it, at a time. */
#define PARALLEL_PARTS 16U

/* Changes ahead whose memo and set are fetched; then what the memo leads to, or where the set is to be found. */
#define MEMO_AHEAD 12U
#define TOGGLED_AHEAD 6U

struct apply {
	struct live_ledger *ledger;
	struct live_change *changes;
	const struct live_delta *deltas;
	struct pool_range range;
};

static bool change_is_plain(const struct live_change *change)
{
	return change->count == 1 && !(change->word & LIVE_WORD_LAYERED);
}

/* The word names the set that it forwards to, which is the one that is worked with. */
static int word_follow(struct live_worker *worker, struct live_change *change)
{
	uint32_t set = plant_armed("ledger.forward-ignored") ?
			       change->word :
			       live_sets_find(worker->ledger->sets, change->word);

	if (set == change->word)
		return 0;
	if (live_holds_reserve(worker, 2))
		return -ENOMEM;
	live_hold_add(worker, change->word, -1);
	live_hold_add(worker, set, 1);
	change->word = set;
	return 0;
}

/*
 * One root gains an extent that it did not reference, or loses one that it references once, and no
 * root references it more often. False: it is some other change, of which nothing is done.
 */
static inline bool change_plain(struct live_worker *worker, struct live_change *change,
				const struct live_delta *delta)
{
	bool gains = delta->count > 0;
	uint32_t element = live_worker_element(worker, delta->root);
	struct live_fold *fold;
	uint32_t set;

	if ((delta->count != 1 && delta->count != -1) || element == LINEAGE_NONE)
		return false;
	fold = live_fold_find(worker, change->word, element, worker->ledger->stamps[element]);
	if (!fold) {
		int ret = word_follow(worker, change);

		if (!ret)
			ret = live_fold_get(worker, change->word, element, &fold);
		if (ret) {
			worker->error = ret == -E2BIG ? -ENOMEM : ret;
			return true;
		}
	}
	set = gains ? fold->big : fold->small;
	if (set == change->word || (change->gone && set != LIVE_SET_EMPTY))
		return false;
	fold->words += gains ? 1 : -1;
	live_fold_move(fold, gains, change->bytes, change->metadata);
	change->word = set;
	return true;
}

static inline uint32_t change_stamp(struct live_worker *worker, const struct apply *apply,
				    const struct live_change *change)
{
	return worker->ledger
		->stamps[live_worker_element(worker, apply->deltas[change->first].root)];
}

static inline void change_fetch_memo(struct live_worker *worker, const struct apply *apply,
				     const struct live_change *change)
{
	if (!change_is_plain(change))
		return;
	__builtin_prefetch(
		&worker->memos[live_memo_place(change->word, change_stamp(worker, apply, change))]);
	__builtin_prefetch(live_set_at(worker->ledger->sets, change->word));
}

static inline void change_fetch_toggled(struct live_worker *worker, const struct apply *apply,
					const struct live_change *change)
{
	const struct live_memo *memo;
	uint32_t element;
	uint32_t stamp;

	if (!change_is_plain(change))
		return;
	element = live_worker_element(worker, apply->deltas[change->first].root);
	if (element == LINEAGE_NONE)
		return;
	stamp = worker->ledger->stamps[element];
	memo = &worker->memos[live_memo_place(change->word, stamp)];
	if (memo->set == change->word && memo->stamp == stamp)
		__builtin_prefetch(
			live_set_at(worker->ledger->sets, memo->toggled & ~LIVE_MEMO_GAINS));
	else
		live_sets_toggle_prefetch(worker->ledger->sets, change->word, element);
}

static void changes_take(struct live_worker *worker, const struct apply *apply, size_t first,
			 size_t count)
{
	size_t end = first + count;
	size_t at;

	for (at = first; at < end && !worker->error; at++) {
		struct live_change *change = &apply->changes[at];

		if (at + MEMO_AHEAD < end)
			change_fetch_memo(worker, apply, change + MEMO_AHEAD);
		if (at + TOGGLED_AHEAD < end)
			change_fetch_toggled(worker, apply, change + TOGGLED_AHEAD);
		if (change_is_plain(change) &&
		    change_plain(worker, change, &apply->deltas[change->first]))
			continue;
		worker->error = live_change_apply(worker, change, at, apply->deltas);
	}
}

static void worker_run(void *argument, unsigned number)
{
	struct apply *apply = (struct apply *)argument;
	uint64_t first;
	uint64_t count;

	while (pool_range_take(&apply->range, &first, &count))
		changes_take(&apply->ledger->workers[number], apply, first, count);
}

static void workers_begin(struct live_ledger *ledger)
{
	uint32_t at;

	for (at = 0; at < ledger->worker_count; at++) {
		ledger->workers[at].error = 0;
		ledger->workers[at].fault.kind = LIVE_FAULT_NONE;
	}
}

static int fault_report(const struct live_fault *fault, struct rs_error *error)
{
	unsigned long long root = (unsigned long long)fault->root;
	unsigned long long has = (unsigned long long)fault->has;
	long long count = (long long)fault->count;

	if (fault->kind == LIVE_FAULT_ROOT)
		return error_set_at(error, -EUCLEAN, fault->bytenr,
				    "accounts: the extent's references change by %lld of root "
				    "%llu, which is not known",
				    count, root);
	if (fault->kind == LIVE_FAULT_LOSES)
		return error_set_at(error, -EUCLEAN, fault->bytenr,
				    "accounts: root %llu references the extent %llu times, and "
				    "that changes by %lld",
				    root, has, count);
	if (fault->kind == LIVE_FAULT_MANY)
		return error_set_at(error, -EUCLEAN, fault->bytenr,
				    "accounts: root %llu references the extent %llu times, and "
				    "%lld more are too many",
				    root, has, count);
	return error_set_at(error, -EUCLEAN, fault->bytenr,
			    "accounts: the extent is freed, and roots reference it");
}

/* The error of a worker, or the first change that is wrong. */
static int workers_result(struct live_ledger *ledger, const struct live_fault **fault)
{
	uint32_t at;
	int ret = 0;

	*fault = NULL;
	for (at = 0; at < ledger->worker_count; at++) {
		const struct live_worker *worker = &ledger->workers[at];

		ret = ret ? ret : worker->error;
		if (worker->fault.kind != LIVE_FAULT_NONE &&
		    (!*fault || worker->fault.at < (*fault)->at))
			*fault = &worker->fault;
	}
	return ret;
}

int live_ledger_apply(struct live_ledger *ledger, struct live_change *changes, size_t count,
		      const struct live_delta *deltas, struct rs_error *error)
{
	struct apply apply = { .ledger = ledger, .changes = changes, .deltas = deltas };
	const struct live_fault *fault;
	int ret;

	if (ledger->broken)
		return error_set(error, ledger->broken, "accounts: not whole since an error");
	workers_begin(ledger);
	if (ledger->pool && count >= ledger->parallel_min) {
		pool_range_init(&apply.range, count, ledger->parallel_min / PARALLEL_PARTS + 1);
		pool_run(ledger->pool, worker_run, &apply, NULL);
	} else {
		changes_take(&ledger->workers[0], &apply, 0, count);
	}
	ledger->changes += count;
	ret = workers_result(ledger, &fault);
	if (!ret)
		ret = live_folds_settle(ledger);
	if (ret) {
		ledger->broken = ret;
		return error_no_memory(error, "the accounts of a commit");
	}
	if (fault) {
		ledger->broken = -EUCLEAN;
		return fault_report(fault, error);
	}
	return 0;
}
