/* SPDX-License-Identifier: MIT */
/* The folder that a failed round leaves. One thread. */
#ifndef REFSTORM_STRESS_FOREST_ARTIFACTS_H
#define REFSTORM_STRESS_FOREST_ARTIFACTS_H

#include "stress/forest/trial.h"

/*
 * Makes a folder of its own under options->artifacts, with about.txt, round.script, threads.txt, finding.txt,
 * stderr.txt and replay.sh. Its path and the command in replay.sh go to the result. 0, or a negative
 * errno and why: then both are empty, or the folder has not all of it.
 */
int artifacts_write(const struct trial *trial, struct campaign_result *result,
		    struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_STRESS_FOREST_ARTIFACTS_H */
