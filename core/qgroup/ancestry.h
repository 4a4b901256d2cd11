/* SPDX-License-Identifier: MIT */
/*
 * From uuids to a lineage: which subvolume is a snapshot of which, a snapshot
 * right behind its source as if it had been taken just now. Any order gives right
 * numbers; a good one keeps root sets at one run.
 */
#ifndef REFSTORM_QGROUP_ANCESTRY_H
#define REFSTORM_QGROUP_ANCESTRY_H

#include "refstorm/error.h"

struct subvol_list;

/* Fills list->lineage from list->subvols. 0 or -ENOMEM. */
int ancestry_build(struct subvol_list *list, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_ANCESTRY_H */
