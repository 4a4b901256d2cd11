/* SPDX-License-Identifier: MIT */
/*
 * Quota accounts of a forest: what its commits tell the engine, and when.
 *
 * While heads are run, each extent that roots gained or lost is noted, with the word that the accounts keep with
 * it in the index of extents. Behind the heads the notes go to the ledger, then the snapshot of the commit, if
 * it makes one, then what concerns the new root, then roots that are deleted. All that is the work of who commits.
 *
 * Extents below `known` are accounted for; others are not yet, and changes of them are left out: a rescan that
 * begins with nothing moves `known` up to the end.
 *
 * Who may call: all of it the holder of the commit lock, but for what says otherwise.
 */
#ifndef REFSTORM_QGROUP_LIVE_ACCOUNTS_H
#define REFSTORM_QGROUP_LIVE_ACCOUNTS_H

#include <pthread.h>

#include "core/base/pool.h"
#include "core/forest/forest_impl.h"
#include "core/qgroup/live_extent.h"
#include "core/qgroup/live_ledger.h"
#include "refstorm/quota.h"

/* All of an index. */
#define LIVE_ACCOUNTS_ALL UINT64_MAX

struct live_accounts_notes {
	struct live_change *changes;
	size_t change_count;
	size_t change_capacity;
	struct live_delta *deltas;
	size_t delta_count;
	size_t delta_capacity;
};

struct live_rescan;

struct live_accounts {
	struct forest_accounts hooked; /* first */
	struct rs_forest *forest;
	enum rs_quota_engine engine;
	struct pool *pool;
	struct live_ledger *ledger; /* NULL with the engine `extent`: it has the next two */
	struct live_extent *extent;
	struct lineage lineage;
	struct live_groups *groups; /* the engine's */
	struct live_accounts_notes notes;
	struct live_accounts_notes late; /* of the root that the running commit makes */
	uint64_t snapshot;               /* its id; 0: none */
	uint64_t known;                  /* extents that begin below are accounted for */
	bool lost;                       /* a note could not be kept */
	bool scan;                       /* roots may have come or gone without being noticed */
	struct rs_error reason;          /* why the accounts became inconsistent */
	struct live_rescan *rescan;

	/* For rs_quota_status_read; relaxed: each is true of some moment. */
	order_u32 inconsistent;
	order_u64 figures[4]; /* sets, runs, bytes, layered */
	order_u64 generation;
};

/* Made for all roots that live, with nothing known of any extent; not the forest's yet. 0, -ENOMEM, -EAGAIN. */
int live_accounts_create(struct rs_forest *forest, enum rs_quota_engine engine,
			 struct live_accounts **out) __attribute__((warn_unused_result));
/* Nobody can come to it. No lock is held. */
void live_accounts_destroy(struct live_accounts *accounts);

/* Those of the forest, or NULL. Any thread, in an RCU section. */
struct live_accounts *live_accounts_of(struct rs_forest *forest);
/* The same, by the holder of the commit lock. */
struct live_accounts *live_accounts_held(struct rs_forest *forest);

/*
 * Whether the accounts are to know the subvolume. The snapshot of the commit in hand is met by itself, and so is
 * not one of these: `fresh` are those that the commit shows for the first time, with writers stopped.
 */
bool live_accounts_root_lives(const struct rs_subvol *root, bool fresh);
/* Whether it was deleted by a commit before the one in hand. */
bool live_accounts_root_is_gone(const struct rs_subvol *root);
/* All roots that live are known from now on, and no others; fresh ones as above. 0, -ENOMEM. */
int live_accounts_scan(struct live_accounts *accounts, bool fresh)
	__attribute__((warn_unused_result));

/* Nothing is known of any extent. */
void live_accounts_clear(struct live_accounts *accounts);
/* From now on nothing is known: numbers are 0, and `reason` is kept. */
void live_accounts_give_up(struct live_accounts *accounts, int code, const struct rs_error *reason);
/* Figures can be read. */
void live_accounts_publish(struct live_accounts *accounts);

/* What is its own of the status. Any thread. */
void live_accounts_read(const struct live_accounts *accounts, struct rs_quota_status *status);
/* By the holder of the commit lock. */
bool live_accounts_inconsistent(const struct live_accounts *accounts);

#endif /* REFSTORM_QGROUP_LIVE_ACCOUNTS_H */
