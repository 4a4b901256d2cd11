/* SPDX-License-Identifier: MIT */
/* The forms in which a verify report is written. */
#ifndef REFSTORM_CLI_VERIFY_OUTPUT_H
#define REFSTORM_CLI_VERIFY_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "refstorm/verify.h"

/* What stands in a report beside the library's own. */
struct verify_run {
	const struct rs_verify_report *report;
	struct rs_image *image; /* for its warnings */
	char *const *paths;
	size_t path_count;
};

/* The table for people, and the line of counts and times. `raw`: sizes in bytes. */
void verify_print_table(FILE *to, const struct verify_run *run, bool raw);

/* The schema refstorm.verify.v1. False if there is no memory, or it cannot be written. */
bool verify_write_json(FILE *to, const struct verify_run *run);

/* One line a group, the names of the columns first. False if it cannot be written. */
bool verify_write_csv(FILE *to, const struct verify_run *run);

#endif /* REFSTORM_CLI_VERIFY_OUTPUT_H */
