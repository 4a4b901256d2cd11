/* SPDX-License-Identifier: MIT */
/*
 * The oracles behind `check` in a script: every change of a reference is checked as it happens, and
 * a check counts all trees again. One thread, but for the observer.
 */
#ifndef REFSTORM_CLI_EXEC_ORACLE_H
#define REFSTORM_CLI_EXEC_ORACLE_H

#include <stdbool.h>

#include "refstorm/forest.h"
#include "workloads/script.h"

struct exec_oracle;

/* Watches only where the script has a check: it costs more than the operations. 0 or -ENOMEM. */
int exec_oracle_create(const struct script *script, struct exec_oracle **out,
		       struct rs_error *error) __attribute__((warn_unused_result));
/* After the forest. NULL is allowed. */
void exec_oracle_destroy(struct exec_oracle *oracle);

/* Of the forest; NULL where nothing is watched. */
const struct rs_observer *exec_oracle_observer(const struct exec_oracle *oracle);

/*
 * Before the script begins. What a forest has that was `opened` from an image is made known: nothing
 * has changed it yet; an empty one tells by itself what it is made of. 0, -ENOMEM, -EUCLEAN.
 */
int exec_oracle_begin(struct exec_oracle *oracle, struct rs_forest *forest, bool opened,
		      struct rs_error *error) __attribute__((warn_unused_result));

/*
 * Waits until deleted trees are taken apart, commits, and checks everything, while nobody else
 * uses the forest: script_run_options.check, the oracle its argument. 0, or what is wrong; each finding is a message.
 */
int exec_oracle_check(void *oracle, struct rs_error *error);

/* How many groups' numbers all checks together have compared: none where quotas are off, or to be counted again. */
uint64_t exec_oracle_groups(const struct exec_oracle *oracle);

#endif /* REFSTORM_CLI_EXEC_ORACLE_H */
