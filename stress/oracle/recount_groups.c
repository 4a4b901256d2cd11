/* SPDX-License-Identifier: MIT */
#include "stress/oracle/recount_groups.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/random.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount_impl.h"

#define PARENTS_FIRST 8U
#define RECLAIMS 24U
#define NAME_BYTES 32

/* An extent of a root. */
struct piece {
	uint64_t bytenr;
	uint64_t bytes;
	uint32_t root; /* number of it in the recount */
	bool metadata;
};

struct group {
	uint64_t id;
	uint64_t *parents;
	size_t parent_count;
	struct rs_group_usage usage; /* as counted here */
	struct rs_group_usage said;  /* as the accounts have it */
	int said_result;
	uint32_t holders; /* members that have the extent at hand */
};

struct census {
	struct recount *recount;
	struct group *groups; /* ascending by id: members before those that they are members of */
	size_t count;
	size_t capacity;
	bool *members;        /* of each group, for each root */
	struct piece *pieces; /* by address */
	size_t piece_count;
};

static void name_group(char *name, uint64_t id)
{
	snprintf(name, NAME_BYTES, "%" PRIu64 "/%" PRIu64, id >> 48,
		 id & ((UINT64_C(1) << 48) - 1));
}

static bool *members_of(const struct census *census, const struct group *group)
{
	return census->members + (size_t)(group - census->groups) * census->recount->root_count;
}

static int by_group(const void *a, const void *b)
{
	uint64_t left = ((const struct group *)a)->id;
	uint64_t right = ((const struct group *)b)->id;

	return left < right ? -1 : left > right;
}

/* NULL if there is none. */
static struct group *find_group(const struct census *census, uint64_t id)
{
	const struct group key = { .id = id };

	if (!census->count)
		return NULL;
	return bsearch(&key, census->groups, census->count, sizeof(key), by_group);
}

static int read_parents(struct census *census, struct group *group)
{
	struct rs_forest *forest = census->recount->forest;
	size_t room = PARENTS_FIRST;
	char name[NAME_BYTES];
	int ret;

	for (;;) {
		/* Ends: nobody changes what there is. */
		group->parents = alloc_array(room, sizeof(*group->parents));
		if (!group->parents)
			return -ENOMEM;
		ret = rs_group_parents(forest, group->id, group->parents, room,
				       &group->parent_count);
		if (ret || group->parent_count <= room)
			break;
		alloc_free(group->parents);
		room = group->parent_count;
	}
	if (!ret)
		return 0;
	group->parent_count = 0;
	name_group(name, group->id);
	recount_find(census->recount, RECOUNT_GROUP, group->id,
		     "group %s: what it is a member of cannot be read: %s", name, strerror(-ret));
	return 0;
}

static int read_groups(struct census *census)
{
	uint64_t id = 0;
	int ret = 0;

	while (!ret && !(ret = rs_group_next(census->recount->forest, &id))) {
		struct group *groups = array_grow(census->groups, census->count, 1,
						  &census->capacity, sizeof(*groups));

		if (!groups)
			return -ENOMEM;
		census->groups = groups;
		if (census->count && groups[census->count - 1].id >= id) {
			recount_find(census->recount, RECOUNT_GROUP, id,
				     "the groups do not ascend by id");
			return -ERANGE;
		}
		groups[census->count] = (struct group){ .id = id };
		ret = read_parents(census, &groups[census->count++]);
	}
	return ret == -ENOENT ? 0 : ret;
}

/* Each root is a member of the group with its id. */
static void place_roots(struct census *census)
{
	const struct recount *recount = census->recount;
	size_t at;

	for (at = 0; at < recount->root_count; at++) {
		uint64_t root = recount->roots[at].root;
		struct group *group = find_group(census, root);

		if (group)
			members_of(census, group)[at] = true;
		else
			recount_find(census->recount, RECOUNT_GROUP, root,
				     "root %" PRIu64 " has no group", root);
	}
}

/* What a group has, its parents have; they have higher ids, since they have higher levels. */
static int place_members(struct census *census)
{
	size_t roots = census->recount->root_count;
	struct group *group;
	size_t at;
	size_t root;

	census->members = alloc_zeroed(census->count * roots + 1, sizeof(*census->members));
	if (!census->members)
		return -ENOMEM;
	place_roots(census);
	for (group = census->groups; group < census->groups + census->count; group++) {
		for (at = 0; at < group->parent_count; at++) {
			struct group *parent = find_group(census, group->parents[at]);
			char name[NAME_BYTES];

			name_group(name, group->id);
			if (!parent || parent->id >> 48 <= group->id >> 48) {
				recount_find(census->recount, RECOUNT_GROUP, group->id,
					     "group %s is a member of 0x%" PRIx64 ", which is not "
					     "above it",
					     name, group->parents[at]);
				continue;
			}
			for (root = 0; root < roots; root++)
				if (members_of(census, group)[root])
					members_of(census, parent)[root] = true;
		}
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct piece *left = a;
	const struct piece *right = b;

	if (left->bytenr != right->bytenr)
		return left->bytenr < right->bytenr ? -1 : 1;
	return left->root < right->root ? -1 : left->root > right->root;
}

/* The holdings are by root, and so are the roots. */
static int gather_pieces(struct census *census)
{
	const struct recount *recount = census->recount;
	uint32_t root = 0;
	size_t at;

	census->pieces = alloc_array(recount->holding_count + 1, sizeof(*census->pieces));
	if (!census->pieces)
		return -ENOMEM;
	for (at = 0; at < recount->holding_count; at++) {
		const struct recount_holding *holding = &recount->holdings[at];

		while (recount->roots[root].root != holding->root)
			root++;
		census->pieces[census->piece_count++] = (struct piece){
			.bytenr = holding->bytenr,
			.bytes = holding->bytes,
			.root = root,
			.metadata = holding->metadata,
		};
	}
	qsort(census->pieces, census->piece_count, sizeof(*census->pieces), by_address);
	return 0;
}

/* Past the pieces of the extent that begins with this one: one for each root that has it. */
static const struct piece *extent_end(const struct census *census, const struct piece *first)
{
	const struct piece *end = first + 1;

	while (end < census->pieces + census->piece_count && end->bytenr == first->bytenr)
		end++;
	return end;
}

static void count_extent(struct census *census, const struct piece *first, const struct piece *end)
{
	uint64_t data = first->metadata ? 0 : first->bytes;
	const struct piece *piece;
	struct group *group;

	for (group = census->groups; group < census->groups + census->count; group++) {
		const bool *members = members_of(census, group);

		group->holders = 0;
		for (piece = first; piece < end; piece++)
			group->holders += members[piece->root];
		if (!group->holders)
			continue;
		group->usage.rfer += first->bytes;
		group->usage.data_rfer += data;
		if (group->holders != end - first)
			continue;
		group->usage.excl += first->bytes;
		group->usage.data_excl += data;
	}
}

static void count_extents(struct census *census)
{
	const struct piece *at = census->pieces;

	while (at < census->pieces + census->piece_count) {
		const struct piece *end = extent_end(census, at);

		count_extent(census, at, end);
		at = end;
	}
}

static void compare_number(struct census *census, const struct group *group, const char *what,
			   uint64_t said, uint64_t counted)
{
	char name[NAME_BYTES];

	if (said == counted)
		return;
	name_group(name, group->id);
	recount_find(census->recount, RECOUNT_GROUP, group->id,
		     "group %s has %s %" PRIu64 ", and its members come to %" PRIu64, name, what,
		     said, counted);
}

static void compare_group(struct census *census, const struct group *group)
{
	const struct rs_group_usage *counted = &group->usage;
	const struct rs_group_usage *said = &group->said;
	char name[NAME_BYTES];

	if (group->said_result) {
		name_group(name, group->id);
		recount_find(census->recount, RECOUNT_GROUP, group->id,
			     "group %s cannot be read: %s", name, strerror(-group->said_result));
		return;
	}
	compare_number(census, group, "rfer", said->rfer, counted->rfer);
	compare_number(census, group, "excl", said->excl, counted->excl);
	compare_number(census, group, "data_rfer", said->data_rfer, counted->data_rfer);
	compare_number(census, group, "data_excl", said->data_excl, counted->data_excl);
	compare_number(census, group, "rfer_compressed", said->rfer_compressed, counted->rfer);
	compare_number(census, group, "excl_compressed", said->excl_compressed, counted->excl);
}

/* Bytes of extents that only these roots have. */
static uint64_t count_reclaim(const struct census *census, const bool *chosen)
{
	const struct piece *at = census->pieces;
	uint64_t bytes = 0;

	while (at < census->pieces + census->piece_count) {
		const struct piece *end = extent_end(census, at);
		bool all = true;
		const struct piece *piece;

		for (piece = at; piece < end; piece++)
			all = all && chosen[piece->root];
		bytes += all ? at->bytes : 0;
		at = end;
	}
	return bytes;
}

/* Some roots, of which few are named twice: set number `number` is all of them. */
static size_t choose_roots(const struct recount *recount, struct random_state *random,
			   unsigned number, bool *chosen, uint64_t *ids)
{
	size_t count = 0;
	size_t at;

	for (at = 0; at < recount->root_count; at++) {
		chosen[at] = !number || random_state_chance(random, 1 + number % 8, 8);
		if (!chosen[at])
			continue;
		ids[count++] = recount->roots[at].root;
		if (random_state_chance(random, 1, 8))
			ids[count++] = recount->roots[at].root;
	}
	return count;
}

static void compare_reclaim(struct census *census, const bool *chosen, const uint64_t *ids,
			    size_t count)
{
	uint64_t counted = count_reclaim(census, chosen);
	uint64_t first = count ? ids[0] : 0;
	uint64_t said = 0;
	int ret = rs_reclaimable(census->recount->forest, ids, count, &said);

	if (ret)
		recount_find(census->recount, RECOUNT_GROUP, first,
			     "what deleting %zu subvolumes would free cannot be had: %s", count,
			     strerror(-ret));
	else if (said != counted)
		recount_find(census->recount, RECOUNT_GROUP, first,
			     "deleting %zu subvolumes from root %" PRIu64 " on is said to free "
			     "%" PRIu64 ", and they alone have %" PRIu64,
			     count, first, said, counted);
}

static int compare_reclaims(struct census *census, uint64_t seed)
{
	const struct recount *recount = census->recount;
	uint64_t *ids = alloc_array(2 * recount->root_count + 1, sizeof(*ids));
	bool *chosen = alloc_zeroed(recount->root_count + 1, sizeof(*chosen));
	struct random_state random;
	int ret = ids && chosen ? 0 : -ENOMEM;
	unsigned at;

	random_state_seed(&random, seed, 0);
	for (at = 0; !ret && at < RECLAIMS; at++)
		compare_reclaim(census, chosen, ids,
				choose_roots(recount, &random, at, chosen, ids));
	alloc_free(ids);
	alloc_free(chosen);
	return ret;
}

static bool is_settled(const struct rs_quota_status *status)
{
	return status->enabled && !status->inconsistent && status->rescan == RS_RESCAN_NONE;
}

/* What the accounts say of all groups. False: a rescan came between, and they say what it had by then. */
static bool read_usage(struct census *census, const struct rs_quota_status *before)
{
	struct rs_quota_status after;
	size_t at;

	for (at = 0; at < census->count; at++) {
		struct group *group = &census->groups[at];

		group->said_result =
			rs_group_read(census->recount->forest, group->id, &group->said);
	}
	rs_quota_status_read(census->recount->forest, &after);
	return is_settled(&after) && after.rescans == before->rescans;
}

static int compare_all(struct census *census, const struct rs_quota_status *status,
		       struct recount_groups_done *done)
{
	size_t at;
	int ret = read_groups(census);

	if (!ret && !read_usage(census, status))
		return 0;
	if (!ret)
		ret = place_members(census);
	if (!ret)
		ret = gather_pieces(census);
	if (ret)
		return ret;
	count_extents(census);
	for (at = 0; at < census->count; at++)
		compare_group(census, &census->groups[at]);
	done->groups = census->count;
	if (status->engine != RS_QUOTA_LEDGER)
		return 0;
	done->reclaims = RECLAIMS;
	return compare_reclaims(census, status->generation);
}

int recount_groups_compare(struct recount *recount, struct recount_groups_done *done)
{
	struct census census = { .recount = recount };
	struct rs_error why = RS_ERROR_INIT;
	struct rs_quota_status status;
	size_t at;
	int ret;

	*done = (struct recount_groups_done){ 0 };
	rs_quota_status_read(recount->forest, &status);
	if (status.enabled && status.inconsistent && rs_quota_reason(recount->forest, &why))
		recount_find(recount, RECOUNT_GROUP, why.address,
			     "the accounts are inconsistent: %s", why.what);
	if (!is_settled(&status))
		return 0;
	ret = compare_all(&census, &status, done);
	for (at = 0; at < census.count; at++)
		alloc_free(census.groups[at].parents);
	alloc_free(census.groups);
	alloc_free(census.members);
	alloc_free(census.pieces);
	/* A finding says what it is. */
	return ret == -ERANGE ? 0 : ret;
}
