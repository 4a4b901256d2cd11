/* SPDX-License-Identifier: MIT */
#include "stress/forest/plan.h"

#include <string.h>

#include "stress/forest/swarm.h"

#define LONE_SHARE 24.0 /* of lines that are put on threads one in so many is of none */

const char *campaign_profile_name(unsigned index)
{
	const struct script_model_profile *profile = script_model_profile_at(index);

	if (profile)
		return profile->name;
	return index && script_model_profile_at(index - 1) ? "swarm" : NULL;
}

static unsigned profile_number(const char *name)
{
	unsigned at = 0;

	while (strcmp(campaign_profile_name(at), name) != 0)
		at++;
	return at;
}

static unsigned swarm_number(void)
{
	return profile_number("swarm");
}

/* One of `count` that are wanted. */
static unsigned any_of(struct random_state *random, const bool *wanted, unsigned count)
{
	unsigned there = 0;
	unsigned drawn;
	unsigned at;

	for (at = 0; at < count; at++)
		there += wanted[at];
	drawn = (unsigned)random_state_below(random, there);
	for (at = 0; at + 1 < count && (!wanted[at] || drawn); at++)
		drawn -= wanted[at];
	return at;
}

static void draw_table(struct plan *plan, const struct campaign_options *options,
		       struct random_state *random)
{
	unsigned swarm = swarm_number();
	bool any = random_state_chance(random, 1, 2);
	unsigned named = (unsigned)random_state_below(random, swarm);

	plan->profile = any ? swarm : named;
	if (options->profile)
		plan->profile = profile_number(options->profile);
	if (plan->profile == swarm)
		swarm_draw(random, &plan->table);
	else
		plan->table = *script_model_profile_at(plan->profile);
	swarm_quotas(random, plan->engine != CAMPAIGN_OFF, &plan->table);
}

static void draw_size(struct plan *plan, const struct campaign_options *options,
		      struct random_state *random)
{
	static const uint32_t nodes[] = { 4096, 4096, 4096, 8192, 16384, 16384, 16384, 65536 };
	static const uint8_t alone[] = { 16, 64, 200 };
	static const uint8_t beside[] = { 1, 2, 5 };
	unsigned node = (unsigned)random_state_below(random, sizeof(nodes) / sizeof(nodes[0]));
	unsigned cadence = (unsigned)random_state_below(random, sizeof(alone));
	bool lone = random_state_chance(random, 1, 4);

	plan->node_bytes = options->image_count ? 0 : nodes[node];
	plan->operations = 200 + random_state_below(random, 1800);
	if (options->operations != UINT64_MAX)
		plan->operations = options->operations;
	plan->threads = 2 + (unsigned)random_state_below(random, options->threads - 1);
	if (lone || options->threads < 2)
		plan->threads = 0;
	plan->check_every = plan->threads ? beside[cadence] : alone[cadence];
}

/*
 * Which allocation fails is the same again only where no thread runs beside the script: in runs on one
 * thread, whose results are to be the same, none fails where rescans run.
 */
static void draw_faults(struct plan *plan, const struct campaign_options *options,
			struct random_state *random)
{
	static const uint16_t stalls[] = { 20, 200, 2000 };
	uint64_t drawn = random_state_below(random, 10);
	uint64_t stall = stalls[random_state_below(random, 3)];

	plan->timing_seed = random_state_next(random);
	if (options->no_faults)
		return;
	if (drawn < 3 && (options->threads > 1 || plan->engine == CAMPAIGN_OFF))
		plan->refusals = drawn ? REFUSALS_SINGLE : REFUSALS_SPELLS;
	else if (drawn < 8 && stalls_are_possible())
		plan->stall_one_in = stall;
}

void plan_draw(struct plan *plan, const struct campaign_options *options, uint64_t number)
{
	struct random_state random;

	memset(plan, 0, sizeof(*plan));
	random_state_seed(&random, options->seed, number + 1);
	plan->number = number;
	plan->seed = random_state_next(&random);
	plan->engine = (enum campaign_engine)any_of(&random, options->engines, CAMPAIGN_ENGINES);
	plan->record = any_of(&random, options->records, CAMPAIGN_RECORDS);
	draw_size(plan, options, &random);
	draw_faults(plan, options, &random);
	draw_table(plan, options, &random);
}

static enum script_kind kind_of(unsigned roll)
{
	switch (roll) {
	case SCRIPT_MODEL_ROLL_QUOTA:
		return SCRIPT_QUOTA_ON;
	case SCRIPT_MODEL_ROLL_RESCAN:
		return SCRIPT_RESCAN_WAIT;
	case SCRIPT_MODEL_ROLL_GROUP:
		return SCRIPT_GROUP_CREATE;
	case SCRIPT_MODEL_ROLL_MEMBER:
		return SCRIPT_GROUP_ASSIGN;
	default:
		return roll <= SCRIPT_DROP_WAIT ? (enum script_kind)roll : SCRIPT_KINDS;
	}
}

/* Whether such lines are never put on threads. */
static bool is_lone(unsigned roll)
{
	return roll == SCRIPT_DROP_WAIT || roll == SCRIPT_MODEL_ROLL_QUOTA ||
	       roll == SCRIPT_MODEL_ROLL_RESCAN || roll == SCRIPT_MODEL_ROLL_GROUP;
}

void plan_expect(const struct plan *plan, double expected[SCRIPT_KINDS])
{
	double total = 0;
	unsigned roll;

	for (roll = 0; roll < SCRIPT_MODEL_ROLLS; roll++)
		total += plan->table.weights[roll];
	for (roll = 0; roll < SCRIPT_MODEL_ROLLS; roll++) {
		double share = plan->table.weights[roll] / total * (double)plan->operations;

		if (kind_of(roll) == SCRIPT_KINDS)
			continue;
		if (plan->threads && is_lone(roll))
			share /= LONE_SHARE;
		expected[kind_of(roll)] += share;
	}
}
