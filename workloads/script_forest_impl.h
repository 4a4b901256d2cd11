/* SPDX-License-Identifier: MIT */
/* What the parts of the back end on the forest share. Each seat is of one thread. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_FOREST_IMPL_H
#define REFSTORM_WORKLOADS_SCRIPT_FOREST_IMPL_H

#include "core/base/order.h"
#include "workloads/script_forest.h"

#define SCRIPT_FOREST_FOUND_BYTES 300

/*
 * How often what a name stands for has changed. Relaxed: a thread that reads an old number may use
 * what it has kept, as if it had run a little earlier; what a line must see was ordered before it
 * by the end of a section. A new number is read before the look-up that goes with it, and the look-up
 * takes the lock that the change was made under: it does not find what was there before.
 */
struct script_forest {
	const struct script *script;
	struct rs_forest *forest;
	enum rs_quota_engine engine; /* of `quota on` without a name */
	order_u32 *subvol_changes;   /* for each subvolume name: made or deleted */
	order_u32 *place_changes;    /* for each place: unlinked */
	struct script_backend backend;
};

struct script_forest_kept {
	struct rs_subvol *subvol; /* NULL: nothing kept */
	uint32_t changes;
};

struct script_forest_kept_inode {
	uint64_t inode; /* 0: nothing kept */
	uint32_t subvol_changes;
	uint32_t place_changes;
};

/* What a thread has. */
struct script_forest_seat {
	struct script_forest *back_end;
	struct rs_writer *writer;
	struct script_forest_kept *subvols;
	struct script_forest_kept_inode *inodes;
	char found[SCRIPT_FOREST_FOUND_BYTES]; /* by the last expectation; empty: nothing wrong */
};

/* script_forest.c */
/* NULL if there is none. */
struct rs_subvol *script_forest_subvol(struct script_forest_seat *seat, uint32_t number);

/* script_forest_quota.c */
script_run_fn script_forest_quota_on;
script_run_fn script_forest_quota_off;
script_run_fn script_forest_quota_rescan; /* all that `rescan` has */
script_run_fn script_forest_quota_group;  /* all that `group` has */
script_run_fn script_forest_quota_expect;
script_run_fn script_forest_quota_reclaim;
const char *script_forest_quota_refused(const struct script_operation *operation);
int script_forest_quota_snapshot(struct script_forest_seat *seat,
				 const struct script_operation *operation, struct rs_subvol *source,
				 struct rs_subvol **made) __attribute__((warn_unused_result));

#endif /* REFSTORM_WORKLOADS_SCRIPT_FOREST_IMPL_H */
