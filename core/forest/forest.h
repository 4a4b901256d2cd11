/* SPDX-License-Identifier: MIT */
/* Making forests: what rs_forest_create and rs_forest_open share. One thread. */
#ifndef REFSTORM_FOREST_FOREST_H
#define REFSTORM_FOREST_FOREST_H

#include "core/forest/forest_impl.h"

/* A forest without any root, whose drop thread does not run yet. `options` may be NULL. Errors as rs_forest_create. */
int forest_make(const struct rs_forest_options *options, uint32_t node_bytes, const uint8_t *fsid,
		struct rs_forest **out, struct rs_error *error) __attribute__((warn_unused_result));

/* Starts the drop thread, where it is wanted. */
int forest_start(struct rs_forest *forest, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_FOREST_H */
