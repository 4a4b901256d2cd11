/* SPDX-License-Identifier: MIT */
/*
 * Taking deleted trees apart, some blocks at a time.
 *
 * Who may call: drop_thread_start and drop_thread_end one thread, at rest; steps (rs_forest_drop_step) any
 * writer. A tree is taken apart by one thread at a time, who holds its lock.
 */
#ifndef REFSTORM_FOREST_DROP_H
#define REFSTORM_FOREST_DROP_H

#include "core/forest/forest_impl.h"

/* 0 or -EAGAIN. */
int drop_thread_start(struct rs_forest *forest) __attribute__((warn_unused_result));
/* One that does not run is allowed. */
void drop_thread_end(struct rs_forest *forest);

#endif /* REFSTORM_FOREST_DROP_H */
