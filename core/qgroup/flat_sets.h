/* SPDX-License-Identifier: MIT */
/*
 * All root sets that hold bytes, laid out for passes over them: boundaries are
 * positions in the lineage here, so how many roots of some kind a set holds is
 * two look-ups a run in an array of running counts.
 *
 * Who may call: built by one thread; then read by any number.
 */
#ifndef REFSTORM_QGROUP_FLAT_SETS_H
#define REFSTORM_QGROUP_FLAT_SETS_H

#include "core/qgroup/ledger.h"

struct flat_sets {
	struct ledger_entry *bytes;
	uint32_t *first;      /* of set k: first[k] .. first[k + 1] - 1 are its boundaries */
	uint32_t *boundaries; /* positions */
	uint32_t *roots;      /* roots that stand before each position */
	uint32_t count;
	uint32_t positions;
};

/* `flat` is zero. 0 or -ENOMEM; flat_sets_free is to be called in both cases. */
int flat_sets_build(struct flat_sets *flat, const struct ledger_tally *ledger,
		    const struct rootset_table *sets, const struct subvol_list *subvols)
	__attribute__((warn_unused_result));
void flat_sets_free(struct flat_sets *flat);

/* How many of what `before` counts, up to each position, lie in the runs of set number `set`. */
uint32_t flat_sets_count(const struct flat_sets *flat, uint32_t set, const uint32_t *before);

#endif /* REFSTORM_QGROUP_FLAT_SETS_H */
