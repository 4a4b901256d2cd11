/* SPDX-License-Identifier: MIT */
/* The quota lines of random scripts. One thread. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_RANDOM_QUOTA_H
#define REFSTORM_WORKLOADS_SCRIPT_RANDOM_QUOTA_H

#include "workloads/script_model.h"

#define SCRIPT_RANDOM_QUOTA_BYTES 32
#define SCRIPT_RANDOM_QUOTA_GROUPS (SCRIPT_MODEL_GROUPS / 2) /* there from the beginning */
#define SCRIPT_RANDOM_QUOTA_NESTED 5 /* pairs of them, a member and its parent */

bool script_random_quota_on(struct script_model_generator *generator);
/* Number `number` of those that are there from the beginning, of all levels. */
bool script_random_quota_group(struct script_model_generator *generator, unsigned number);
/* Pair number `number` of those that are related from the beginning. */
bool script_random_quota_nest(struct script_model_generator *generator, unsigned number);

/* A line of the kind of `roll`; false if it is not possible now. */
bool script_random_quota_line(struct script_model_generator *generator, unsigned roll);

/*
 * The groups that a snapshot is put into: their bits, and what stands behind its names in `text`, of
 * SCRIPT_RANDOM_QUOTA_BYTES. Both are empty without quotas.
 */
uint32_t script_random_quota_inherit(struct script_model_generator *generator, char *text);

#endif /* REFSTORM_WORKLOADS_SCRIPT_RANDOM_QUOTA_H */
