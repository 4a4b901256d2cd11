/* SPDX-License-Identifier: MIT */
/* What a round does: drawn from the seed, the round's number and the options alone. One thread. */
#ifndef REFSTORM_STRESS_FOREST_PLAN_H
#define REFSTORM_STRESS_FOREST_PLAN_H

#include "stress/forest/campaign.h"
#include "stress/forest/refusals.h"
#include "workloads/script_model.h"

struct plan {
	uint64_t number;
	uint64_t seed;    /* of the script */
	unsigned profile; /* its number */
	struct script_model_profile table;
	enum campaign_engine engine;
	unsigned record;     /* enum rs_record_path */
	uint32_t node_bytes; /* 0: of the image */
	unsigned threads;    /* 0: no line is of a thread */
	uint64_t operations;
	unsigned check_every; /* as in struct script_random_options */
	uint64_t timing_seed;
	uint64_t stall_one_in; /* passes of windows; 0: none stalls */
	enum refusals_kind refusals;
};

/* options->profile is one that there is. */
void plan_draw(struct plan *plan, const struct campaign_options *options, uint64_t number);

/* How many operations of each kind are to be expected is added to `expected`. */
void plan_expect(const struct plan *plan, double expected[SCRIPT_KINDS]);

#endif /* REFSTORM_STRESS_FOREST_PLAN_H */
