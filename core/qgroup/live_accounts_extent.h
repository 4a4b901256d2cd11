/* SPDX-License-Identifier: MIT */
/*
 * The accounts of a commit where quotas have the engine `extent`: what accounts.c does with the ledger.
 * Where members of groups changed, only a count of all extents can follow: as with the kernel the accounts are
 * inconsistent then; here the rescan begins by itself. By the holder of the commit lock.
 */
#ifndef REFSTORM_QGROUP_LIVE_ACCOUNTS_EXTENT_H
#define REFSTORM_QGROUP_LIVE_ACCOUNTS_EXTENT_H

#include "core/qgroup/live_accounts.h"

/* For all roots that live. 0 or -ENOMEM. */
int live_accounts_extent_create(struct live_accounts *accounts) __attribute__((warn_unused_result));
void live_accounts_extent_destroy(struct live_accounts *accounts);

/* 0, -ENOMEM, -EUCLEAN. */
int live_accounts_extent_settle(struct live_accounts *accounts, struct rs_subvol *snapshot,
				struct rs_error *error) __attribute__((warn_unused_result));
int live_accounts_extent_deleted(struct live_accounts *accounts, struct rs_subvol *root,
				 struct rs_error *error) __attribute__((warn_unused_result));
/* One root, as live_accounts_scan does with all. */
int live_accounts_extent_scan(struct live_accounts *accounts, struct rs_subvol *root, bool fresh)
	__attribute__((warn_unused_result));
void live_accounts_extent_finish(struct live_accounts *accounts);

/* All numbers are 0. What writers have noted stays noted. */
void live_accounts_extent_clear(struct live_accounts *accounts);

#endif /* REFSTORM_QGROUP_LIVE_ACCOUNTS_EXTENT_H */
