/* SPDX-License-Identifier: MIT */
/*
 * Quota groups that live: the hierarchy, which roots each group has, and its counters.
 *
 * The hierarchy is changed at any time, under its lock; what roots groups have, and the counters, belong to
 * the accounts: they follow in live_groups_begin, at the next commit. The roots of a group above level 0
 * are runs of the lineage, as a root set is.
 *
 * Who may call: live_groups_create_group, _remove, _assign, _unassign, _next, _parents any thread (lock
 * of rank LOCK_RANK_QGROUP); live_groups_read any thread, without a lock, wait-free but for being tried again while the
 * same group is published; all else the accounts' thread alone. Where it says so, workers beside each other.
 */
#ifndef REFSTORM_QGROUP_LIVE_GROUPS_H
#define REFSTORM_QGROUP_LIVE_GROUPS_H

#include "core/qgroup/lineage.h"
#include "core/qgroup/live_sets.h"
#include "refstorm/quota.h"

struct live_groups;

/* The lineage and the sets outlive it. `sets` is NULL for an engine without: then there are no recounts. 0 or -ENOMEM. */
int live_groups_create(const struct lineage *lineage, const struct live_sets *sets,
		       struct live_groups **out) __attribute__((warn_unused_result));
/* At once; readers are gone (the caller waited for a grace period, or there were none). */
void live_groups_destroy(struct live_groups *groups);

/* As rs_group_create and so on, but for -ENOTCONN. */
int live_groups_create_group(struct live_groups *groups, uint64_t id)
	__attribute__((warn_unused_result));
int live_groups_remove(struct live_groups *groups, uint64_t id) __attribute__((warn_unused_result));
int live_groups_assign(struct live_groups *groups, uint64_t member, uint64_t parent)
	__attribute__((warn_unused_result));
int live_groups_unassign(struct live_groups *groups, uint64_t member, uint64_t parent)
	__attribute__((warn_unused_result));
int live_groups_next(struct live_groups *groups, uint64_t *id) __attribute__((warn_unused_result));
int live_groups_read(struct live_groups *groups, uint64_t id, struct rs_group_usage *usage)
	__attribute__((warn_unused_result));
/* As rs_group_parents, any thread, under the lock: ascending, up to `room`, `*count` of all. 0 or -ENOENT. */
int live_groups_parents(struct live_groups *groups, uint64_t id, uint64_t *parents, size_t room,
			size_t *count) __attribute__((warn_unused_result));
/* 0, -EINVAL (level 0), -ENOENT. */
int live_groups_inherit_check(struct live_groups *groups, const uint64_t *parents, size_t count)
	__attribute__((warn_unused_result));

/*
 * The accounts of a commit, in this order:
 *   _begin       members follow the hierarchy; groups whose members changed are stale
 *   _root_add    before the first delta of a fresh root
 *   _edges       all bytes that moved
 *   _snapshot    behind the deltas of its source; then _edges for its own
 *   _drop        behind all deltas; before the sets lose the root
 *   _recount     if some are stale
 *   _publish
 */
int live_groups_begin(struct live_groups *groups) __attribute__((warn_unused_result));

/* A level-0 group for a root that is in the lineage as `element`; its counters are 0. */
int live_groups_root_add(struct live_groups *groups, uint64_t root, uint32_t element)
	__attribute__((warn_unused_result));

/* Bytes that went from a set to the one with a root more (`added`), or to it from that. */
struct live_edge {
	uint32_t small;   /* id of the set without the root; does not forward */
	uint32_t element; /* of the root */
	int64_t data;     /* bytes that the root gained; lost if negative */
	int64_t metadata;
};

/* 0 or -ENOMEM. */
int live_groups_edges(struct live_groups *groups, const struct live_edge *edges, size_t count)
	__attribute__((warn_unused_result));

/*
 * `root`, which is in the lineage right behind its source, has all that the source has: its level-0 group
 * begins with the source's numbers. It is a member of `parents`, which may have gone meanwhile: those are
 * left out. Groups that have only one of the two become stale.
 */
int live_groups_snapshot(struct live_groups *groups, uint64_t source, uint64_t root,
			 uint32_t element, const uint64_t *parents, size_t count)
	__attribute__((warn_unused_result));

/*
 * The root goes: what that changes is counted from the sets with a boundary at its element or right
 * behind; groups that it is at the edge of become stale. Its own group goes, with its relations.
 */
int live_groups_drop(struct live_groups *groups, uint64_t root, uint32_t element)
	__attribute__((warn_unused_result));

/*
 * Counts stale groups from the sets, in one pass: how many these were in `*recounted`. `all`: every group, and
 * how many of those that were not stale had wrong counters. By the pool, if it is not NULL. 0, or -ENOMEM with
 * nothing changed.
 */
struct pool;
int live_groups_recount(struct live_groups *groups, struct pool *pool, bool all, size_t *recounted)
	__attribute__((warn_unused_result));

/* All counters are 0, as before a first count: of inconsistent accounts. Without sets nothing is stale from then on. */
void live_groups_clear(struct live_groups *groups);

/* How many groups are. */
size_t live_groups_stale(const struct live_groups *groups);

/* For engines without sets: these groups of level 0 and all above, each once, in `*ids`, valid until the next call. 0 or -ENOMEM. */
struct live_group_counter {
	int64_t rfer;
	int64_t excl;
	int64_t data_rfer;
	int64_t data_excl;
};
/* Dense numbers of groups, below live_groups_limit: a root's own and all above it, in `*numbers`. Valid until the hierarchy changes. */
size_t live_groups_above(struct live_groups *groups, uint64_t root, const uint32_t **numbers);
uint32_t live_groups_limit(const struct live_groups *groups);
struct live_group_counter *live_groups_counter(struct live_groups *groups, uint32_t number);

/* What was counted can be read. */
void live_groups_publish(struct live_groups *groups);

/* Bytes of memory. */
uint64_t live_groups_memory(const struct live_groups *groups);

#endif /* REFSTORM_QGROUP_LIVE_GROUPS_H */
