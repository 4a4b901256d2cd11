/* SPDX-License-Identifier: MIT */
/* The oracle of refstorm bench. One thread. */
#ifndef REFSTORM_CLI_BENCH_CHECK_H
#define REFSTORM_CLI_BENCH_CHECK_H

#include <stdbool.h>

#include "refstorm/error.h"

struct rs_forest;

/*
 * Counts all references of a forest at rest again, and with `quotas` what each group has: groups that would
 * take too long for it are compared by a rescan, which must find no difference. 0, -EUCLEAN and what is
 * wrong, or another negative errno.
 */
int bench_check(struct rs_forest *forest, bool quotas, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_CLI_BENCH_CHECK_H */
