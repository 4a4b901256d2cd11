/* SPDX-License-Identifier: MIT */
/* Commits that make a snapshot. As trans_commit. */
#ifndef REFSTORM_FOREST_COMMIT_H
#define REFSTORM_FOREST_COMMIT_H

#include "core/forest/forest_impl.h"

/* `snapshot`, which may be NULL, is made of its source as the commit leaves that. -ENOENT: it was deleted. */
int commit_with(struct rs_writer *writer, struct rs_subvol *snapshot)
	__attribute__((warn_unused_result));

/* `then` is called behind a commit that has not failed, while writers are stopped; what it returns comes back. */
int commit_then(struct rs_writer *writer, int (*then)(struct rs_forest *forest, void *argument),
		void *argument) __attribute__((warn_unused_result));

#endif /* REFSTORM_FOREST_COMMIT_H */
