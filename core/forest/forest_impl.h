/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the forest share: the forest, its roots and its writers.
 *
 * Order of a change: the writer joins the transaction (trans_join), locks the roots that it
 * changes, in the order of their addresses, changes them, unlocks, and ends (trans_end). A commit
 * waits until all that have joined have ended.
 */
#ifndef REFSTORM_FOREST_FOREST_IMPL_H
#define REFSTORM_FOREST_FOREST_IMPL_H

#include <pthread.h>

#include "core/base/lock.h"
#include "core/base/rcu.h"
#include "core/forest/buffer.h"
#include "core/forest/extent_index.h"
#include "core/forest/hooks.h"
#include "core/forest/space.h"
#include "refstorm/forest.h"

/* A tree as a commit left it. Replaced by each commit that changes it; read under RCU. */
struct root_commit {
	struct rcu_deferred deferred;
	struct buffer *node;
	uint64_t generation; /* of that commit */
	bool dropping;       /* deleted: what is before the progress has gone */
	uint8_t drop_level;  /* of the node that the progress stands in */
	struct format_key drop_progress;
};

enum root_state {
	ROOT_LIVE,
	ROOT_DELETED, /* out of sight; still in the tree's list of those to be taken apart */
	ROOT_GONE,    /* taken apart */
	ROOT_NEW,     /* shown by the commit that makes it */
};

struct rs_subvol {
	struct rs_forest *forest;
	uint64_t id;
	char *name;       /* does not change */
	uint64_t created; /* generation in which it was made: the offset of its root key */
	uint64_t parent;  /* id of its source; 0: none */
	bool read_only;
	struct lock lock;    /* LOCK_RANK_FOREST_ROOT: protects the tree and what follows */
	struct buffer *node; /* as it is now; NULL: taken apart */
	uint64_t next_inode;
	uint64_t last_snapshot; /* generation of the last snapshot that was taken of it */
	uint64_t clones; /* how often it shared extents by a clone; from 1 in one of an image */
	struct rs_subvol *dirty_next; /* in the forest's list of roots that the transaction changed */
	bool dirty;
	struct format_key drop_progress;
	uint8_t drop_level;
	struct format_key convert; /* how far references below the next block have been made full */
	order_u32 state;           /* enum root_state */
	order_ptr commit;          /* struct root_commit */
	struct root_commit *committing; /* the next one; by the commit */
	struct rs_subvol *source;       /* of a snapshot that is to be made */
	uint32_t account;               /* a number that the accounts keep with it; 0 at first */
	uint64_t *inherit; /* groups that it will be a member of; NULL once the accounts know */
	size_t inherit_count;
	bool drop_known;             /* it has been in the list of drops; by the commit */
	struct rs_subvol *drop_next; /* in the forest's list */
	struct rs_subvol *next_name; /* in the forest's table */
	struct rs_subvol *next_id;
	struct rs_subvol *next; /* ascending by id */
};

struct rs_writer {
	struct rs_forest *forest;
	struct rs_producer *producer;
	struct space_window windows[SPACE_KINDS];
	struct buffer_cache blocks;
	uint64_t generation;    /* of the transaction that it is in */
	uint64_t blocks_copied; /* to be added to the forest's sum */
	uint32_t deltas;        /* not added to the forest's number yet */
	bool joined;
};

/* A quota group above level 0 (parent 0), or that one is a member of another. */
struct forest_group_link {
	uint64_t group;
	uint64_t parent;
};

/* In the order of their keys: groups before relations. */
struct forest_groups {
	struct forest_group_link *links;
	size_t count;
	size_t capacity;
};

struct rs_forest {
	struct rs_record *record;
	struct space space;
	struct buffer_map buffers;
	struct extent_index *extents;
	const struct rs_observer *observer; /* or NULL */
	uint32_t node_bytes;
	uint8_t fsid[FORMAT_FSID_BYTES];

	order_u64 generation; /* of the running transaction; changes while no writer is in one */
	order_u32 committing; /* writers wait: a futex */
	order_u32 aborting;   /* somebody writes the reason, or has */
	order_u32 aborted;    /* the reason is there */
	struct rs_error abort_error;

	struct lock commit_lock; /* LOCK_RANK_FOREST_COMMIT: who commits, and what follows */
	uint64_t last_cut;       /* of the newest transaction that has ended */
	bool trails;             /* not all heads up to it have been run */
	struct lock dirty_lock;  /* LOCK_RANK_FOREST_DIRTY: protects dirty, drops */
	struct rs_subvol *dirty;
	struct rs_subvol *drops;

	struct lock table_lock; /* LOCK_RANK_FOREST_TABLE: protects what follows */
	struct rs_subvol **by_id;
	struct rs_subvol **by_name;
	struct rs_subvol *first; /* ascending by id */
	struct rs_subvol *last;
	uint64_t next_id;
	order_u64 root_count; /* all that were ever made; relaxed */
	order_u64 live_count;

	order_ptr accounts; /* struct forest_accounts, or NULL; changed under the commit lock */
	/* Both change while no writer is in a transaction. */
	struct forest_accounts *tracer; /* who is told of each reference; or NULL */
	bool root_deltas;               /* are recorded */
	struct forest_groups
		groups;          /* of the image, for who turns quotas on; under the commit lock */
	order_u32 inherit_waits; /* some root has groups that the accounts do not know; relaxed */
	order_u32 commits_wait;  /* for the commit lock, or have it; relaxed */
	order_u32 rescan_event;  /* moves with the state of a rescan: a futex */

	pthread_t drop_thread;
	bool drop_thread_runs;
	order_u32 drop_wanted; /* moves when there is something to be taken apart, or it is to end: a futex */
	order_u32 drop_began; /* 0: not yet; a futex */
	order_u32 drop_end;
	bool no_drop_thread;
	order_u64 dropping; /* roots in drops, and the one in work */

	order_u64 deltas __attribute__((
		aligned(ORDER_LINE))); /* recorded in the running transaction, about */
	order_u64 commits;
	order_u64 heads;
	order_u64 blocks_copied;
	order_u64 join_waits; /* of operations, for a commit that stopped writers; relaxed */
	order_u64 join_wait_ns_max;
};

/* Waits from now on count; what is over is forgotten. Any thread. */
static inline void forest_join_waits_forget(struct rs_forest *forest)
{
	/* Relaxed, both: statistics. */
	order_store_relaxed(&forest->join_waits, 0);
	order_store_relaxed(&forest->join_wait_ns_max, 0);
}

/* By the holder of the commit lock. */
static inline struct forest_accounts *forest_accounts_held(struct rs_forest *forest)
{
	/* Relaxed: changed under the commit lock. */
	return (struct forest_accounts *)order_load_relaxed(&forest->accounts);
}

/* Who watches heads is told of root deltas also where quotas are off. */
static inline bool forest_observer_wants_roots(const struct rs_forest *forest)
{
	return forest->observer && forest->observer->head;
}

#endif /* REFSTORM_FOREST_FOREST_IMPL_H */
