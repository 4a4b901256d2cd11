/* SPDX-License-Identifier: MIT */
#include "stress/forest/swarm.h"

#include <string.h>

#define MISSING_PERCENT 35U
#define WEIGHT_SHIFTS 9U /* weights are 1 to 2^(WEIGHT_SHIFTS - 1) */

static uint16_t any_weight(struct random_state *random)
{
	return (uint16_t)(1U << random_state_below(random, WEIGHT_SHIFTS));
}

static unsigned from_to(struct random_state *random, unsigned least, unsigned most)
{
	return least + (unsigned)random_state_below(random, most - least + 1);
}

void swarm_draw(struct random_state *random, struct script_model_profile *table)
{
	unsigned roll;

	memset(table, 0, sizeof(*table));
	table->name = "swarm";
	table->about = "random weights, many of them 0";
	table->subvols = from_to(random, 12, SCRIPT_MODEL_SUBVOLS_MAX);
	table->files = from_to(random, 1, SCRIPT_MODEL_FILES_MAX);
	table->units = 4U << random_state_below(random, 9);
	table->small = (unsigned)random_state_below(random, 101);
	table->same = (unsigned)random_state_below(random, 101);
	for (roll = 0; roll <= SCRIPT_MODEL_ROLL_FAIL; roll++)
		if (!random_state_chance(random, MISSING_PERCENT, 100))
			table->weights[roll] = any_weight(random);
	/* Nothing comes of the others without these. */
	if (table->weights[SCRIPT_WRITE] < 64)
		table->weights[SCRIPT_WRITE] = 64;
	if (table->weights[SCRIPT_SUBVOL] < 4)
		table->weights[SCRIPT_SUBVOL] = 4;
	/* Waiting for all deleted trees costs more than all else together. */
	if (table->weights[SCRIPT_DROP_WAIT] > 8)
		table->weights[SCRIPT_DROP_WAIT] = 8;
}

void swarm_quotas(struct random_state *random, bool quotas, struct script_model_profile *table)
{
	unsigned roll;

	if (!quotas) {
		table->begin = 0;
		for (roll = SCRIPT_MODEL_ROLL_QUOTA; roll < SCRIPT_MODEL_ROLLS; roll++)
			table->weights[roll] = 0;
		return;
	}
	/* A profile of quotas has its own. */
	if (table->begin)
		return;
	table->begin = from_to(random, 1, 5);
	table->weights[SCRIPT_MODEL_ROLL_QUOTA] = random_state_chance(random, 1, 2) ? 2 : 0;
	for (roll = SCRIPT_MODEL_ROLL_RESCAN; roll < SCRIPT_MODEL_ROLLS; roll++)
		if (!random_state_chance(random, MISSING_PERCENT, 100))
			table->weights[roll] = (uint16_t)(1U << random_state_below(random, 7));
}
