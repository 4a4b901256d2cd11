/* SPDX-License-Identifier: MIT */
/*
 * All leaves of one large tree, read level by level by the reader's workers:
 * parallel, each block once, in no order that can be relied on.
 *
 * Who may call: one thread, not a worker. Memory: 64 bytes for each block of the
 * widest level.
 */
#ifndef REFSTORM_DISK_SWEEP_H
#define REFSTORM_DISK_SWEEP_H

#include "core/disk/reader.h"
#include "core/disk/tree.h"

/* Called on the workers for each leaf. 0 or a negative errno. */
typedef int sweep_leaf_fn(void *argument, unsigned worker, const uint8_t *leaf,
			  struct rs_error *error);

/*
 * 0; -EUCLEAN also where two pointers lead to one block; an error of reading;
 * what `fn` returned; -ECANCELED; -ENOMEM.
 */
int sweep_tree(struct reader *reader, const struct tree_root *root, sweep_leaf_fn *fn,
	       void *argument, const struct pool_watch *watch, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_DISK_SWEEP_H */
