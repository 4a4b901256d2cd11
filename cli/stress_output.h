/* SPDX-License-Identifier: MIT */
/* What refstorm stress writes at its end. One thread. */
#ifndef REFSTORM_CLI_STRESS_OUTPUT_H
#define REFSTORM_CLI_STRESS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "stress/forest/campaign.h"

struct stress_output {
	const struct campaign_options *options;
	const struct campaign_result *result;
	int argc; /* as main got them */
	char **argv;
	json_t *run; /* of run_record_make; NULL: none */
};

/* For people. */
void stress_output_print(FILE *to, const struct stress_output *output);

/* refstorm.stress.v1; for cli_output_write, the struct its argument. */
bool stress_output_json(FILE *to, const void *argument);

#endif /* REFSTORM_CLI_STRESS_OUTPUT_H */
