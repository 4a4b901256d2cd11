/* SPDX-License-Identifier: MIT */
/*
 * The numbers of all quota groups, counted from what each root has and from the relations of the
 * groups alone, to be compared with what the forest says of them.
 *
 * Who may call: one thread, enrolled with RCU, in no RCU section, at rest right behind a commit.
 * Memory: 24 bytes for each extent of each root, and a byte for each root of each group.
 */
#ifndef REFSTORM_ORACLE_RECOUNT_GROUPS_H
#define REFSTORM_ORACLE_RECOUNT_GROUPS_H

#include "stress/oracle/recount.h"

struct recount_groups_done {
	uint64_t groups;   /* whose numbers were compared */
	uint64_t reclaims; /* sets of subvolumes, for what deleting them would free */
};

/*
 * Each difference goes to the report of the recount, one with `holdings`. Nothing is compared, and
 * `*done` is 0, where quotas are off, the accounts inconsistent, or a rescan runs or is paused; accounts
 * that have become inconsistent for a reason are a finding. What sets of subvolumes are asked for
 * depends on the generation alone. 0 or -ENOMEM.
 */
int recount_groups_compare(struct recount *recount, struct recount_groups_done *done)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_RECOUNT_GROUPS_H */
