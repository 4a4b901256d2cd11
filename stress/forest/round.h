/* SPDX-License-Identifier: MIT */
/* One round, in a process of its own. One thread. */
#ifndef REFSTORM_STRESS_FOREST_ROUND_H
#define REFSTORM_STRESS_FOREST_ROUND_H

#include "stress/forest/board.h"
#include "stress/forest/plan.h"

/* Does what is planned; the script is written to `script_fd` before it is run. What came of it is on the board. */
void round_run(const struct plan *plan, const struct campaign_options *options, struct board *board,
	       int script_fd);

#endif /* REFSTORM_STRESS_FOREST_ROUND_H */
