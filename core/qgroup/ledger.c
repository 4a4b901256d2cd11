// SPDX-License-Identifier: MIT
#include "core/qgroup/ledger.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/flat_sets.h"

#define FIRST_CAPACITY 256U

struct count_job {
	const struct flat_sets *sets;
	const struct subvol_list *subvols;
	struct group_table *groups;
	struct pool_range range;
	order_u32 no_memory;
};

/* What one worker needs for a group above level 0. */
struct member_scratch {
	struct group_walk walk;
	uint32_t *members; /* members of the group that stand before each position */
	const struct subvol_list *subvols;
};

int ledger_add(struct ledger_tally *tally, uint32_t set, uint64_t data, uint64_t metadata)
{
	if (set >= tally->capacity) {
		uint32_t larger = tally->capacity ? tally->capacity : FIRST_CAPACITY;
		struct ledger_entry *entries;

		while (larger <= set)
			larger *= 2;
		entries = alloc_resize(tally->entries, larger, sizeof(*entries));
		if (!entries)
			return -ENOMEM;
		memset(entries + tally->capacity, 0, (larger - tally->capacity) * sizeof(*entries));
		tally->entries = entries;
		tally->capacity = larger;
	}
	tally->entries[set].data += data;
	tally->entries[set].metadata += metadata;
	return 0;
}

int ledger_sum(struct ledger_tally *tallies, unsigned count, uint32_t sets)
{
	unsigned worker;
	uint32_t set;
	int ret = ledger_add(&tallies[0], sets, 0, 0); /* room for all of them */

	for (worker = 1; !ret && worker < count; worker++)
		for (set = 0; set < tallies[worker].capacity && set < sets; set++) {
			tallies[0].entries[set].data += tallies[worker].entries[set].data;
			tallies[0].entries[set].metadata += tallies[worker].entries[set].metadata;
		}
	return ret;
}

uint64_t ledger_total(const struct ledger_tally *ledger, uint32_t sets)
{
	uint64_t sum = 0;
	uint32_t set;

	for (set = 1; set < sets; set++)
		sum += ledger->entries[set].data + ledger->entries[set].metadata;
	return sum;
}

static void count_add(struct group_count *count, const struct ledger_entry *bytes, bool exclusive)
{
	count->rfer += bytes->data + bytes->metadata;
	count->data_rfer += bytes->data;
	if (!exclusive)
		return;
	count->excl += bytes->data + bytes->metadata;
	count->data_excl += bytes->data;
}

/*
 * Level 0, for all subvolumes at once: each run adds its bytes where it begins
 * and takes them away where it ends; the running sum is what the root there
 * references. A set of one root is exclusive to it.
 */
static int count_level_0(const struct flat_sets *flat, const struct subvol_list *subvols,
			 struct group_table *groups)
{
	struct group_count *counts = alloc_zeroed(subvols->positions + 1U, sizeof(*counts));
	uint64_t data = 0;
	uint64_t metadata = 0;
	uint32_t at;

	if (!counts)
		return -ENOMEM;
	for (at = 0; at < flat->count; at++) {
		const struct ledger_entry *bytes = &flat->bytes[at];
		bool exclusive = flat_sets_count(flat, at, flat->roots) == 1;
		uint32_t edge;

		for (edge = flat->first[at]; edge < flat->first[at + 1]; edge += 2) {
			struct group_count *begin = &counts[flat->boundaries[edge]];
			struct group_count *end = &counts[flat->boundaries[edge + 1]];

			begin->data_rfer += bytes->data;
			begin->rfer += bytes->metadata;
			end->data_rfer -= bytes->data;
			end->rfer -= bytes->metadata;
			if (!exclusive)
				continue;
			begin->excl += bytes->data + bytes->metadata;
			begin->data_excl += bytes->data;
		}
	}
	for (at = 0; at < subvols->positions; at++) {
		uint64_t root = lineage_root(&subvols->lineage, subvols->elements[at]);
		struct group *group = group_table_find(groups, root);

		data += counts[at].data_rfer;
		metadata += counts[at].rfer;
		if (root == LINEAGE_END || !group)
			continue;
		group->count = counts[at];
		group->count.data_rfer = data;
		group->count.rfer = data + metadata;
	}
	alloc_free(counts);
	return 0;
}

static void mark_member(void *argument, const struct group *leaf)
{
	struct member_scratch *scratch = argument;
	const struct subvol *subvol = subvol_list_find(scratch->subvols, leaf->id);

	if (subvol)
		scratch->members[subvol->position + 1] = 1;
}

/* A group above level 0: rfer counts sets that hold a member, excl those that hold only members. */
static void count_group(const struct count_job *job, struct member_scratch *scratch,
			struct group *group)
{
	const struct flat_sets *flat = job->sets;
	uint32_t positions = job->subvols->positions;
	uint32_t at;

	memset(scratch->members, 0, (positions + 1U) * sizeof(*scratch->members));
	group_walk_leaves(&scratch->walk, job->groups, group, mark_member, scratch);
	for (at = 1; at <= positions; at++)
		scratch->members[at] += scratch->members[at - 1];
	group->count = (struct group_count){ 0 };
	for (at = 0; at < flat->count; at++) {
		uint32_t members = flat_sets_count(flat, at, scratch->members);

		if (members)
			count_add(&group->count, &flat->bytes[at],
				  members == flat_sets_count(flat, at, flat->roots));
	}
}

/* A group of one member has that member's numbers. */
static bool needs_pass(const struct group *group)
{
	return group_level(group->id) && group->member_count != 1;
}

/* Members stand before the groups above them: the table is sorted by level. */
static void copy_single_members(struct group_table *groups)
{
	size_t at;

	for (at = 0; at < groups->count; at++)
		if (groups->groups[at].member_count == 1)
			groups->groups[at].count =
				groups->groups[groups->groups[at].members[0]].count;
}

static void count_worker(void *argument, unsigned worker)
{
	struct count_job *job = argument;
	struct member_scratch scratch = { .subvols = job->subvols };
	uint64_t first;
	uint64_t count;

	(void)worker;
	scratch.members = alloc_array(job->subvols->positions + 1U, sizeof(*scratch.members));
	if (!scratch.members || group_walk_init(&scratch.walk, job->groups)) {
		/* Relaxed: only ever set, and read after pool_run. */
		order_store_relaxed(&job->no_memory, 1);
		alloc_free(scratch.members);
		return;
	}
	while (pool_range_take(&job->range, &first, &count))
		for (; count--; first++)
			if (needs_pass(&job->groups->groups[first]))
				count_group(job, &scratch, &job->groups->groups[first]);
	group_walk_destroy(&scratch.walk);
	alloc_free(scratch.members);
}

int ledger_count_groups(const struct ledger_tally *ledger, const struct rootset_table *sets,
			const struct subvol_list *subvols, struct group_table *groups,
			struct pool *pool)
{
	struct flat_sets flat = { 0 };
	struct count_job job = { .sets = &flat, .subvols = subvols, .groups = groups };
	int ret;

	ret = flat_sets_build(&flat, ledger, sets, subvols);
	if (!ret)
		ret = count_level_0(&flat, subvols, groups);
	/* The table is sorted, so groups above level 0 stand at its end. */
	if (!ret && groups->count && group_level(groups->groups[groups->count - 1].id)) {
		pool_range_init(&job.range, groups->count, 1);
		pool_run(pool, count_worker, &job, NULL);
		if (order_load_relaxed(&job.no_memory)) /* relaxed: pool_run has returned */
			ret = -ENOMEM;
		copy_single_members(groups);
	}
	flat_sets_free(&flat);
	return ret;
}
