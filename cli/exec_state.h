/* SPDX-License-Identifier: MIT */
/*
 * What the subvolumes have when a script is through, as exec --state writes it: the data that each
 * references, and has alone, and the sizes of all data extents. Read from trees, not from accounts,
 * and by one walker for the forest and for a mounted file system. One thread.
 */
#ifndef REFSTORM_CLI_EXEC_STATE_H
#define REFSTORM_CLI_EXEC_STATE_H

#include "refstorm/forest.h"
#include "workloads/script_run.h"

/* Does drop-wait and commit on the back end, so that there is one state. 0, or why not. */
int exec_state_settle(const struct script_backend *backend, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Writes that of the forest to the file `path`, "-" for standard output. An exit code, after a message. */
int exec_state_forest(struct rs_forest *forest, const char *path);

/* The same of the btrfs that is mounted at or above `directory`, as its last commit left it. */
int exec_state_mounted(const char *directory, const char *path);

#endif /* REFSTORM_CLI_EXEC_STATE_H */
