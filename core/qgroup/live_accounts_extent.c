/* SPDX-License-Identifier: MIT */
#include "core/qgroup/live_accounts_extent.h"

#include <errno.h>

#include "core/qgroup/live_rescan.h"
#include "core/forest/root.h"

static void extent_root_forget(struct live_accounts *accounts, struct rs_subvol *root)
{
	lineage_remove(&accounts->lineage, root->account);
	root->account = LINEAGE_NONE;
}

static int extent_root_add(struct live_accounts *accounts, struct rs_subvol *root)
{
	int result;

	if (root->account)
		return 0;
	result = lineage_add_family(&accounts->lineage, root->id, &root->account);
	if (result)
		return result;
	result = live_groups_root_add(accounts->groups, root->id, root->account);
	if (result) {
		lineage_remove(&accounts->lineage, lineage_next(&accounts->lineage, root->account));
		extent_root_forget(accounts, root);
	}
	return result;
}

static int extent_roots_add(struct live_accounts *accounts)
{
	struct rs_subvol *root = NULL;
	int result = 0;

	while (!result && (root = forest_root_next(accounts->forest, root))) {
		/* Relaxed: a commit changes it, under the lock that the caller holds. */
		if (order_load_relaxed(&root->state) == ROOT_LIVE)
			result = extent_root_add(accounts, root);
	}
	return result;
}

/* Subvolumes that the commit shows for the first time, but for its snapshot. */
static int extent_meet(struct live_accounts *accounts)
{
	struct rs_subvol *root = accounts->forest->dirty;
	int result = 0;

	if (accounts->scan)
		return live_accounts_scan(accounts, true);
	for (; root && !result; root = root->dirty_next)
		if (live_accounts_root_lives(root, true))
			result = extent_root_add(accounts, root);
	return result;
}

int live_accounts_extent_create(struct live_accounts *accounts)
{
	struct rs_subvol *root = NULL;
	int result = lineage_init(&accounts->lineage);

	while ((root = forest_root_next(accounts->forest, root)))
		root->account = LINEAGE_NONE;
	if (!result)
		result = live_groups_create(&accounts->lineage, NULL, &accounts->groups);
	if (!result)
		result = live_groups_begin(accounts->groups);
	if (!result)
		result = extent_roots_add(accounts);
	if (!result)
		result = live_extent_create(accounts->forest, accounts->groups, &accounts->extent);
	return result;
}

void live_accounts_extent_destroy(struct live_accounts *accounts)
{
	live_extent_destroy(accounts->extent);
	live_groups_destroy(accounts->groups);
	lineage_destroy(&accounts->lineage);
}

static int extent_snapshot(struct live_accounts *accounts, struct rs_subvol *snapshot,
			   struct rs_error *error)
{
	const struct rs_subvol *source = snapshot->source;
	int result = lineage_add_snapshot(&accounts->lineage, source->account, snapshot->id,
					  &snapshot->account);

	if (result)
		return result;
	result = live_groups_snapshot(accounts->groups, source->id, snapshot->id, snapshot->account,
				      snapshot->inherit, snapshot->inherit_count);
	if (result) {
		/* Its group may be there, empty. */
		(void)!live_groups_drop(accounts->groups, snapshot->id, snapshot->account);
		extent_root_forget(accounts, snapshot);
		return result;
	}
	root_inherit_forget(snapshot);
	return live_extent_account_snapshot(accounts->extent, source->id, snapshot->id, error);
}

int live_accounts_extent_settle(struct live_accounts *accounts, struct rs_subvol *snapshot,
				struct rs_error *error)
{
	int result = live_groups_begin(accounts->groups);

	if (!result)
		result = extent_meet(accounts);
	live_extent_know(accounts->extent, accounts->known);
	if (!result)
		result = live_extent_account(accounts->extent, snapshot ? snapshot->id : 0, error);
	if (!result && snapshot)
		result = extent_snapshot(accounts, snapshot, error);
	return result;
}

static int extent_root_drop(struct live_accounts *accounts, struct rs_subvol *root)
{
	int result = live_groups_drop(accounts->groups, root->id, root->account);

	if (!result)
		extent_root_forget(accounts, root);
	return result;
}

int live_accounts_extent_deleted(struct live_accounts *accounts, struct rs_subvol *root,
				 struct rs_error *error)
{
	int result;

	if (!root->account)
		return 0;
	result = live_extent_drop(accounts->extent, root->id, error);
	return result ? result : extent_root_drop(accounts, root);
}

int live_accounts_extent_scan(struct live_accounts *accounts, struct rs_subvol *root, bool fresh)
{
	if (!live_accounts_root_is_gone(root))
		return live_accounts_root_lives(root, fresh) ? extent_root_add(accounts, root) : 0;
	return root->account ? extent_root_drop(accounts, root) : 0;
}

void live_accounts_extent_finish(struct live_accounts *accounts)
{
	live_extent_finish(accounts->extent);
	if (live_groups_stale(accounts->groups)) {
		live_rescan_restart(accounts->rescan);
		return;
	}
	/* What is known of some extents only is no number. */
	if (!live_accounts_inconsistent(accounts))
		live_groups_publish(accounts->groups);
}

void live_accounts_extent_clear(struct live_accounts *accounts)
{
	live_groups_clear(accounts->groups);
	live_groups_publish(accounts->groups);
}
