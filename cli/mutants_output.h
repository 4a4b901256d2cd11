/* SPDX-License-Identifier: MIT */
/* What `refstorm mutants` prints. One thread. */
#ifndef REFSTORM_CLI_MUTANTS_OUTPUT_H
#define REFSTORM_CLI_MUTANTS_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "stress/mutants/mutants.h"

#define MUTANTS_TEXT_BYTES 64

/* "exit 1", "signal 6 (Aborted)": how a run ended, into `text` of MUTANTS_TEXT_BYTES. Returns `text`. */
const char *mutants_end_text(char *text, const struct child_end *end);

/* All mutants by their time, and the sums. */
void mutants_print(FILE *to, const struct mutants *mutants, const struct mutants_summary *summary);

/* What the tests printed in runs that were no catch, and with no bug armed if they failed then. */
void mutants_print_failures(FILE *to, const struct mutants *mutants,
			    const struct mutants_build *builds, size_t build_count);

struct mutants_report {
	const struct mutants *mutants;
	const struct mutants_summary *summary;
	json_t *run; /* a reference of the caller's */
};

/* For cli_output_write, with a struct mutants_report. */
bool mutants_write_json(FILE *to, const void *argument);

#endif /* REFSTORM_CLI_MUTANTS_OUTPUT_H */
