/* SPDX-License-Identifier: MIT */
/* What the parts of a round share. */
#ifndef REFSTORM_STRESS_FOREST_ROUND_IMPL_H
#define REFSTORM_STRESS_FOREST_ROUND_IMPL_H

#include "stress/forest/round.h"
#include "stress/oracle/script_oracle.h"
#include "workloads/script_forest.h"

struct round {
	const struct plan *plan;
	const struct campaign_options *options;
	struct board *board;
	struct rs_forest *forest;
	struct script *script;
	struct script_oracle *oracle;
	struct script_forest *back_end;
	struct script_backend backend; /* around that of the forest */
	struct refusals refusals;
	struct rs_forest_statistics begin;
	uint64_t state_digest;
};

/* round_check.c */
/* script_oracle_options. */
void round_check_finding(void *argument, const char *text);
void round_check_counted(void *argument, const struct recount *recount);
/* script_run_options.check: also where the forest was aborted, or accounts are inconsistent, for refused allocations. */
int round_check(void *argument, struct rs_error *error);
/* When the script is through, with `error` as script_run left it where it has failed. */
enum board_outcome round_check_end(struct round *round, bool failed, struct rs_error *error);

/* round_seats.c */
/* Fills in round->backend: operations are entered on the board. */
void round_seats_init(struct round *round);

#endif /* REFSTORM_STRESS_FOREST_ROUND_IMPL_H */
