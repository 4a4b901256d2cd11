/* SPDX-License-Identifier: MIT */
/*
 * Putting what the `hashed` path runs in order: all by extent, and each extent's deltas when it is
 * their turn and they have been fetched. Callers: any thread, each with its own arrays.
 */
#ifndef REFSTORM_DELAYED_HASHED_SORT_H
#define REFSTORM_DELAYED_HASHED_SORT_H

#include <stddef.h>

#include "core/delayed/delta.h"

struct hashed_due {
	uint64_t bytenr; /* of the delta, so that it need not be looked at */
	struct rs_delta *delta;
};

/* By bytenr. `scratch` has the same room; the result is in the one that is returned. */
struct hashed_due *hashed_sort(struct hashed_due *due, struct hashed_due *scratch, size_t count);

/* By delta_order; the result is in `due`, and `scratch` has room for `count`. */
void hashed_sort_extent(struct hashed_due *due, struct hashed_due *scratch, size_t count);

#endif /* REFSTORM_DELAYED_HASHED_SORT_H */
