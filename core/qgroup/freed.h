/* SPDX-License-Identifier: MIT */
/*
 * What deleting roots frees, from the root sets alone: the bytes of a set are
 * free when all of its roots are gone.
 *
 * Who may call: any thread.
 */
#ifndef REFSTORM_QGROUP_FREED_H
#define REFSTORM_QGROUP_FREED_H

#include "core/qgroup/flat_sets.h"

/* By all roots together that `before` counts, up to each position. */
uint64_t freed_by_all(const struct flat_sets *flat, const uint32_t *before);

/* By the root at each position alone. `bytes` has one for each position. */
void freed_by_each(const struct flat_sets *flat, uint64_t *bytes);

/* A root that may be deleted. */
struct freed_candidate {
	uint64_t id;
	uint32_t position;
};

struct freed_step {
	struct freed_candidate root;
	uint64_t bytes; /* that it frees behind the steps before */
	uint64_t total;
};

/*
 * The order in which to delete: in turn the candidate that frees most. If several
 * free the same, the one with most bytes in sets where just one other root is
 * left; if these are the same too, two others, and so on; then the lowest id.
 *
 * Sorts `candidates`, which are distinct, by position. `steps` has room for the
 * lower of `most` and `count`; all of it is filled. Each step costs a pass over
 * the sets, and where the choice is close a part of a second one. 0 or -ENOMEM.
 */
int freed_best(const struct flat_sets *flat, struct freed_candidate *candidates, uint32_t count,
	       struct freed_step *steps, uint32_t most) __attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_FREED_H */
