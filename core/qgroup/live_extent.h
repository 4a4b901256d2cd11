/* SPDX-License-Identifier: MIT */
/*
 * The engine `extent`: today's kernel's way. Whoever changes a reference notes the extent, and which roots had
 * it in the last commit; a commit walks to the roots that have it then, and the counters of all groups above
 * either follow from how many of their members had it, and have it. Its cost grows with the number of
 * snapshots: it is what the ledger is compared with.
 *
 * Who may call: live_extent_trace writers together, each inside a transaction (a lock of rank
 * LOCK_RANK_QGROUP_DIRTY for a moment, that of the forest's table); all else who commits, with writers stopped.
 */
#ifndef REFSTORM_QGROUP_LIVE_EXTENT_H
#define REFSTORM_QGROUP_LIVE_EXTENT_H

#include "core/qgroup/live_groups.h"
#include "refstorm/error.h"

struct rs_forest;
struct live_extent;

/* Both outlive it. 0 or -ENOMEM. */
int live_extent_create(struct rs_forest *forest, struct live_groups *groups,
		       struct live_extent **out) __attribute__((warn_unused_result));
void live_extent_destroy(struct live_extent *engine);

/* From now on extents that begin at `known` or above are not counted yet: what changes of them is left out. At first all are. */
void live_extent_know(struct live_extent *engine, uint64_t known);

/* A reference of the extent is about to change. What fails is told by the next live_extent_account. */
void live_extent_trace(struct live_extent *engine, uint64_t bytenr, uint64_t bytes, bool metadata);

/* What is noted up to the next _finish cannot be relied on: live_extent_account fails with this. Any thread. */
void live_extent_lose(struct live_extent *engine, int code, const struct rs_error *error);

/*
 * The accounts of a commit, behind its heads and before its trees are published, in this order:
 *   _account         all that was noted, as if the root that the commit makes, `snapshot`, were not there (0: none)
 *   live_groups_snapshot by the caller, after which the snapshot has all that its source has
 *   _account_snapshot where they differ
 *   _drop            each root that the commit deletes: its whole tree is read; its group is still there
 *   _finish          what was noted is forgotten
 * 0; -ENOMEM, or -EUCLEAN with what and where: the counters are wrong from then on.
 */
int live_extent_account(struct live_extent *engine, uint64_t snapshot, struct rs_error *error)
	__attribute__((warn_unused_result));
int live_extent_account_snapshot(struct live_extent *engine, uint64_t source, uint64_t snapshot,
				 struct rs_error *error) __attribute__((warn_unused_result));
int live_extent_drop(struct live_extent *engine, uint64_t root, struct rs_error *error)
	__attribute__((warn_unused_result));
void live_extent_finish(struct live_extent *engine);

/* An extent that was not counted is: of a rescan, behind _finish. 0, -ENOMEM, -EUCLEAN. */
int live_extent_count(struct live_extent *engine, uint64_t bytenr, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_LIVE_EXTENT_H */
