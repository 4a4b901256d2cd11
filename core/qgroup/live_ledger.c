// SPDX-License-Identifier: MIT
#include "core/qgroup/live_ledger.h"

#include <assert.h>
#include <errno.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_ledger_impl.h"

/* From so many changes on the pool's workers are worth waking. */
#define PARALLEL_MIN 4096U

/* A sweep is worth it where so many ids are not used, and one in so many. */
#define SWEEP_MIN 4096U
#define SWEEP_PART 4U

/* What a large commit needed is not kept for small ones; bytes. */
#define KEPT_MAX ((size_t)8 << 20)

static int workers_create(struct live_ledger *ledger)
{
	uint32_t count = ledger->pool ? pool_threads(ledger->pool) : 1;
	uint32_t at;

	ledger->workers = alloc_aligned(ORDER_LINE, count, sizeof(*ledger->workers));
	if (!ledger->workers)
		return -ENOMEM;
	ledger->worker_count = count;
	for (at = 0; at < count; at++) {
		struct live_worker *worker = &ledger->workers[at];

		worker->ledger = ledger;
		worker->memos = alloc_aligned(ORDER_LINE, LIVE_MEMO_COUNT, sizeof(*worker->memos));
		if (!worker->memos)
			return -ENOMEM;
	}
	return 0;
}

static void workers_destroy(struct live_ledger *ledger)
{
	uint32_t at;

	for (at = 0; at < ledger->worker_count; at++) {
		struct live_worker *worker = &ledger->workers[at];

		alloc_free(worker->memos);
		alloc_free(worker->folds);
		alloc_free(worker->holds);
		alloc_free(worker->steps);
		alloc_free(worker->passes);
		alloc_free(worker->stack.layers);
	}
	alloc_free(ledger->workers);
}

int live_ledger_create(struct pool *pool, struct live_ledger **out)
{
	struct live_ledger *ledger = alloc_aligned(ORDER_LINE, 1, sizeof(*ledger));
	int ret;

	if (!ledger)
		return -ENOMEM;
	ledger->pool = pool;
	ledger->parallel_min = PARALLEL_MIN;
	segments_init(&ledger->records, sizeof(struct live_layers), LIVE_LAYERS_MAX);
	ret = lineage_init(&ledger->lineage);
	if (!ret)
		ret = live_sets_create(&ledger->lineage, &ledger->sets);
	if (!ret)
		ret = live_groups_create(&ledger->lineage, ledger->sets, &ledger->groups);
	if (!ret)
		ret = workers_create(ledger);
	if (ret) {
		live_ledger_destroy(ledger);
		return ret;
	}
	*out = ledger;
	return 0;
}

void live_ledger_destroy(struct live_ledger *ledger)
{
	if (!ledger)
		return;
	if (ledger->workers)
		live_layers_clear(ledger);
	segments_destroy(&ledger->records);
	workers_destroy(ledger);
	live_groups_destroy(ledger->groups);
	live_sets_destroy(ledger->sets);
	lineage_destroy(&ledger->lineage);
	alloc_free(ledger->stamps);
	alloc_free(ledger->roots);
	alloc_free(ledger->edges);
	alloc_free(ledger->edge_places);
	alloc_free(ledger);
}

struct live_groups *live_ledger_groups(struct live_ledger *ledger)
{
	return ledger->groups;
}

struct live_sets *live_ledger_sets(struct live_ledger *ledger)
{
	return ledger->sets;
}

const struct lineage *live_ledger_lineage(const struct live_ledger *ledger)
{
	return &ledger->lineage;
}

bool live_ledger_has_root(const struct live_ledger *ledger, uint64_t root)
{
	return live_roots_find(ledger, root) != LINEAGE_NONE;
}

bool live_ledger_broken(const struct live_ledger *ledger)
{
	return ledger->broken;
}

/* Nothing is right any more. */
static int ledger_break(struct live_ledger *ledger, int ret)
{
	if (ret && !ledger->broken)
		ledger->broken = ret;
	return ret;
}

static int root_reserve(struct live_ledger *ledger)
{
	int ret = live_roots_reserve(ledger);

	return ret ? ret : live_stamps_reserve(ledger);
}

int live_ledger_root_add(struct live_ledger *ledger, uint64_t root)
{
	uint32_t element;
	int ret = root_reserve(ledger);

	assert(!live_ledger_has_root(ledger, root));
	if (ret)
		return ret;
	ret = lineage_add_family(&ledger->lineage, root, &element);
	if (ret)
		return ret;
	ret = live_groups_root_add(ledger->groups, root, element);
	if (ret) {
		lineage_remove(&ledger->lineage, lineage_next(&ledger->lineage, element));
		lineage_remove(&ledger->lineage, element);
		return ret;
	}
	live_roots_insert(ledger, element);
	live_stamps_renew(ledger, element);
	return 0;
}

int live_ledger_snapshot(struct live_ledger *ledger, uint64_t source, uint64_t root,
			 const uint64_t *parents, size_t count)
{
	uint32_t behind = live_roots_find(ledger, source);
	uint32_t element;
	int ret = root_reserve(ledger);

	assert(behind != LINEAGE_NONE && !live_ledger_has_root(ledger, root));
	if (!ret)
		ret = live_sets_settle(ledger->sets);
	if (!ret)
		ret = lineage_add_snapshot(&ledger->lineage, behind, root, &element);
	if (ret)
		return ret;
	ret = live_groups_snapshot(ledger->groups, source, root, element, parents, count);
	if (ret) {
		int gone;

		/* Its group may be there; no set has a boundary at the element. */
		gone = live_groups_drop(ledger->groups, root, element);
		assert(!gone);
		(void)gone;
		lineage_remove(&ledger->lineage, element);
		return ledger_break(ledger, ret);
	}
	live_roots_insert(ledger, element);
	live_stamps_renew(ledger, element);
	/* Another root stands behind the source. */
	live_stamps_renew(ledger, behind);
	return 0;
}

/*
 * What memos know of the root before it stays right: its sets and those with that root toggled lose
 * this one alike.
 */
int live_ledger_drop(struct live_ledger *ledger, uint64_t root)
{
	uint32_t element = live_roots_find(ledger, root);
	int ret = live_sets_settle(ledger->sets);

	assert(element != LINEAGE_NONE);
	if (!ret && ledger->dropping != root)
		ret = live_groups_drop(ledger->groups, root, element);
	if (!ret) {
		ledger->dropping = root;
		ret = live_sets_drop(ledger->sets, element);
	}
	if (ret)
		return ledger_break(ledger, ret);
	ledger->dropping = LINEAGE_END;
	live_roots_remove(ledger, element);
	lineage_remove(&ledger->lineage, element);
	return 0;
}

void live_ledger_sweep(struct live_ledger *ledger)
{
	/* Memos may name what is given back, and so forget all. */
	live_memos_clear(ledger);
	live_sets_sweep(ledger->sets);
}

static void ledger_sweep_many(struct live_ledger *ledger)
{
	struct live_sets_figures figures;

	live_sets_figures_read(ledger->sets, &figures);
	if (figures.unused > SWEEP_MIN &&
	    figures.unused > (figures.sets + figures.forwarding) / SWEEP_PART)
		live_ledger_sweep(ledger);
}

/* The array, or none where it is large. */
static void *array_trim(void *array, size_t *capacity, size_t bytes)
{
	if (*capacity * bytes <= KEPT_MAX)
		return array;
	alloc_free(array);
	*capacity = 0;
	return NULL;
}

static void ledger_trim(struct live_ledger *ledger)
{
	uint32_t at;

	ledger->edges = array_trim(ledger->edges, &ledger->edge_capacity, sizeof(*ledger->edges));
	ledger->edge_places = array_trim(ledger->edge_places, &ledger->edge_place_count,
					 sizeof(*ledger->edge_places));
	for (at = 0; at < ledger->worker_count; at++) {
		struct live_worker *worker = &ledger->workers[at];

		worker->folds =
			array_trim(worker->folds, &worker->fold_capacity, sizeof(*worker->folds));
		worker->holds =
			array_trim(worker->holds, &worker->hold_capacity, sizeof(*worker->holds));
	}
}

int live_ledger_finish(struct live_ledger *ledger)
{
	size_t recounted;
	int ret = 0;

	if (!ledger->broken) {
		ret = live_sets_settle(ledger->sets);
		if (!ret)
			ret = live_groups_recount(ledger->groups, ledger->pool, false, &recounted);
		ledger_break(ledger, ret);
	}
	live_groups_publish(ledger->groups);
	if (!ledger->broken)
		ledger_sweep_many(ledger);
	ledger_trim(ledger);
	return ret;
}

void live_ledger_clear(struct live_ledger *ledger)
{
	uint32_t at;

	live_groups_clear(ledger->groups);
	live_layers_clear(ledger);
	live_memos_clear(ledger);
	for (at = 0; at < ledger->worker_count; at++)
		ledger->workers[at].fold_count = 0;
	live_sets_clear(ledger->sets);
	ledger->broken = 0;
}

int live_ledger_recount_all(struct live_ledger *ledger, size_t *wrong)
{
	int ret = live_sets_settle(ledger->sets);

	if (!ret)
		ret = live_groups_recount(ledger->groups, ledger->pool, true, wrong);
	return ledger_break(ledger, ret);
}

static uint64_t workers_memory(const struct live_ledger *ledger, uint64_t *misses)
{
	uint64_t bytes = 0;
	uint32_t at;

	*misses = 0;
	for (at = 0; at < ledger->worker_count; at++) {
		const struct live_worker *worker = &ledger->workers[at];

		bytes += sizeof(*worker) + LIVE_MEMO_COUNT * sizeof(*worker->memos) +
			 worker->fold_capacity * sizeof(*worker->folds) +
			 worker->hold_capacity * sizeof(*worker->holds) +
			 worker->step_capacity * sizeof(*worker->steps) +
			 worker->pass_capacity * sizeof(*worker->passes) +
			 worker->stack.capacity * sizeof(*worker->stack.layers);
		*misses += worker->misses;
	}
	return bytes;
}

void live_ledger_figures_read(const struct live_ledger *ledger, struct live_ledger_figures *figures)
{
	live_sets_figures_read(ledger->sets, &figures->sets);
	figures->layered = ledger->layered;
	figures->changes = ledger->changes;
	figures->edges = ledger->edges_ever;
	figures->bytes = sizeof(*ledger) + workers_memory(ledger, &figures->memo_misses) +
			 figures->sets.bytes + live_groups_memory(ledger->groups) +
			 ledger->lineage.capacity * sizeof(*ledger->lineage.elements) +
			 ledger->stamp_capacity * sizeof(*ledger->stamps) +
			 ((size_t)ledger->root_mask + 1) * sizeof(*ledger->roots) +
			 ledger->edge_capacity * sizeof(*ledger->edges) +
			 ledger->edge_place_count * sizeof(*ledger->edge_places) +
			 segments_used(&ledger->records) * sizeof(struct live_layers) +
			 ledger->layer_bytes;
}
