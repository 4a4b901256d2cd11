/* SPDX-License-Identifier: MIT */
/* Counters from the sets, in one pass over them, by many workers: each sums up for itself. */
#include <errno.h>

#include "core/base/plant.h"
#include "core/base/pool.h"
#include "core/qgroup/live_groups_impl.h"

#define RECOUNT_GRAIN 2048U

struct recount {
	struct live_groups *groups;
	struct live_group **targets; /* above level 0 */
	size_t count;
	/*
	 * Where all are counted, level 0 too: the place of each element in the lineage. rfer of roots is
	 * summed up as differences between neighbours, so that a run costs as much as one root.
	 */
	uint32_t *places;
	size_t place_count;
	struct live_group_counter *sums; /* of each worker: of the targets, then of the places */
	size_t stride;
	struct pool_range range;
};

static void recount_rfer(struct live_group_counter *sum, int64_t total, int64_t data)
{
	sum->rfer += total;
	sum->data_rfer += data;
}

static void recount_excl(struct live_group_counter *sum, int64_t total, int64_t data)
{
	sum->excl += total;
	sum->data_excl += data;
}

/* Level 0. */
static void recount_roots(const struct recount *recount, const struct live_set *set,
			  struct live_group_counter *sums)
{
	const uint32_t *boundaries = live_set_boundaries(set);
	int64_t data = (int64_t)set->data;
	int64_t total = data + (int64_t)set->metadata;
	uint32_t at;

	for (at = 0; at < set->count; at += 2) {
		uint32_t begin = recount->places[boundaries[at]];
		uint32_t end = recount->places[boundaries[at + 1]];

		recount_rfer(&sums[begin], total, data);
		recount_rfer(&sums[end], -total, -data);
		if (set->count == 2 && begin + 1 == end)
			recount_excl(&sums[begin], total, data);
	}
}

static void recount_set(const struct recount *recount, const struct live_set *set,
			struct live_group_counter *sums)
{
	const struct live_part part = { live_set_boundaries(set), set->count, LIVE_RUN_NONE };
	const struct lineage *lineage = recount->groups->lineage;
	int64_t data = (int64_t)set->data;
	int64_t total = data + (int64_t)set->metadata;
	size_t at;

	for (at = 0; at < recount->count; at++) {
		const struct live_group *group = recount->targets[at];
		unsigned result = live_runs_compare(lineage, &group->runs, &part);

		if (plant_armed("groups.level-missed") && group->id >> 48 == 2)
			continue;
		if (result & LIVE_MEETS)
			recount_rfer(&sums[at], total, data);
		if (result & LIVE_INSIDE)
			recount_excl(&sums[at], total, data);
	}
	if (recount->places)
		recount_roots(recount, set, sums + recount->count);
}

static void recount_work(void *argument, unsigned worker)
{
	struct recount *recount = (struct recount *)argument;
	struct live_group_counter *sums = recount->sums + worker * recount->stride;
	uint64_t first;
	uint64_t count;

	while (pool_range_take(&recount->range, &first, &count)) {
		for (; count; first++, count--) {
			const struct live_set *set =
				live_sets_in_use(recount->groups->sets, (uint32_t)first);

			if (set && set->count && (set->data || set->metadata))
				recount_set(recount, set, sums);
		}
	}
}

/* True if it was wrong, and not known to be. */
static bool recount_store(struct live_groups *groups, struct live_group *group,
			  const struct live_group_counter *sum)
{
	struct live_group_counter *counter = &group->counter;
	bool differs = counter->rfer != sum->rfer || counter->excl != sum->excl ||
		       counter->data_rfer != sum->data_rfer || counter->data_excl != sum->data_excl;
	bool known = group->listed[LIVE_LIST_STALE];

	*counter = *sum;
	if (differs)
		live_group_touch(groups, group);
	live_list_remove(groups, LIVE_LIST_STALE, group);
	return differs && !known;
}

static void recount_sum(struct recount *recount, unsigned workers)
{
	struct live_group_counter *sums = recount->sums;
	size_t count = recount->count + recount->place_count;
	unsigned worker;
	size_t at;

	for (worker = 1; worker < workers; worker++) {
		const struct live_group_counter *more = sums + worker * recount->stride;

		for (at = 0; at < count; at++) {
			recount_rfer(&sums[at], more[at].rfer, more[at].data_rfer);
			recount_excl(&sums[at], more[at].excl, more[at].data_excl);
		}
	}
}

/* How many were wrong. */
static size_t recount_install(struct recount *recount)
{
	struct live_groups *groups = recount->groups;
	const struct lineage *lineage = groups->lineage;
	struct live_group_counter *sum = recount->sums + recount->count;
	struct live_group_counter here = { 0 };
	uint32_t element = lineage_next(lineage, LINEAGE_NONE);
	size_t wrong = 0;
	size_t at;

	/* From the last: a group that is not stale any more leaves their list, which this may be. */
	for (at = recount->count; at--;)
		wrong += recount_store(groups, recount->targets[at], &recount->sums[at]);
	for (; recount->places && element != LINEAGE_NONE;
	     element = lineage_next(lineage, element), sum++) {
		struct live_group *group = live_group_rooted(groups, element);

		recount_rfer(&here, sum->rfer, sum->data_rfer);
		here.excl = sum->excl;
		here.data_excl = sum->data_excl;
		if (group)
			wrong += recount_store(groups, group, &here);
	}
	return wrong;
}

static int recount_places(struct recount *recount)
{
	const struct lineage *lineage = recount->groups->lineage;
	uint32_t element;

	recount->places = alloc_array(lineage->used, sizeof(*recount->places));
	if (!recount->places)
		return -ENOMEM;
	for (element = lineage_next(lineage, LINEAGE_NONE); element != LINEAGE_NONE;
	     element = lineage_next(lineage, element))
		recount->places[element] = (uint32_t)recount->place_count++;
	return 0;
}

static int recount_run(struct recount *recount, struct pool *pool)
{
	uint32_t limit = live_sets_limit(recount->groups->sets);
	size_t in_line = ORDER_LINE / sizeof(struct live_group_counter);
	unsigned workers = 1;

	/* Waking workers costs more than a few sets do. */
	if (limit <= 2 * RECOUNT_GRAIN)
		pool = NULL;
	if (pool)
		workers = pool_threads(pool);
	recount->stride = (recount->count + recount->place_count + in_line) / in_line * in_line;
	recount->sums = alloc_aligned(ORDER_LINE, workers * recount->stride,
				      sizeof(struct live_group_counter));
	if (!recount->sums)
		return -ENOMEM;
	pool_range_init(&recount->range, limit, RECOUNT_GRAIN);
	if (pool)
		pool_run(pool, recount_work, recount, NULL);
	else
		recount_work(recount, 0);
	recount_sum(recount, workers);
	return 0;
}

int live_groups_recount(struct live_groups *groups, struct pool *pool, bool all, size_t *recounted)
{
	const struct live_pointers *list = &groups->lists[all ? LIVE_LIST_UPPER : LIVE_LIST_STALE];
	struct recount recount = { .groups = groups,
				   .targets = list->groups,
				   .count = list->count };
	size_t wrong;
	int ret = 0;

	*recounted = 0;
	if (!groups->sets || (!all && !list->count))
		return 0;
	if (all)
		ret = recount_places(&recount);
	if (!ret)
		ret = recount_run(&recount, pool);
	if (!ret) {
		wrong = recount_install(&recount);
		*recounted = all ? wrong : recount.count;
	}
	alloc_free(recount.sums);
	alloc_free(recount.places);
	return ret;
}
