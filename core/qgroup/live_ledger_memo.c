// SPDX-License-Identifier: MIT
/* Edges that bytes move along: found by memos, folded by each worker, added up behind the phase. */
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/plant.h"
#include "core/qgroup/live_ledger_impl.h"

#define EDGE_PLACES_FIRST 256U
#define FOLDS_AHEAD 4U

void live_memos_clear(struct live_ledger *ledger)
{
	uint32_t at;

	for (at = 0; at < ledger->worker_count; at++)
		memset(ledger->workers[at].memos, 0,
		       LIVE_MEMO_COUNT * sizeof(*ledger->workers[at].memos));
}

/* The set with the root toggled, from the memo or from the sets. */
static int memo_fill(struct live_worker *worker, struct live_memo *memo, uint32_t set,
		     uint32_t element)
{
	const struct live_sets *sets = worker->ledger->sets;
	uint32_t stamp = worker->ledger->stamps[element];
	uint32_t toggled;
	int ret;

	if (memo->set == set && memo->stamp == stamp) {
		toggled = live_sets_find(sets, memo->toggled & ~LIVE_MEMO_GAINS);
		memo->toggled = toggled | (memo->toggled & LIVE_MEMO_GAINS);
		return 0;
	}
	worker->misses++;
	ret = live_sets_toggle(worker->ledger->sets, set, element, &toggled);
	if (ret)
		return ret;
	memo->set = set;
	memo->stamp = stamp;
	memo->toggled = toggled;
	if (!live_sets_has(sets, set, element))
		memo->toggled |= LIVE_MEMO_GAINS;
	return 0;
}

int live_fold_get(struct live_worker *worker, uint32_t set, uint32_t element,
		  struct live_fold **out)
{
	uint32_t stamp = worker->ledger->stamps[element];
	struct live_memo *memo = &worker->memos[live_memo_place(set, stamp)];
	struct live_fold *larger;
	uint32_t toggled;
	int ret;

	*out = live_fold_find(worker, set, element, stamp);
	if (*out)
		return 0;
	larger = array_grow(worker->folds, worker->fold_count, 1, &worker->fold_capacity,
			    sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	worker->folds = larger;
	ret = memo_fill(worker, memo, set, element);
	if (ret)
		return ret;
	toggled = memo->toggled & ~LIVE_MEMO_GAINS;
	memo->fold = (uint32_t)worker->fold_count;
	*out = &worker->folds[worker->fold_count++];
	**out = (struct live_fold){ .element = element };
	(*out)->small = memo->toggled & LIVE_MEMO_GAINS ? set : toggled;
	(*out)->big = memo->toggled & LIVE_MEMO_GAINS ? toggled : set;
	return 0;
}

static size_t folds_count(const struct live_ledger *ledger)
{
	size_t count = 0;
	uint32_t at;

	for (at = 0; at < ledger->worker_count; at++)
		count += ledger->workers[at].fold_count;
	return count;
}

/* Room for all edges, and an empty table that they fill to a half at most. */
static int edges_begin(struct live_ledger *ledger, size_t count)
{
	size_t places = ledger->edge_place_count ? ledger->edge_place_count : EDGE_PLACES_FIRST;
	struct live_edge *larger;

	ledger->edge_count = 0;
	larger = array_grow(ledger->edges, 0, count, &ledger->edge_capacity, sizeof(*larger));
	if (!larger && count)
		return -ENOMEM;
	ledger->edges = larger;
	while (places < count * 2)
		places *= 2;
	if (places != ledger->edge_place_count) {
		uint32_t *fresh = alloc_array(places, sizeof(*fresh));

		if (!fresh)
			return -ENOMEM;
		alloc_free(ledger->edge_places);
		ledger->edge_places = fresh;
		ledger->edge_place_count = places;
	}
	memset(ledger->edge_places, 0, places * sizeof(*ledger->edge_places));
	return 0;
}

static void edge_add(struct live_ledger *ledger, const struct live_fold *fold)
{
	uint64_t key = ((uint64_t)fold->element << 32 | fold->small) * UINT64_C(0x9e3779b97f4a7c15);
	size_t at = (size_t)(key >> 32) & (ledger->edge_place_count - 1);
	int64_t times = plant_armed("ledger.edge-twice") ? 2 : 1;
	struct live_edge *edge;

	/* Ends: at most half of the places are in use. */
	for (;; at = (at + 1) & (ledger->edge_place_count - 1)) {
		if (!ledger->edge_places[at]) {
			ledger->edges[ledger->edge_count] = (struct live_edge){
				.small = fold->small,
				.element = fold->element,
			};
			ledger->edge_places[at] = (uint32_t)++ledger->edge_count;
		}
		edge = &ledger->edges[ledger->edge_places[at] - 1];
		if (edge->small == fold->small && edge->element == fold->element)
			break;
	}
	edge->data += fold->data * times;
	edge->metadata += fold->metadata * times;
}

/* The sets have what moved. Bytes of the empty set are nobody's. */
static void fold_to_sets(struct live_ledger *ledger, const struct live_fold *fold)
{
	struct live_set *big = live_set_at(ledger->sets, fold->big);

	big->data += (uint64_t)fold->data;
	big->metadata += (uint64_t)fold->metadata;
	live_sets_hold(ledger->sets, fold->big, fold->words);
	if (fold->small != LIVE_SET_EMPTY) {
		struct live_set *small = live_set_at(ledger->sets, fold->small);

		small->data -= (uint64_t)fold->data;
		small->metadata -= (uint64_t)fold->metadata;
		live_sets_hold(ledger->sets, fold->small, -(int64_t)fold->words);
	}
}

static void worker_folds_add(struct live_worker *worker)
{
	struct live_ledger *ledger = worker->ledger;
	size_t at;

	for (at = 0; at < worker->fold_count; at++) {
		const struct live_fold *fold = &worker->folds[at];

		if (at + FOLDS_AHEAD < worker->fold_count) {
			__builtin_prefetch(live_set_at(ledger->sets, fold[FOLDS_AHEAD].big), 1);
			__builtin_prefetch(live_set_at(ledger->sets, fold[FOLDS_AHEAD].small), 1);
		}
		fold_to_sets(ledger, fold);
		if (fold->data || fold->metadata)
			edge_add(ledger, fold);
	}
	worker->fold_count = 0;
}

int live_folds_settle(struct live_ledger *ledger)
{
	uint32_t at;
	int ret = edges_begin(ledger, folds_count(ledger));

	if (ret)
		return ret;
	/* First what words name, so that what a fold takes from a set is there. */
	for (at = 0; at < ledger->worker_count; at++)
		live_worker_settle(&ledger->workers[at]);
	for (at = 0; at < ledger->worker_count; at++)
		worker_folds_add(&ledger->workers[at]);
	ledger->edges_ever += ledger->edge_count;
	ret = live_sets_settle(ledger->sets);
	return ret ? ret : live_groups_edges(ledger->groups, ledger->edges, ledger->edge_count);
}
