/* SPDX-License-Identifier: MIT */
/* Quotas, as their users see them. */
#include "refstorm/quota.h"

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/qgroup/live_accounts.h"
#include "core/forest/commit.h"
#include "core/forest/futex.h"
#include "core/forest/root.h"
#include "core/qgroup/live_rescan.h"
#include "core/forest/subvolume.h"

/* Behind a commit, while writers are stopped: root deltas are recorded from the next transaction on. */
static int quota_install(struct rs_forest *forest, void *argument)
{
	enum rs_quota_engine engine = *(const enum rs_quota_engine *)argument;
	struct live_accounts *accounts = live_accounts_held(forest);
	int result;

	if (accounts)
		return accounts->engine == engine ? 0 : -EBUSY;
	result = live_accounts_create(forest, engine, &accounts);
	if (result)
		return result;
	/* QUOTA.accounts: all of them. */
	rcu_pointer_publish(&forest->accounts, accounts);
	forest->root_deltas = accounts->hooked.hooks->root_deltas ||
			      forest_observer_wants_roots(forest);
	forest->tracer = accounts->hooked.hooks->trace ? &accounts->hooked : NULL;
	return live_rescan_start(accounts->rescan);
}

static int quota_remove(struct rs_forest *forest, void *argument)
{
	struct live_accounts **removed = argument;
	struct rs_subvol *root = NULL;

	*removed = live_accounts_held(forest);
	forest->groups.count = 0;
	while ((root = forest_root_next(forest, root)))
		/* Relaxed: a commit changes it, under the lock that the caller holds. One that is new is its maker's. */
		if (order_load_relaxed(&root->state) != ROOT_NEW)
			root_inherit_forget(root);
	/* QUOTA.accounts: nothing. */
	rcu_pointer_publish(&forest->accounts, NULL);
	/* No step is left to come: words of extents are those of the next accounts. */
	if (*removed)
		(void)!live_rescan_cancel((*removed)->rescan);
	forest->root_deltas = forest_observer_wants_roots(forest);
	forest->tracer = NULL;
	return 0;
}

int rs_quota_enable(struct rs_writer *writer, enum rs_quota_engine engine)
{
	if (engine != RS_QUOTA_LEDGER && engine != RS_QUOTA_EXTENT)
		return -EINVAL;
	return commit_then(writer, quota_install, &engine);
}

int rs_quota_disable(struct rs_writer *writer)
{
	struct live_accounts *removed = NULL;
	int result = commit_then(writer, quota_remove, &removed);

	if (result || !removed)
		return result;
	/* Who reads groups, or changes them, has gone then. */
	rcu_grace_wait();
	live_accounts_destroy(removed);
	/* RESCAN.event: those who wait for its rescan see that it has gone. */
	order_fetch_add_release(&writer->forest->rescan_event, 1);
	futex_wake_all(&writer->forest->rescan_event);
	return 0;
}

void rs_quota_status_read(struct rs_forest *forest, struct rs_quota_status *status)
{
	const struct live_accounts *accounts;

	rcu_thread_adopt();
	*status = (struct rs_quota_status){ 0 };
	rcu_section_enter();
	accounts = live_accounts_of(forest);
	if (accounts) {
		status->enabled = true;
		status->engine = accounts->engine;
		live_rescan_read(accounts->rescan, status);
		live_accounts_read(accounts, status);
	}
	rcu_section_exit();
}

int rs_quota_reason(struct rs_forest *forest, struct rs_error *error)
{
	const struct live_accounts *accounts;
	int result = 0;

	lock_acquire(&forest->commit_lock);
	accounts = live_accounts_held(forest);
	if (accounts && accounts->reason.code) {
		result = accounts->reason.code;
		if (error)
			*error = accounts->reason;
	}
	lock_release(&forest->commit_lock);
	return result;
}

/* In the accounts' groups, which stay while they are read or changed: a section keeps them. */
static struct live_groups *quota_groups_enter(struct rs_forest *forest)
{
	struct live_accounts *accounts;

	rcu_thread_adopt();
	rcu_section_enter();
	accounts = live_accounts_of(forest);
	if (accounts)
		return accounts->groups;
	rcu_section_exit();
	return NULL;
}

/* The hierarchy is what it was said to be: a commit that had no memory for it may have left some to do. */
static int quota_hierarchy_settle(struct rs_forest *forest)
{
	struct live_accounts *accounts;
	int result = 0;

	/* Relaxed, both: looked at again under the lock. */
	if (!order_load_relaxed(&forest->inherit_waits))
		return 0;
	rcu_thread_adopt();
	lock_acquire(&forest->commit_lock);
	accounts = live_accounts_held(forest);
	if (accounts && order_load_relaxed(&forest->inherit_waits) &&
	    live_accounts_inconsistent(accounts)) {
		result = live_groups_begin(accounts->groups);
		if (!result)
			result = live_accounts_scan(accounts, false);
	}
	lock_release(&forest->commit_lock);
	return result;
}

int rs_group_create(struct rs_forest *forest, uint64_t id)
{
	struct live_groups *groups = quota_groups_enter(forest);
	int result = groups ? live_groups_create_group(groups, id) : -ENOTCONN;

	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_remove(struct rs_forest *forest, uint64_t id)
{
	struct live_groups *groups;
	int result = quota_hierarchy_settle(forest);

	if (result)
		return result;
	groups = quota_groups_enter(forest);
	result = groups ? live_groups_remove(groups, id) : -ENOTCONN;
	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_assign(struct rs_forest *forest, uint64_t member, uint64_t parent)
{
	struct live_groups *groups;
	int result = quota_hierarchy_settle(forest);

	if (result)
		return result;
	groups = quota_groups_enter(forest);
	result = groups ? live_groups_assign(groups, member, parent) : -ENOTCONN;
	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_unassign(struct rs_forest *forest, uint64_t member, uint64_t parent)
{
	struct live_groups *groups;
	int result = quota_hierarchy_settle(forest);

	if (result)
		return result;
	groups = quota_groups_enter(forest);
	result = groups ? live_groups_unassign(groups, member, parent) : -ENOTCONN;
	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_read(struct rs_forest *forest, uint64_t id, struct rs_group_usage *usage)
{
	struct live_groups *groups = quota_groups_enter(forest);
	int result = groups ? live_groups_read(groups, id, usage) : -ENOTCONN;

	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_next(struct rs_forest *forest, uint64_t *id)
{
	struct live_groups *groups = quota_groups_enter(forest);
	int result = groups ? live_groups_next(groups, id) : -ENOTCONN;

	if (groups)
		rcu_section_exit();
	return result;
}

int rs_group_parents(struct rs_forest *forest, uint64_t id, uint64_t *parents, size_t room,
		     size_t *count)
{
	struct live_groups *groups;
	int result = quota_hierarchy_settle(forest);

	if (result)
		return result;
	groups = quota_groups_enter(forest);
	result = groups ? live_groups_parents(groups, id, parents, room, count) : -ENOTCONN;
	if (groups)
		rcu_section_exit();
	return result;
}

int rs_subvol_snapshot_into(struct rs_writer *writer, struct rs_subvol *source, const char *name,
			    bool read_only, const uint64_t *groups, size_t count,
			    struct rs_subvol **out)
{
	struct live_groups *live = quota_groups_enter(writer->forest);
	int result = live ? live_groups_inherit_check(live, groups, count) : 0;

	if (live)
		rcu_section_exit();
	if (result)
		return result;
	return subvolume_snapshot(writer, source, name, read_only, groups, count, out);
}

/* Calls one of the rescan's functions under the commit lock. */
static int quota_rescan(struct rs_forest *forest, int (*call)(struct live_rescan *rescan))
{
	struct live_accounts *accounts;
	int result = -ENOTCONN;

	rcu_thread_adopt();
	lock_acquire(&forest->commit_lock);
	accounts = live_accounts_held(forest);
	if (accounts)
		result = call(accounts->rescan);
	lock_release(&forest->commit_lock);
	return result;
}

int rs_rescan_start(struct rs_forest *forest)
{
	return quota_rescan(forest, live_rescan_start);
}

int rs_rescan_pause(struct rs_forest *forest)
{
	return quota_rescan(forest, live_rescan_pause);
}

int rs_rescan_resume(struct rs_forest *forest)
{
	return quota_rescan(forest, live_rescan_resume);
}

int rs_rescan_cancel(struct rs_forest *forest)
{
	return quota_rescan(forest, live_rescan_cancel);
}

int rs_rescan_wait(struct rs_forest *forest)
{
	rcu_thread_adopt();
	/* Ends: when the rescan does, or quotas go. */
	for (;;) {
		/* RESCAN.event: what was so before is seen in the state. */
		uint32_t event = order_load_acquire(&forest->rescan_event);
		const struct live_accounts *accounts;
		int result = -ENOTCONN;

		rcu_section_enter();
		accounts = live_accounts_of(forest);
		if (accounts)
			result = live_rescan_outcome(accounts->rescan);
		rcu_section_exit();
		if (result != -EINPROGRESS)
			return result;
		futex_wait(&forest->rescan_event, event);
	}
}

int rs_reclaimable(struct rs_forest *forest, const uint64_t *subvols, size_t count, uint64_t *bytes)
{
	struct live_accounts *accounts;
	int result = -ENOTCONN;

	rcu_thread_adopt();
	lock_acquire(&forest->commit_lock);
	accounts = live_accounts_held(forest);
	if (accounts && accounts->engine != RS_QUOTA_LEDGER)
		result = -EOPNOTSUPP;
	else if (accounts && live_accounts_inconsistent(accounts))
		result = -EAGAIN;
	else if (accounts)
		result = live_ledger_reclaimable(accounts->ledger, subvols, count, bytes);
	lock_release(&forest->commit_lock);
	return result;
}
