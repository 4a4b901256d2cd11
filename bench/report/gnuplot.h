/* SPDX-License-Identifier: MIT */
/* The program gnuplot as a child. Any thread. */
#ifndef REFSTORM_BENCH_REPORT_GNUPLOT_H
#define REFSTORM_BENCH_REPORT_GNUPLOT_H

#include <stddef.h>

#include "refstorm/error.h"

/*
 * Runs gnuplot, found through PATH, on `script`, and gives what it prints in `*text`, to be freed with alloc_free.
 * It has no shell, no user's settings, and half a minute. 0; -ENOENT if there is no gnuplot; -ENOMEM;
 * -EIO if it failed, with the first line that it complained in; -ETIME.
 */
int gnuplot_run(const char *script, size_t script_bytes, char **text, size_t *bytes,
		struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_BENCH_REPORT_GNUPLOT_H */
