/* SPDX-License-Identifier: MIT */
/*
 * The back end of scripts on the live forest (include/refstorm/forest.h). Each thread keeps what it
 * has looked up, so that a line costs little beside the operation itself.
 *
 * Callers: the back end belongs to one script_run at a time; nobody else makes, deletes or unlinks
 * what the script names meanwhile.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_FOREST_H
#define REFSTORM_WORKLOADS_SCRIPT_FOREST_H

#include "refstorm/forest.h"
#include "refstorm/quota.h"
#include "workloads/script_run.h"

struct script_forest;

/* Both outlive the back end. 0 or -ENOMEM. */
int script_forest_create(const struct script *script, struct rs_forest *forest,
			 struct script_forest **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/* What `quota on` turns on where it names no engine: the ledger, unless this says otherwise. Before the run. */
void script_forest_engine_set(struct script_forest *back_end, enum rs_quota_engine engine);

/* NULL is allowed. */
void script_forest_destroy(struct script_forest *back_end);

const struct script_backend *script_forest_backend(const struct script_forest *back_end);

#endif /* REFSTORM_WORKLOADS_SCRIPT_FOREST_H */
