/* SPDX-License-Identifier: MIT */
/*
 * Transactions: joining, ending, committing, aborting.
 *
 * Who may call: as said at each. Progress: joining waits while a commit stops writers; a commit waits
 * until all that have joined have ended.
 * Guarantee: what is done between trans_join and trans_end is part of one transaction.
 */
#ifndef REFSTORM_FOREST_TRANS_H
#define REFSTORM_FOREST_TRANS_H

#include "core/forest/forest_impl.h"

/*
 * The writer is in none, and holds no lock. With room for `blocks` tree blocks. 0, -EROFS, -ENOSPC, -ENOMEM,
 * and then it has not joined.
 */
int trans_join(struct rs_writer *writer, unsigned blocks) __attribute__((warn_unused_result));
void trans_end(struct rs_writer *writer);

/* Inside a transaction: room for so many tree blocks, again. 0, -ENOSPC, -ENOMEM. */
int trans_reserve(struct rs_writer *writer, unsigned blocks) __attribute__((warn_unused_result));

/*
 * Outside of a transaction, when one has ended with `result`: whether that was -ENOSPC and a commit has given
 * space back since, so that it is worth trying again. Once for each `*tried`, which begins as false.
 */
bool trans_make_room(struct rs_writer *writer, int result, bool *tried);

/* The root is changed by this transaction. By the holder of its lock. */
void trans_dirty(struct rs_subvol *root);

/*
 * Nothing of the running transaction will be committed; changes are refused from now on. The first
 * reason is kept. Returns `code`, which is a negative errno. Any thread.
 */
int trans_abort(struct rs_forest *forest, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The writer is in none. 0, or what the transaction was aborted with. */
int trans_commit(struct rs_writer *writer) __attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_TRANS_H */
