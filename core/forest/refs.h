/* SPDX-License-Identifier: MIT */
/*
 * Reference changes: each goes to the observer and to the record path, as deltas.
 *
 * Who may call: a writer inside a transaction. 0 or a negative errno, and then the transaction is
 * aborted already.
 */
#ifndef REFSTORM_FOREST_REFS_H
#define REFSTORM_FOREST_REFS_H

#include "core/forest/forest_impl.h"

/* The back reference. Only `kind`, and what says which reference it is, are read. */
int refs_change(struct rs_writer *writer, const struct rs_ref_action *action)
	__attribute__((warn_unused_result));

/*
 * For the accounts: the root gained (`count` > 0) or lost so many file extent items, or tree blocks, of
 * the extent. `allocated`: bytes, if the extent was allocated in this operation, else 0.
 */
int refs_account(struct rs_writer *writer, uint64_t root, uint64_t bytenr, uint64_t bytes,
		 int count, uint64_t allocated) __attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_REFS_H */
