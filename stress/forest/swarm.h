/* SPDX-License-Identifier: MIT */
/*
 * Weights of operations. A swarm leaves out kinds at random, so that others come in numbers and in
 * orders that a mixture of all never has (Groce and others, "Swarm Testing", 2012). One thread.
 */
#ifndef REFSTORM_STRESS_FOREST_SWARM_H
#define REFSTORM_STRESS_FOREST_SWARM_H

#include "workloads/script_model.h"

void swarm_draw(struct random_state *random, struct script_model_profile *table);

/* With `quotas` on from the first line on, or never. */
void swarm_quotas(struct random_state *random, bool quotas, struct script_model_profile *table);

#endif /* REFSTORM_STRESS_FOREST_SWARM_H */
