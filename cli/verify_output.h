/* SPDX-License-Identifier: MIT */
/* The forms in which a verify report is written. */
#ifndef REFSTORM_CLI_VERIFY_OUTPUT_H
#define REFSTORM_CLI_VERIFY_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "refstorm/verify.h"
#include "stress/oracle/backref.h"

/* What stands in a report beside the library's own. */
struct verify_run {
	const struct rs_verify_report *report;
	const struct backref_report *refs; /* NULL if references were not checked */
	struct rs_image *image;            /* for its devices and warnings */
};

/* The table for people, and the line of counts and times. `raw`: sizes in bytes. */
void verify_print_table(FILE *to, const struct verify_run *run, bool raw);

/*
 * As cli_output_write wants them, with a struct verify_run as the argument: the
 * schema refstorm.verify.v1, and one line a group, the names of the columns first.
 * False if there is no memory, or it cannot be written.
 */
bool verify_write_json(FILE *to, const void *argument);
bool verify_write_csv(FILE *to, const void *argument);

#endif /* REFSTORM_CLI_VERIFY_OUTPUT_H */
