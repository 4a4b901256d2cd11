/* SPDX-License-Identifier: MIT */
/* The forms in which a reclaim report is written. */
#ifndef REFSTORM_CLI_RECLAIM_OUTPUT_H
#define REFSTORM_CLI_RECLAIM_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "refstorm/reclaim.h"

/* The tables for people: `each` only if asked for. `raw`: sizes in bytes. */
void reclaim_print_table(FILE *to, const struct rs_reclaim_report *report, bool each, bool raw);

/*
 * As cli_output_write wants it, with a struct rs_reclaim_report as the argument:
 * the schema refstorm.reclaim.v1. False if there is no memory, or it cannot be written.
 */
bool reclaim_write_json(FILE *to, const void *argument);

#endif /* REFSTORM_CLI_RECLAIM_OUTPUT_H */
