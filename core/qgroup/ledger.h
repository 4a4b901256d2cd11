/* SPDX-License-Identifier: MIT */
/*
 * The ledger: bytes for each distinct root set, data and metadata apart. Every
 * counter of every group follows from it.
 *
 * Who may call: a tally belongs to one worker, which alone adds to it; what is
 * added up and read is read when nobody adds. So adding writes no shared line.
 */
#ifndef REFSTORM_QGROUP_LEDGER_H
#define REFSTORM_QGROUP_LEDGER_H

#include "core/base/order.h"
#include "core/base/pool.h"
#include "core/qgroup/group.h"
#include "core/qgroup/rootset.h"
#include "core/qgroup/subvol.h"

struct ledger_entry {
	uint64_t data; /* bytes */
	uint64_t metadata;
};

/* One worker's part of the ledger: entry number = id of the root set. */
struct ledger_tally {
	struct ledger_entry *entries;
	uint32_t capacity;
} __attribute__((aligned(ORDER_LINE)));

/* 0 or -ENOMEM. */
int ledger_add(struct ledger_tally *tally, uint32_t set, uint64_t data, uint64_t metadata)
	__attribute__((warn_unused_result));

/* Adds all tallies up in the first, which then has at least `sets` entries. 0 or -ENOMEM. */
int ledger_sum(struct ledger_tally *tallies, unsigned count, uint32_t sets)
	__attribute__((warn_unused_result));

/* Bytes of all sets but the empty one. */
uint64_t ledger_total(const struct ledger_tally *ledger, uint32_t sets);

/*
 * Counts rfer and excl of every group of the sorted table from `ledger`: level 0
 * in one pass over the runs of all sets, each group above it in one pass of its
 * own, in the pool. A level-0 group counts for the subvolume of the same id.
 * 0 or -ENOMEM.
 */
int ledger_count_groups(const struct ledger_tally *ledger, const struct rootset_table *sets,
			const struct subvol_list *subvols, struct group_table *groups,
			struct pool *pool) __attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_LEDGER_H */
