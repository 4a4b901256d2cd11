/* SPDX-License-Identifier: MIT */
/*
 * The accounting of an image: from the roots of all subvolumes down, level by
 * level, each distinct tree block is read once; its root set is the union over
 * its parents. At the leaves data extents get the union over their leaves. Each
 * union is interned once, when it is complete, and its bytes enter the ledger.
 *
 * Memory grows with the number of distinct extents (24 bytes and a table entry
 * each) and the tree blocks of two neighbouring levels.
 *
 * Who may call: one thread; the work is done by the reader's pool. Shared lines
 * written by the workers: the word of a block's or extent's union, once for each
 * chain of versions that holds it (core/qgroup/chain.h), not once for each
 * version; the ledger is tallied by each worker for itself.
 */
#ifndef REFSTORM_QGROUP_ACCOUNT_H
#define REFSTORM_QGROUP_ACCOUNT_H

#include "core/disk/reader.h"
#include "core/qgroup/chain.h"
#include "core/qgroup/extents.h"
#include "core/qgroup/ledger.h"
#include "core/qgroup/rootset.h"
#include "core/qgroup/subvol.h"

struct rs_image;

/* A block on the path where the taking apart of a deleted subvolume has got to. */
struct account_path_block {
	uint64_t bytenr;
	uint32_t position; /* of that subvolume */
	uint8_t level;
	bool counted; /* with another subvolume that reaches it, too */
};

/* Called for each tree block; see account_run. */
typedef int account_block_fn(void *argument, unsigned worker, const uint8_t *block,
			     struct rs_error *error);

struct account {
	struct rs_image *image;
	struct reader *reader;
	const struct subvol_list *subvols;

	struct rootset_table sets;
	struct ledger_tally *tallies; /* one a worker; the first is the sum in the end */
	struct chain *chains;         /* one a worker */
	struct extent_table extents;
	struct tree_block_table levels[FORMAT_LEVELS];
	bool level_in_use[FORMAT_LEVELS];
	struct account_path_block *path_blocks;
	size_t path_block_count;
	unsigned workers;

	bool skip_deleted; /* deleted subvolumes count as gone, as far as they are not yet */
	account_block_fn *on_block; /* may be NULL */
	void *on_block_argument;
	uint64_t tree_blocks;
	order_u64 blocks_known; /* to be read up to the end of the running level */
};

/* 0 or -ENOMEM. */
int account_init(struct account *account, struct rs_image *image, struct reader *reader,
		 const struct subvol_list *subvols, struct rs_error *error)
	__attribute__((warn_unused_result));
void account_destroy(struct account *account);

/*
 * Reads all trees. `account->on_block`, if set, is also shown every distinct
 * block. 0, -EUCLEAN, -EIO, -ENOMEM, -ECANCELED.
 */
int account_read_trees(struct account *account, const struct pool_watch *watch,
		       struct rs_error *error) __attribute__((warn_unused_result));

/* After that: interns the sets of the data extents and adds the ledger up. */
int account_settle(struct account *account, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_ACCOUNT_H */
