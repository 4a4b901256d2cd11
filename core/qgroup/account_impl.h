/* SPDX-License-Identifier: MIT */
/* What the files of the accounting share: account.c, leaf.c, dropping.c. */
#ifndef REFSTORM_QGROUP_ACCOUNT_IMPL_H
#define REFSTORM_QGROUP_ACCOUNT_IMPL_H

#include "core/qgroup/account.h"

/* The entry of the block that pointer `slot` of `parent` leads to. In an RCU section. */
int account_find_child(struct account *account, const uint8_t *parent, uint32_t slot,
		       struct tree_block **child, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Tells the data extents of a leaf which runs reach them, through the chain. In an RCU section. */
int account_reach_extents(struct account *account, struct chain *chain, const uint8_t *leaf,
			  struct rs_error *error) __attribute__((warn_unused_result));

/* Interns a complete union and adds the bytes to the worker's tally. 0, -ENOMEM or -E2BIG. */
int account_tally(struct account *account, unsigned worker, const struct run *runs, size_t count,
		  uint64_t data, uint64_t metadata) __attribute__((warn_unused_result));

/* The table of a level, made when it is first used; NULL if there is no memory. One thread. */
struct tree_block_table *account_level(struct account *account, uint8_t level);

/*
 * A subvolume that is being taken apart: follows the path to where that has got
 * to, and reaches what lies behind it. One thread, before any level is read.
 */
int account_reach_dropping(struct account *account, const struct subvol *subvol,
			   struct rs_error *error) __attribute__((warn_unused_result));

/* The path blocks of such subvolumes at `bytenr` add their positions to `runs`. */
int account_add_path_runs(struct account *account, uint64_t bytenr, uint8_t level,
			  struct runs *runs) __attribute__((warn_unused_result));

/* Those that no other subvolume reaches enter the ledger by themselves. One thread. */
int account_tally_paths(struct account *account) __attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_ACCOUNT_IMPL_H */
