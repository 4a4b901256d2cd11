/* SPDX-License-Identifier: MIT */
/* The report: one page of all results of a folder. One thread. */
#ifndef REFSTORM_BENCH_REPORT_REPORT_H
#define REFSTORM_BENCH_REPORT_REPORT_H

#include <stdio.h>

#include "bench/report/input.h"

/*
 * Writes the page to `to`. Without gnuplot it has tables in place of plots, and `fault`, else empty, says so.
 * 0; -ENOMEM; -EIO: `to` cannot be written. Then what was written is no page.
 */
int report_write(FILE *to, const struct input *input, char fault[RS_ERROR_WHAT_MAX])
	__attribute__((warn_unused_result));

/* What stands at the head of the page, as up to three lines of text. */
void report_headlines(FILE *to, const struct input *input);

#endif /* REFSTORM_BENCH_REPORT_REPORT_H */
