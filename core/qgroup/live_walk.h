/* SPDX-License-Identifier: MIT */
/*
 * From an extent back to the roots that reference it, through its back references: keyed ones by searching
 * the tree that they name, full ones through the parent.
 *
 * Who may call: any thread, while the index of extents and the trees that are read do not change: in
 * an RCU section for committed trees, beside writers but not beside a commit; or by who commits, for the trees
 * as they are then. A walk belongs to one thread at a time. Progress: takes no lock, but for that of the
 * forest's table (LOCK_RANK_FOREST_TABLE) when it meets roots that are new to it.
 */
#ifndef REFSTORM_QGROUP_LIVE_WALK_H
#define REFSTORM_QGROUP_LIVE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"

struct rs_forest;

enum live_walk_state {
	LIVE_WALK_COMMITTED, /* the trees as of the last commit */
	LIVE_WALK_CURRENT,   /* as they are: nobody changes them meanwhile */
	LIVE_WALK_LEAVING, /* the same, and roots that the running commit deletes are still roots */
};

struct live_walk;

/* 0 or -ENOMEM. */
int live_walk_create(struct rs_forest *forest, struct live_walk **out)
	__attribute__((warn_unused_result));
void live_walk_destroy(struct live_walk *walk);

/*
 * The roots that reference the extent, each once, ascending, in `*roots`, valid until the next walk; their
 * number in `*count`. Roots that are deleted are left out. None where there is no such extent. 0, -ENOMEM; -EUCLEAN: a
 * back reference leads nowhere.
 */
int live_walk_roots(struct live_walk *walk, enum live_walk_state state, uint64_t bytenr,
		    const uint64_t **roots, size_t *count, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_LIVE_WALK_H */
